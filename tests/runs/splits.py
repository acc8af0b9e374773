"""Cuts what a model writes into tokens at random, inside of characters too."""

from collections.abc import Iterable
from itertools import groupby
from random import Random

from forethought.model.tokenizer import Tokenizer


class Splitter:
    """Of one tokenizer, whose vocabulary has every byte."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._special = tokenizer.special_ids
        self._bytes = {
            token: tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size) if token not in self._special
        }
        self._token_of = {spelling: token for token, spelling in self._bytes.items() if spelling}
        self._longest = max(map(len, self._token_of))

    def split(self, tokens: Iterable[int], dice: Random) -> list[int]:
        """The same output in other tokens. Reserved ones stay."""
        result: list[int] = []
        for special, stretch in groupby(tokens, self._special.__contains__):
            ids = list(stretch)
            result += ids if special else self._cut(b"".join(map(self._bytes.__getitem__, ids)), dice)
        return result

    def _cut(self, text: bytes, dice: Random) -> list[int]:
        tokens: list[int] = []
        while text:
            fitting = [size for size in range(1, self._longest + 1) if text[:size] in self._token_of]
            size = dice.choice([found for found in fitting if found <= len(text)])
            tokens.append(self._token_of[text[:size]])
            text = text[size:]
        return tokens
