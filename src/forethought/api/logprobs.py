"""Log-probabilities of tokens, as both APIs write them."""

from typing import Any

from forethought.reasoning.events import TokenLogprob

WireLogprob = dict[str, Any]


def wire_logprob(entry: TokenLogprob) -> WireLogprob:
    """A token that was sampled, and the likeliest alternatives."""
    top = [_token(token, logprob) for token, logprob in entry.top]
    return _token(entry.token_bytes, entry.logprob) | {"top_logprobs": top}


def _token(token: bytes, logprob: float) -> WireLogprob:
    """A token may be a part of a character: its bytes say what its text cannot."""
    return {"token": token.decode("utf-8", "backslashreplace"), "bytes": list(token), "logprob": logprob}
