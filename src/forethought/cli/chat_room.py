"""A chat: reads messages and commands, asks the model, shows the answers.

The prompt is there at once; the model loads behind it. Ctrl-C ends the answer, Ctrl-D the chat.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from forethought.cli.chat_commands import obey
from forethought.cli.chat_input import read_message
from forethought.cli.chat_talk import Stopwatch, Talk
from forethought.cli.interrupt import interrupting
from forethought.cli.session import Session
from forethought.cli.terminal import Terminal, TurnView
from forethought.errors import ContextLengthError, ForethoughtError
from forethought.reasoning.answer import Answer
from forethought.settings import Settings

if TYPE_CHECKING:
    from forethought.cli.chat_input import Input
    from forethought.cli.session import Loaded
    from forethought.reasoning.events import Event
    from forethought.reasoning.turn import Turn
    from forethought.reasoning.turn_options import SamplingOverrides


class Chat:
    """One chat: a model, a conversation with it, and where it is shown."""

    def __init__(self, settings: Settings, talk: Talk, terminal: Terminal) -> None:
        self.talk = talk
        self.terminal = terminal
        self.failed = False
        self.session = self._open(settings)

    def greet(self) -> None:
        """The first lines that a person sees."""
        self.terminal.note(f"{self.session.settings.model}: type a message; /help lists commands, Ctrl-D leaves.")

    def status(self) -> str:
        """The line below the prompt."""
        used = self.talk.cost.usage.total_tokens if self.talk.cost else 0
        loaded = self.session.loaded
        parts = [self.session.settings.model, self.session.state]
        if self.talk.effort:
            parts.append(f"effort {self.talk.effort}")
        if loaded:
            parts.append(f"{used}/{loaded.engine.context_length} tokens")
        return " · ".join(parts)

    async def run(self, source: Input) -> None:
        """Reads and answers until there is nothing more to read."""
        while True:
            try:
                text = await read_message(source)
            except KeyboardInterrupt:
                self.terminal.note("Ctrl-D leaves.")
                continue
            if text is None:
                return
            try:
                if text.startswith("/"):
                    if await obey(self, text):
                        return
                elif text.strip():
                    await self.say(text)
            except ForethoughtError as error:
                self.fail(error)

    def fail(self, error: ForethoughtError) -> None:
        """Shows an error; the chat goes on."""
        self.failed = True
        full = isinstance(error, ContextLengthError)
        self.terminal.error(
            error.message, "Type /reset to begin anew, or shorten the message." if full else error.remedy
        )

    async def say(self, text: str) -> None:
        """Asks the model, shows the answer as it comes, and remembers both.

        Raises:
            ForethoughtError: there is no answer; the conversation is as it was before.
        """
        with TurnView(self.terminal, show_thinking=self.talk.show_thinking) as view:
            loaded = await self.loaded(view)
            if loaded is None:
                return
            view.wait("reading…")
            watch = Stopwatch()
            events: list[Event] = []
            async with self._turn(loaded, text) as turn:
                with interrupting(turn.cancel):
                    async for event in turn:
                        watch.event()
                        events.append(event)
                        view.show(event)
        answer = Answer.of(events)
        self.talk.answered(text, answer, watch.cost(answer.done.usage))
        if answer.done.incomplete_reason == "context":
            self.terminal.note("[type /reset to begin anew]")
        answer.checked()

    async def loaded(self, view: TurnView) -> Loaded | None:
        """The model, as soon as it is there; None when the person does not want to wait for it.

        Raises:
            ForethoughtError: it cannot be loaded.
        """
        view.wait("loading the model…")
        waiting = asyncio.ensure_future(self.session.ready())
        with interrupting(waiting.cancel):
            await asyncio.wait({waiting})
        if waiting.cancelled():
            self.terminal.note("[not asked; the model is still loading]")
            return None
        return waiting.result()

    async def switch(self, model: str) -> None:
        """Goes on with another model; it loads while the person types."""
        await self.session.close()
        self.session = self._open(self.session.settings.model_copy(update={"model": model}))

    def _open(self, settings: Settings) -> Session:
        return Session(settings, on_failure=self.fail)

    def _turn(self, loaded: Loaded, text: str) -> Turn:
        talk = self.talk
        sampling: SamplingOverrides = {} if talk.temperature is None else {"temperature": talk.temperature}
        return loaded.reasoner.turn(
            talk.asking(text),
            effort=talk.effort,
            think=talk.think,
            max_output_tokens=talk.max_tokens,
            sampling=sampling,
            seed=talk.seed,
        )
