"""Renderers: a conversation into tokens, a token stream back into typed pieces."""
