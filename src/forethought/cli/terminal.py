"""A turn as a person sees it: the answer as it comes, and what is worth knowing about it on the side.

The answer goes to standard output and everything else to standard error, so that a pipe gets the answer alone.
Colours and the "thinking…" line appear only where they are read, in a terminal.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from rich.console import Console

from forethought.reasoning.events import (
    Event,
    ItemAdded,
    ItemDone,
    TextDelta,
    ThinkingDelta,
    TurnDone,
)

if TYPE_CHECKING:
    from rich.status import Status

INCOMPLETE = {
    "max_output_tokens": "stopped at the token limit",
    "context": "stopped, for the context is full",
    "no_answer": "the model stopped while it was thinking, and gave no answer",
}
CLOSED = {
    "budget": "the thinking was ended when its budget was used up",
    "limit": "the thinking was ended early to leave room for the answer",
    "stop": "the model wanted to stop while it was thinking, and was made to answer",
}


class Terminal:
    """Where commands write: `out` for answers, `notes` for the rest."""

    def __init__(self, out: Console | None = None, notes: Console | None = None) -> None:
        self.out = out or Console(highlight=False, soft_wrap=True)
        self.notes = notes or Console(stderr=True, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A remark beside the answer."""
        self.notes.print(printable(text), style="dim", markup=False)

    def error(self, message: str, remedy: str = "") -> None:
        """One line about what went wrong, with its remedy."""
        # Both may quote a file or a model: a checkpoint's template, say.
        self.notes.print(printable(f"error: {message}"), style="bold red", markup=False, end="")
        self.notes.print(printable(f" {remedy}") if remedy else "", markup=False)


class TurnView:
    """Writes the events of one turn. Use as a context manager: it takes its status line away at the end."""

    def __init__(self, terminal: Terminal, *, show_thinking: bool = False, show_text: bool = True) -> None:
        self._terminal = terminal
        self._show_thinking = show_thinking
        self._show_text = show_text
        self._thought = 0
        self._status: Status | None = None
        self._line_open: Console | None = None

    def __enter__(self) -> TurnView:
        return self

    def __exit__(self, *exception: object) -> None:
        self._settle()
        self._end_line()

    def wait(self, label: str) -> None:
        """Shows what is being waited for (in a terminal only)."""
        if not self._terminal.notes.is_terminal:
            return
        if self._status is None:
            self._status = self._terminal.notes.status(label, spinner="dots")
            self._status.start()
        else:
            self._status.update(label)

    def show(self, event: Event) -> None:
        """Writes what this event tells a reader."""
        match event:
            case ItemAdded(kind="thinking"):
                self.wait("thinking…")
            case ThinkingDelta(text=text):
                self._think(text.reveal() if self._show_thinking else "", len(text))
            case TextDelta(text=text) if self._show_text:
                self._write(self._terminal.out, text)
            case ItemDone():
                self._settle()
                self._end_line()
            case TurnDone():
                self._settle()
                self._remark(event)
            case _:
                pass

    def _think(self, text: str, length: int) -> None:
        self._thought += length
        if self._show_thinking:
            self._write(self._terminal.notes, text, style="dim italic")
        else:
            self.wait(f"thinking… {self._thought} characters")

    def _remark(self, done: TurnDone) -> None:
        if done.thinking_closed:
            self._terminal.note(f"[{CLOSED[done.thinking_closed]}]")
        if done.incomplete_reason:
            self._terminal.note(f"[{INCOMPLETE[done.incomplete_reason]}]")
        if done.status == "cancelled":
            self._terminal.note("[stopped]")

    def _settle(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _write(self, console: Console, text: str, style: str | None = None) -> None:
        self._settle()
        # What a model writes must not command the terminal; a pipe gets it as it is.
        console.out(printable(text) if console.is_terminal else text, end="", style=style, highlight=False)
        self._line_open = console

    def _end_line(self) -> None:
        if self._line_open is not None:
            self._line_open.out("")
            self._line_open = None


def printable(text: str) -> str:
    """The text with control characters (escape sequences begin with one) replaced; line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join("\ufffd" if c not in "\n\t" and unicodedata.category(c) == "Cc" else c for c in text)
