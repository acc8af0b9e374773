"""Tokens in, tokens out, many at once: scheduler, KV cache, sampler, grammar, budgets."""
