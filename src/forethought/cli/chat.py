"""`forethought chat`: a conversation at the terminal, or with the lines of a pipe."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

import typer

from forethought.cli.ask import (
    EffortOption,
    MaxTokensOption,
    ModelOption,
    SeedOption,
    ShowThinkingOption,
    SystemOption,
    TemperatureOption,
    ThinkOption,
    settings_for,
)

if TYPE_CHECKING:
    from forethought.cli.chat_talk import Talk
    from forethought.settings import Settings


def chat(
    context: typer.Context,
    model: ModelOption = None,
    effort: EffortOption = None,
    think: ThinkOption = None,
    show_thinking: ShowThinkingOption = False,
    system: SystemOption = "",
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    temperature: TemperatureOption = None,
) -> None:
    """Talk with the model. /help lists what else can be typed."""
    from forethought.cli.chat_talk import Talk

    talk = Talk(system, effort, think, show_thinking, max_tokens, seed, temperature)
    raise typer.Exit(asyncio.run(_chat(settings_for(context, model), talk)))


async def _chat(settings: Settings, talk: Talk) -> int:
    """Chats; the exit status, which only a script looks at."""
    from forethought.cli.chat_commands import COMMANDS
    from forethought.cli.chat_input import PipeInput, TerminalInput
    from forethought.cli.chat_room import Chat
    from forethought.cli.terminal import Terminal

    room = Chat(settings, talk, Terminal())
    if sys.stdin.isatty() and sys.stdout.isatty():
        source = TerminalInput(settings.cache_dir / "chat-history", list(COMMANDS), room.status)
        room.greet()
    else:
        source = PipeInput()
    try:
        await room.run(source)
    finally:
        await room.session.close()
    return 1 if room.failed and not source.interactive else 0
