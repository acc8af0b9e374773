"""Randomised runs over a scripted engine: whatever is written and whatever breaks, a stream ends in order, equals what
who waits gets, and shows nothing that was thought."""

import asyncio
import io
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought.api.errors import ApiError
from forethought.engine.script import End, Fail, Pause, Say, Step
from forethought.errors import EngineDown, EngineError
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Item, Message, Thinking, ToolCall
from responses_oracle import check_document, check_stream, comparable
from responses_scene import Scene, WireEvent

CANARY = "canary-7f3a"
TOOLS = [{"type": "function", "name": "look"}, {"type": "custom", "name": "write"}]
run_settings = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
thoughts = st.builds(lambda text, times: f"{text} {CANARY}. " * times, words, st.integers(1, 60))
items: st.SearchStrategy[Item] = st.one_of(
    words.map(lambda text: Message.of("assistant", text)),
    st.integers().map(lambda n: ToolCall("", "look", f'{{"n":{n}}}')),
    words.map(lambda text: ToolCall("", "write", text, custom=True)),
    thoughts.map(Thinking),
)
faults: st.SearchStrategy[tuple[Step, ...]] = st.sampled_from(
    [
        (),
        (),
        (End("max_tokens"),),
        (End("context"),),
        (End("cancelled"),),
        (End("error", "The engine died."),),
        (Fail(EngineError("The engine died.")),),
        (Fail(EngineDown("The engine is down.")),),
        (Pause(0.001),),
    ]
)
asked = st.fixed_dictionaries(
    {"tools": st.sampled_from([None, TOOLS]), "max_output_tokens": st.sampled_from([None, 1, 3, 20])},
    optional={
        "include": st.just(["reasoning.encrypted_content"]),
        "parallel_tool_calls": st.just(False),
        "reasoning": st.fixed_dictionaries({"summary": st.sampled_from(["auto", "concise", "detailed"])}),
    },
)


@st.composite
def scripts(draw: st.DrawFn, checkpoint: Checkpoint, noisy: st.SearchStrategy[bool]) -> tuple[Step, ...]:
    """What a model writes, perhaps with noise in it that no training would leave, up to where something breaks."""
    written = [Thinking(draw(thoughts)), *draw(st.lists(items, max_size=4))]
    tokens = checkpoint.renderer.render_output(tuple(written))
    if draw(noisy):
        noise = st.lists(st.integers(0, checkpoint.tokenizer.vocab_size - 1), min_size=1, max_size=5)
        place = draw(st.integers(0, len(tokens)))
        tokens = (*tokens[:place], *draw(noise), *tokens[place:])
    fault = draw(faults)
    return (Say(tokens[: draw(st.integers(0, len(tokens)))] if fault else tokens), *fault)


@st.composite
def scenes(draw: st.DrawFn, checkpoint: Checkpoint) -> Scene:
    """A model whose summaries are well written, cut off, or fail."""
    scene = Scene(checkpoint)
    scene.will_summarise(Message.of("assistant", "**A title**\n\nThen a sentence."), then=draw(faults))
    return scene


def streamed(scene: Scene, steps: tuple[Step, ...], **parameters: Any) -> list[WireEvent] | ApiError:
    scene.will_do(*steps)
    try:
        return scene.stream(**parameters)
    except ApiError as error:
        return error


def waited(scene: Scene, steps: tuple[Step, ...], **parameters: Any) -> dict[str, Any] | ApiError:
    scene.will_do(*steps)
    try:
        return scene.create(**parameters)
    except ApiError as error:
        return error


@run_settings
@given(st.data(), asked)
def test_every_run_ends_in_order_and_equals_its_twin(
    checkpoint: Checkpoint, data: st.DataObject, parameters: dict[str, Any]
) -> None:
    scene = data.draw(scenes(checkpoint))
    steps = data.draw(scripts(checkpoint, st.booleans()))
    events, twin = streamed(scene, steps, **parameters), waited(scene, steps, **parameters)
    if isinstance(events, ApiError):
        assert isinstance(twin, ApiError)
        assert events.body == twin.body
        return
    terminal = check_stream(events)
    assert terminal["type"] != "error"
    if isinstance(twin, ApiError):
        assert terminal["response"]["error"]["message"] == twin.message
        return
    check_document(twin)
    assert comparable(twin) == comparable(terminal["response"])


@run_settings
@given(st.data(), asked)
def test_no_run_shows_what_was_thought(
    checkpoint: Checkpoint, log_lines: io.StringIO, data: st.DataObject, parameters: dict[str, Any]
) -> None:
    steps = data.draw(scripts(checkpoint, st.just(False)))
    events = streamed(data.draw(scenes(checkpoint)), steps, **parameters)
    assert CANARY not in repr(events.body if isinstance(events, ApiError) else events)
    assert CANARY not in log_lines.getvalue()


@run_settings
@given(st.data(), st.integers(0, 12))
def test_a_client_that_leaves_ends_its_request(checkpoint: Checkpoint, data: st.DataObject, read: int) -> None:
    scene = data.draw(scenes(checkpoint))
    scene.will_do(*data.draw(scripts(checkpoint, st.booleans())))

    async def leave() -> None:
        try:
            stream = await scene.begin(stream=True, tools=TOOLS, reasoning={"summary": "detailed"})
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
    scene = data.draw(scenes(checkpoint))
    scene.will_do(*data.draw(scripts(checkpoint, st.booleans())))

    async def close() -> list[WireEvent]:
        try:
            stream = await scene.begin(stream=True, tools=TOOLS, reasoning={"summary": "detailed"})
        except ApiError:
            return []
        events = [event for _ in range(read) if (event := await anext(stream, None)) is not None]
        await scene.engine.close()
        return events + [event async for event in stream]

    if events := asyncio.run(close()):
        check_stream(events)
