"""Small parts of what both APIs write: ids, log-probabilities of tokens, and the padding of deltas."""

import secrets
import string
from typing import Any

from forethought.reasoning.events import TokenLogprob

WireLogprob = dict[str, Any]

PADDED_LENGTH = 32
"""An obfuscated delta and its padding have a multiple of this many characters."""


def new_id(prefix: str, separator: str = "_") -> str:
    """`resp_0f3a…`: a prefix that tells the kind, and 128 random bits."""
    return f"{prefix}{separator}{secrets.token_hex(16)}"


def wire_logprob(entry: TokenLogprob) -> WireLogprob:
    """A token that was sampled, and the likeliest alternatives."""
    top = [_token(token, logprob) for token, logprob in entry.top]
    return _token(entry.token_bytes, entry.logprob) | {"top_logprobs": top}


def padding(length: int) -> str:
    """What goes with a delta of this many characters under `obfuscation`, so that its size tells less of it."""
    return "".join(secrets.choice(string.ascii_letters) for _ in range(-length % PADDED_LENGTH))


def _token(token: bytes, logprob: float) -> WireLogprob:
    """A token may be a part of a character: its bytes say what its text cannot."""
    return {"token": token.decode("utf-8", "backslashreplace"), "bytes": list(token), "logprob": logprob}
