"""A served model on a scripted engine, under a real renderer: a test writes what the model says."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

from forethought.api.content_keys import ContentKeys
from forethought.api.responses import ResponseStream, parse_create, start
from forethought.api.served import LOCAL_TENANT, ServedModel
from forethought.engine.protocol import Request
from forethought.engine.script import Say, Step
from forethought.engine.scripted import ScriptedEngine
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Item
from forethought.reasoning.reasoner import Reasoner

WireEvent = dict[str, Any]


class Scene:
    """One served model, and the requests that its engine got."""

    def __init__(
        self, checkpoint: Checkpoint, *, thinks: bool = True, lenient: bool = False, context_length: int = 8192
    ) -> None:
        self.requests: list[Request] = []
        self.refusal: Exception | None = None
        self._outputs: deque[Iterable[Step]] = deque()
        self._summary: tuple[Step, ...] = ()
        self.engine = ScriptedEngine(self._script, context_length=context_length)
        self.served = ServedModel(
            alias="forethought-mini",
            snapshot="forethought-mini-2026-11-23",
            created=0,
            reasoner=Reasoner(checkpoint, self.engine),
            keys=ContentKeys.ephemeral(),
            thinks=thinks,
            lenient=lenient,
        )

    def will_write(self, *items: Item, then: tuple[Step, ...] = ()) -> None:
        """The next output of the model: the tokens of these items, and what happens behind them."""
        self.will_do(Say(self.tokens(*items)), *then)

    def will_do(self, *steps: Step) -> None:
        """What the engine does with the next request."""
        self._outputs.append(steps)

    def will_summarise(self, *parts: Item, then: tuple[Step, ...] = ()) -> None:
        """What the model writes whenever it is to summarise its thinking."""
        self._summary = (Say(self.tokens(*parts)), *then)

    def tokens(self, *items: Item) -> tuple[int, ...]:
        """An output, as the model writes it."""
        return self.served.reasoner.checkpoint.renderer.render_output(items)

    @property
    def prompt(self) -> tuple[int, ...]:
        """The tokens that the engine was last given."""
        return self.requests[-1].prompt_ids

    def create(self, **parameters: Any) -> dict[str, Any]:
        """The response to a request, as who does not stream gets it. Raises `ApiError`."""

        async def run() -> dict[str, Any]:
            return await (await self.begin(**parameters)).final()

        return asyncio.run(run())

    def stream(self, **parameters: Any) -> list[WireEvent]:
        """The events of a response. Raises `ApiError`."""

        async def run() -> list[WireEvent]:
            return [event async for event in await self.begin(stream=True, **parameters)]

        return asyncio.run(run())

    async def begin(self, **parameters: Any) -> ResponseStream:
        """A response in the making. Raises `ApiError`."""
        await self.engine.start()
        request = parse_create({"model": "forethought-mini", "input": "Hello", **parameters})
        return await start(self.served, request, LOCAL_TENANT)

    def _script(self, request: Request) -> Iterable[Step]:
        if self.refusal is not None:
            raise self.refusal
        if request.priority > 0:
            return self._summary
        self.requests.append(request)
        return self._outputs.popleft()
