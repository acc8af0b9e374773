"""Stop strings, looked for in the bytes of the output, so that token borders and split characters do not matter."""

from collections.abc import Callable


class StopStrings:
    """Watches the answer of one request."""

    __slots__ = ("_bytes_of", "_kept", "_needles", "_tail")

    def __init__(self, strings: tuple[str, ...], bytes_of: Callable[[int], bytes]) -> None:
        self._needles = tuple(string.encode() for string in strings)
        self._bytes_of = bytes_of
        self._kept = max(map(len, self._needles)) - 1
        self._tail = b""

    def found(self, token: int) -> bool:
        """Whether this token completes a stop string."""
        text = self._tail + self._bytes_of(token)
        # The end that may be the beginning of a stop string; [-0:] would keep everything.
        self._tail = text[-self._kept :] if self._kept else b""
        return any(needle in text for needle in self._needles)
