"""Where the messages of a chat come from: a person at a terminal, or lines of a pipe."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from forethought import logs

if TYPE_CHECKING:
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

QUOTE = '"""'
"""Opens and closes a message of several lines, at a terminal and in a pipe alike."""

log = logs.get_logger(__name__)


class Input(Protocol):
    """A source of messages."""

    interactive: bool

    async def line(self, *, more: bool) -> str | None:
        """The next line, or None at the end; `more` says that it continues a message. Ctrl-C raises
        `KeyboardInterrupt`."""
        ...


async def read_message(source: Input) -> str | None:
    '''The next message: a line, or everything between two `"""`. None when there are no more.'''
    first = await source.line(more=False)
    if first is None or not first.lstrip().startswith(QUOTE):
        return first
    text = first.lstrip().removeprefix(QUOTE)
    while QUOTE not in text:
        following = await source.line(more=True)
        if following is None:
            return text
        text += f"\n{following}"
    return text.partition(QUOTE)[0].strip("\n")


class PipeInput:
    """Lines of a file. Ends at its end."""

    interactive = False

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stdin

    async def line(self, *, more: bool) -> str | None:
        """The next line, without its line break."""
        text = await asyncio.to_thread(self._file.readline)
        return text.removesuffix("\n") if text else None


class TerminalInput:
    """A prompt with history (kept in `history`, where that can be written), completion of commands, and a status line
    below it."""

    interactive = True

    def __init__(self, history: Path, commands: Sequence[str], status: Callable[[], str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.shortcuts import CompleteStyle
        from prompt_toolkit.styles import Style

        session: PromptSession[str] = PromptSession(
            history=_history(history),
            completer=WordCompleter(list(commands), sentence=True),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            reserve_space_for_menu=0,
            key_bindings=_keys(),
            bottom_toolbar=status,
            style=Style.from_dict({"bottom-toolbar": "noreverse fg:ansigray"}),
            refresh_interval=0.5,
        )
        self._prompt: Callable[..., Awaitable[str]] = session.prompt_async

    async def line(self, *, more: bool) -> str | None:
        """What the person typed until Enter (Alt-Enter begins a new line). None for Ctrl-D."""
        from prompt_toolkit.patch_stdout import patch_stdout

        try:
            # What is written meanwhile (that the model cannot be loaded, say) appears above the prompt.
            with patch_stdout(raw=True):
                return await self._prompt("... " if more else ">>> ")
        except EOFError:
            return None


def _history(file: Path) -> History:
    """What was typed in earlier chats and is typed in this one; only the latter, if the file cannot be had."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        with file.open("r+b"):
            return FileHistory(str(file))
    except OSError as error:
        log.warning("the chat's history is not kept", reason=str(error))
        return InMemoryHistory()


def _keys() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    # Not Ctrl-J: Enter typed ahead, while an answer is written, arrives as one.
    @keys.add("escape", "enter")
    def _new_line(event: KeyPressEvent) -> None:  # pyright: ignore[reportUnusedFunction]
        event.current_buffer.insert_text("\n")

    return keys
