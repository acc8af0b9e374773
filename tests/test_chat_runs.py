"""Randomised completions over a scripted engine: whatever is written and whatever breaks, a stream ends in order and
equals what who waits gets, and shows nothing that was thought."""

import asyncio
import io
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat_oracle import check_chunks, check_completion, without_ids
from forethought.api.chat import ChatStream, parse_create, start
from forethought.api.errors import ApiError
from forethought.engine.script import End, Fail, Say, Step
from forethought.errors import EngineDown, EngineError
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Item, Message, Thinking, ToolCall
from responses_scene import Scene

CANARY = "canary-7f3a"
TOOLS = [{"type": "function", "function": {"name": "look"}}, {"type": "custom", "custom": {"name": "write"}}]
QUESTION: dict[str, Any] = {"model": "forethought-mini", "messages": [{"role": "user", "content": "Hello"}]}
run_settings = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=10) | st.text("abc", min_size=1, max_size=10)
thoughts = st.builds(lambda text, times: f"{text} {CANARY}. " * times, words, st.sampled_from([1, 2, 3, 60]))
items: st.SearchStrategy[Item] = st.one_of(
    words.map(lambda text: Message.of("assistant", text)),
    st.integers().map(lambda n: ToolCall("", "look", f'{{"n":{n}}}')),
    words.map(lambda text: ToolCall("", "write", text, custom=True)),
)
faults: st.SearchStrategy[tuple[Step, ...]] = st.sampled_from(
    [
        *[()] * 12,
        (End("max_tokens"),),
        (End("context"),),
        (End("cancelled"),),
        (End("error", "The engine died."),),
        (Fail(EngineError("The engine died.")),),
        (Fail(EngineDown("The engine is down.")),),
    ]
)
asked = st.fixed_dictionaries(
    {
        "tools": st.sampled_from([TOOLS, TOOLS, TOOLS, None]),
        "max_completion_tokens": st.sampled_from([None, None, None, None, 1, 3, 20, 100]),
    },
    optional={"parallel_tool_calls": st.just(False), "logprobs": st.just(True), "stop": st.just(["a", "b"])},
)


@st.composite
def scripts(draw: st.DrawFn, checkpoint: Checkpoint) -> list[tuple[Step, ...]]:
    """What a model writes for each choice, up to where something breaks."""
    scripts: list[tuple[Step, ...]] = []
    for _ in range(draw(st.integers(1, 3))):
        written = [Thinking(draw(thoughts)), *draw(st.lists(items, min_size=1, max_size=4))]
        tokens = checkpoint.renderer.render_output(tuple(written))
        fault = draw(faults)
        scripts.append((Say(tokens[: draw(st.integers(0, len(tokens)))] if fault else tokens), *fault))
    return scripts


async def begin(checkpoint: Checkpoint, steps: list[tuple[Step, ...]], **parameters: Any) -> tuple[Scene, ChatStream]:
    scene = Scene(checkpoint, lenient=True)
    await scene.engine.start()
    for script in steps:
        scene.will_do(*script)
    request = parse_create({**QUESTION, "n": len(steps), **parameters})
    return scene, await start(scene.served, request, "local")


def streamed(checkpoint: Checkpoint, steps: list[tuple[Step, ...]], **parameters: Any) -> list[dict[str, Any]]:
    """The chunks; a refusal is the only one."""

    async def run() -> list[dict[str, Any]]:
        try:
            _, stream = await begin(checkpoint, steps, stream=True, **parameters)
        except ApiError as error:
            return [error.body]
        return [chunk async for chunk in stream]

    return asyncio.run(run())


def waited(checkpoint: Checkpoint, steps: list[tuple[Step, ...]], **parameters: Any) -> dict[str, Any]:
    """The completion, or the error in its place."""

    async def run() -> dict[str, Any]:
        try:
            _, stream = await begin(checkpoint, steps, **parameters)
            return await stream.final()
        except ApiError as error:
            return error.body

    return asyncio.run(run())


@run_settings
@given(st.data(), asked)
def test_every_run_ends_in_order_and_equals_its_twin(
    checkpoint: Checkpoint, data: st.DataObject, parameters: dict[str, Any]
) -> None:
    steps = data.draw(scripts(checkpoint))
    usage = {"stream_options": {"include_usage": True}}
    chunks, twin = streamed(checkpoint, steps, **usage, **parameters), waited(checkpoint, steps, **parameters)
    assert all("error" not in chunk for chunk in chunks[:-1])
    if "error" in chunks[-1]:
        assert chunks[-1] == twin
        return
    completion = check_completion(twin)
    assert without_ids(check_chunks(chunks, len(steps), usage=True)) == without_ids(completion)


@run_settings
@given(st.data(), asked)
def test_no_run_shows_what_was_thought(
    checkpoint: Checkpoint, log_lines: io.StringIO, data: st.DataObject, parameters: dict[str, Any]
) -> None:
    assert CANARY not in repr(streamed(checkpoint, data.draw(scripts(checkpoint)), **parameters))
    assert CANARY not in log_lines.getvalue()


@run_settings
@given(st.data(), st.integers(0, 12))
def test_a_client_that_leaves_ends_its_requests(checkpoint: Checkpoint, data: st.DataObject, read: int) -> None:
    steps = data.draw(scripts(checkpoint))

    async def leave() -> None:
        try:
            scene, stream = await begin(checkpoint, steps, stream=True, tools=TOOLS)
        except ApiError:
            return
        for _ in range(read):
            await anext(stream, None)
        await stream.aclose()
        assert scene.engine.metrics().running == 0
        assert await anext(stream, None) is None

    asyncio.run(leave())


@run_settings
@given(st.data(), st.integers(0, 12))
def test_an_engine_that_closes_ends_every_stream(checkpoint: Checkpoint, data: st.DataObject, read: int) -> None:
    steps = data.draw(scripts(checkpoint))

    async def close() -> list[dict[str, Any]]:
        try:
            scene, stream = await begin(checkpoint, steps, stream=True, tools=TOOLS)
        except ApiError as error:
            return [error.body]
        chunks = [chunk for _ in range(read) if (chunk := await anext(stream, None)) is not None]
        await scene.engine.close()
        return chunks + [chunk async for chunk in stream]

    chunks = asyncio.run(close())
    if "error" not in chunks[-1]:
        check_chunks(chunks, len(steps))
