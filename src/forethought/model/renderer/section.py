"""A stretch of plain text between two markers, freed of the layout that the format puts around it."""


class Section:
    """Streams a text, without up to `skip` newlines at its beginning and `hold` newlines before its end marker.

    With `defer_blank` nothing is shown until a character comes that is not white space: only the end of the section
    tells whether white space was the answer or layout.
    """

    def __init__(self, *, skip: int, hold: int, defer_blank: bool = False) -> None:
        self._skip = skip
        self._hold = hold
        self._deferring = defer_blank
        self._held = ""
        self.begun = False
        """Whether anything was shown."""

    def feed(self, text: str) -> str:
        """More of the text; returns what can be shown."""
        while self._skip and text.startswith("\n"):
            text, self._skip = text[1:], self._skip - 1
        if not text:
            return ""
        self._skip = 0
        self._held += text
        if self._deferring and not self._held.strip():
            return ""
        self._deferring = False
        ready = len(self._held)
        while ready > len(self._held) - self._hold and self._held[:ready].endswith("\n"):
            ready -= 1
        return self._show(ready)

    def end(self, *, at_marker: bool, blank_is_layout: bool) -> str:
        """The section is over: what is left to show. The held newlines are layout where an end marker follows."""
        blank = not self.begun and not self._held.strip()
        kept = self._held
        if at_marker:
            for _ in range(self._hold):
                kept = kept.removesuffix("\n")
        if blank and blank_is_layout:
            kept = ""
        self._held = kept
        return self._show(len(kept))

    def _show(self, length: int) -> str:
        shown, self._held = self._held[:length], self._held[length:]
        self.begun = self.begun or bool(shown)
        return shown
