"""The visible text on its way out: stop strings are cut off, log-probabilities stay with the text of their tokens."""

from collections import deque
from collections.abc import Callable

from forethought.engine.protocol import TokenEvent
from forethought.reasoning.events import TokenLogprob


class StopCutter:
    """Cuts a text at the first stop string that is completed, however the text is split into pieces.

    What might be the beginning of a stop string is held back until it is known. When several stop strings are
    completed by the same character, the longest counts.
    """

    def __init__(self, strings: tuple[str, ...]) -> None:
        self._strings = strings
        self._held: str = ""
        self.matched = False

    def feed(self, text: str) -> str:
        """The text that is certain by now. Nothing more after a match."""
        if not self._strings:
            return text
        if self.matched:
            return ""
        text = self._held + text
        ends = [(start + len(s), start) for s in self._strings if (start := text.find(s)) >= 0]
        if ends:
            self.matched = True
            self._held = ""
            return text[: min(ends)[1]]
        keep = max((self._beginning(text, s) for s in self._strings), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back: the text goes on without having been a stop string."""
        held = self._held
        self._held = ""
        return held

    @staticmethod
    def _beginning(text: str, string: str) -> int:
        """Length of the longest end of `text` that begins `string`."""
        most = min(len(text), len(string) - 1)
        return next((n for n in range(most, 0, -1) if text.endswith(string[:n])), 0)


class LogprobQueue:
    """Tokens wait here until the text they stand for is shown; those of hidden text are thrown away.

    Positions count the characters of visible text: a token belongs to the character that it begins at, or, when it is
    only a part of a character, to the one that it helps to complete.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._waiting: deque[tuple[int, TokenLogprob]] = deque()
        self._read = 0
        self._shown = 0

    def sampled(self, event: TokenEvent) -> None:
        """A token was sampled; which text it completes is not known yet."""
        if event.logprob is not None:
            top = tuple((self._token_bytes(token), value) for token, value in event.top_logprobs)
            entry = TokenLogprob(self._token_bytes(event.token_id), event.logprob, top)
            self._waiting.append((self._read, entry))

    def read(self, text: str) -> None:
        """The tokens so far have completed this much more visible text."""
        self._read += len(text)

    def shown(self, text: str) -> tuple[TokenLogprob, ...]:
        """The log-probabilities of the tokens whose text goes out now."""
        self._shown += len(text)
        out: list[TokenLogprob] = []
        while self._waiting and self._waiting[0][0] < self._shown:
            out.append(self._waiting.popleft()[1])
        return tuple(out)

    def forget(self) -> None:
        """The tokens that wait stand for something else than visible text."""
        self._waiting.clear()
