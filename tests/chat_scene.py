"""A served model whose turns are written down beforehand, for tests of the Chat Completions API."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from forethought.api.chat import ChatStream, parse_create, start
from forethought.model.conversation import Conversation
from scripted_turns import COMPLETED, Script, ScriptedTurn, message

QUESTION: dict[str, Any] = {"model": "forethought-mini", "messages": [{"role": "user", "content": "Hello"}]}


@dataclass
class ScriptedReasoner:
    """Answers with the scripts, in order, and remembers what was asked. A script may be a refusal."""

    scripts: list[Script | Exception]
    conversation: Conversation = field(default_factory=lambda: Conversation(()))
    options: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    turns: list[ScriptedTurn] = field(default_factory=list)

    @property
    def engine(self) -> ScriptedReasoner:
        return self

    def prepare(self, conversation: Conversation, **options: Any) -> ScriptedReasoner:
        self.conversation = conversation
        self.options = options
        return self

    def submit(self, seed: int | None = None) -> ScriptedTurn:
        self.asked.append(self.options | {"seed": seed})
        script = self.scripts[len(self.asked) - 1]
        if isinstance(script, Exception):
            raise script
        self.turns.append(ScriptedTurn(list(script)))
        return self.turns[-1]


@dataclass
class Scene:
    """A model, with what it will say."""

    reasoner: ScriptedReasoner
    thinks: bool = True
    lenient: bool = False
    snapshot: str = "forethought-mini-2026-11-23"
    digest: str = "sha256:0123456789abcdef"

    @classmethod
    def of(cls, *scripts: Script | Exception, thinks: bool = True, lenient: bool = False) -> Scene:
        return cls(ScriptedReasoner(list(scripts)), thinks, lenient)

    @classmethod
    def answering(cls, *, thinks: bool = True, lenient: bool = False) -> Scene:
        """A model that gives one answer to whatever is asked, sixteen times."""
        return cls.of(*([[*message(0, "Four."), COMPLETED]] * 16), thinks=thinks, lenient=lenient)

    async def start(self, **parameters: Any) -> ChatStream:
        return await start(self, parse_create(QUESTION | parameters), "local")  # type: ignore[arg-type]

    def chunks(self, **parameters: Any) -> list[dict[str, Any]]:
        """What a stream gives."""

        async def collect() -> list[dict[str, Any]]:
            return [chunk async for chunk in await self.start(stream=True, **parameters)]

        return asyncio.run(collect())

    def final(self, **parameters: Any) -> dict[str, Any]:
        """What who waits is given."""

        async def collect() -> dict[str, Any]:
            return await (await self.start(**parameters)).final()

        return asyncio.run(collect())
