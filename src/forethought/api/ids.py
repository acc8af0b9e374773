"""Ids of what the API makes: a prefix that tells the kind, and 128 random bits."""

import secrets


def new_id(prefix: str, separator: str = "_") -> str:
    """`resp_0f3a…`."""
    return f"{prefix}{separator}{secrets.token_hex(16)}"
