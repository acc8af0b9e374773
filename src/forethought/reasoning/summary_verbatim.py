"""Keeps thinking from being quoted in its own summary: the longest run that both have in common is bounded.

Runs are measured twice, and neither measure may exceed its bound:

- in tokens of the summariser's tokenizer, each word and each mark by itself, in compatibility form (NFKC), without
  regard to case and to the white space between them: at most `MAX_TOKENS`, and half of what has been thought;
- in letters and digits, with everything else left out (accents, marks and word borders too), so that no punctuation or
  spelling out of words hides a copy: at most `MAX_LETTERS`, and three quarters of what has been thought.

A part is compared with all that has been thought up to the end of its segment. Text is held back until it is known not
to be the beginning of too long a run; where one would be, the part ends before it.
"""

import re
import unicodedata
from collections import deque
from functools import lru_cache
from typing import Final

from forethought.model.tokenizer import Tokenizer

MAX_TOKENS: Final = 12
MAX_LETTERS: Final = 48

_UNSPACED = r"\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s])")
"""A word or a mark, with the white space in front of it. A character of a script without spaces is a word."""


class Units:
    """What a text is measured in. One character stands for one unit, so that runs are substrings."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.of = lru_cache(maxsize=1 << 14)(self._of)
        """The tokens and the letters of a word."""

    def _of(self, word: str) -> tuple[str, str]:
        plain = unicodedata.normalize("NFKC", word.strip()).casefold()
        tokens = "".join(map(chr, self._tokenizer.encode(f" {plain}")))
        return tokens, "".join(c for c in unicodedata.normalize("NFKD", plain).casefold() if c.isalnum())


class Thought:
    """All that has been thought so far, in units. For one thinking item."""

    def __init__(self, units: Units) -> None:
        self.units = units
        self.tokens = ""
        self.letters = ""

    def learn(self, text: str) -> None:
        """More was thought."""
        measured = [self.units.of(word) for word in _WORD.findall(text)]
        self.tokens += "".join(tokens for tokens, _ in measured)
        self.letters += "".join(letters for _, letters in measured)


class Gate:
    """Lets a part of a summary through, word by word.

    What it gives, joined, is a beginning of what it was fed, and does not depend on how that was split. It is `closed`
    once a run would be too long, and then gives nothing more.
    """

    def __init__(self, thought: Thought) -> None:
        self._thought = thought
        self._tokens = _Run(min(MAX_TOKENS, len(thought.tokens) // 2))
        self._letters = _Run(min(MAX_LETTERS, len(thought.letters) * 3 // 4))
        self._text = ""
        self._held: deque[tuple[str, int, int]] = deque()
        self.closed = False

    def feed(self, text: str) -> str:
        """The text that is certain by now."""
        if self.closed:
            return ""
        self._text += text
        words = [match.group() for match in _WORD.finditer(self._text)][:-1]  # the last one may go on
        self._text = self._text[sum(map(len, words)) :]
        return self._take(words)

    def finish(self) -> str:
        """The part is over: what was held back."""
        if self.closed:
            return ""
        safe = self._take(_WORD.findall(self._text))
        return safe if self.closed else safe + "".join(word for word, _, _ in self._held)

    def _take(self, words: list[str]) -> str:
        for word in words:
            tokens, letters = self._thought.units.of(word)
            fits = self._tokens.follow(tokens, self._thought.tokens)
            self.closed = not (self._letters.follow(letters, self._thought.letters) and fits)
            self._held.append((word, self._tokens.seen, self._letters.seen))
            if self.closed:
                break
        safe = ""
        while self._held and self._held[0][1] <= self._tokens.start and self._held[0][2] <= self._letters.start:
            safe += self._held.popleft()[0]
        return safe + self._border() if self.closed else safe

    def _border(self) -> str:
        """The marks and the white space in front of a run: they end what was said before."""
        border = ""
        while len(self._held) > 1 and not any(map(str.isalnum, self._held[0][0])):
            border += self._held.popleft()[0]
        following, _, _ = self._held[0]
        return border + following[: len(following) - len(following.lstrip())]


class _Run:
    """The longest end of what was followed that also stands in what is known: it may become a run that is too long."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._run = ""
        self.seen = 0

    @property
    def start(self) -> int:
        """Where it begins, in units from the first that was followed."""
        return self.seen - len(self._run)

    def follow(self, units: str, known: str) -> bool:
        """Goes on with these; False when the run is too long."""
        for unit in units:
            self._run += unit
            self.seen += 1
            while self._run not in known:
                self._run = self._run[1:]
            if len(self._run) > self._most:
                return False
        return True
