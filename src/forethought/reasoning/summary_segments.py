"""Cuts thinking, while it streams, into the segments that the parts of its summary are about.

A segment ends at the first paragraph border behind its least length, or, when no paragraph ends in time, between two
words. Its least length grows with what was thought before, so that a thinking ten times as long has not ten times as
many parts. Where the cuts are does not depend on how the text comes in.
"""

BORDER = "\n\n"
SHARE = 4
"""A segment is at least this part of what came before it."""

LONGEST = 6_000
"""Characters at which segments stop growing, because the summariser has to read them."""


class Segmenter:
    """Give it the thinking with `feed`, and `finish` it. The segments, joined, are the thinking up to the last one."""

    def __init__(self, least: int, most: int) -> None:
        """`least` characters make a segment; there are at most `most` of them."""
        self._least = least
        self._left = most
        self._text = ""
        self._past = 0

    def feed(self, text: str) -> list[str]:
        """The segments that are complete by now."""
        segments: list[str] = []
        if self._left:
            self._text += text
        while self._left and (end := self._end()):
            segments.append(self._text[:end])
            self._text = self._text[end:]
            self._past += end
            self._left -= 1
        return segments

    def finish(self) -> str | None:
        """The thinking is over: its last segment. None if so little is left that it is not worth a part."""
        left, self._text = self._text, ""
        worth = bool(left.strip()) and (not self._past or len(left) >= self._least // 4)
        return left if self._left and worth else None

    def _end(self) -> int:
        """Where the segment at hand ends; 0 while that is not known."""
        least = min(max(self._least, self._past // SHARE), LONGEST)
        most = least + least // 2
        border = self._text.find(BORDER, max(0, least - len(BORDER)), most)
        if border >= 0:
            return border + len(BORDER)
        if len(self._text) < most:
            return 0
        gap = max(self._text.rfind(space, least, most) for space in " \n")
        return most if gap < 0 else gap + 1
