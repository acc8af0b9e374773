"""How much of one text stands in another as it is, measured apart from the product's own measure."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from forethought.model.tokenizer import Tokenizer


def longest_run(one: Sequence[object], other: Sequence[object]) -> int:
    """The length of the longest run that both have."""
    return SequenceMatcher(None, one, other, autojunk=False).find_longest_match().size


def letters(text: str) -> str:
    """Letters and digits, without regard to case."""
    return "".join(c for c in text.lower() if c.isalnum())


def plain_tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    """The tokens of the text as it stands, those of nothing but white space left out."""
    return [token for token in tokenizer.encode(text) if tokenizer.token_bytes(token).strip()]
