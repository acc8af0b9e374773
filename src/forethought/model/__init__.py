"""What the model is: architecture, weights, adapters, checkpoints and digests, tokenizer and renderer."""
