"""Serves the model: OpenAI's Responses and Chat Completions over HTTP."""
