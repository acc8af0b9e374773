"""How a completion fails, and how it is given up: with one error, and no turn left behind."""

import asyncio
from typing import Any

import pytest

from chat_oracle import check_chunks
from chat_scene import Scene
from forethought.api.errors import ApiError
from forethought.errors import EngineDown, ForethoughtError, GrammarError, QueueFull
from scripted_turns import COMPLETED, ENDS_BADLY, Pause, Script, Silence, message


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [
        (ENDS_BADLY[0], 500, "malformed_tool_call"),
        (ENDS_BADLY[1], 500, "engine_error"),
        (ENDS_BADLY[2], 503, "cancelled"),
        (ENDS_BADLY[3], 500, "engine_error"),
        (ENDS_BADLY[4], 500, "internal_error"),
        (ENDS_BADLY[5], 500, "no_answer"),
        (EngineDown("The engine is down."), 503, "engine_down"),
    ],
)
def test_what_fails_after_the_first_event_is_the_last_line_and_an_error_for_who_waits(
    end: Any, status: int, code: str
) -> None:
    script = [*message(0, "Fo")[:2], end]
    last = Scene.of(script).chunks()[-1]
    assert last["error"]["code"] == code
    assert last["error"].keys() == {"message", "type", "param", "code"}
    with pytest.raises(ApiError) as caught:
        Scene.of(script).final()
    assert (caught.value.status, caught.value.error) == (status, last["error"])


def test_a_turn_that_ends_without_saying_so_is_an_error() -> None:
    assert Scene.of(message(0, "Fo")[:2]).chunks()[-1]["error"]["code"] == "internal_error"


@pytest.mark.parametrize("failing", [0, 1])
def test_a_failure_closes_the_other_turns(failing: int) -> None:
    scripts: list[Script | Exception] = [[*message(0, "a")[:2], Pause(), Pause(), Silence()] for _ in range(2)]
    scripts[failing] = [*message(0, "a")[:2], Pause(), ENDS_BADLY[1]]
    scene = Scene.of(*scripts)
    assert "error" in scene.chunks(n=2)[-1]
    assert all(turn.closed for turn in scene.reasoner.turns)


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (GrammarError("The schema cannot be compiled."), 400, "invalid_value"),
        (QueueFull("The queue is full."), 429, "rate_limit_exceeded"),
        (EngineDown("The engine is down."), 503, "engine_down"),
    ],
)
@pytest.mark.parametrize("asked", ["submitting", "first event"])
def test_a_refusal_of_the_engine_comes_before_the_stream(
    refusal: ForethoughtError, status: int, code: str, asked: str
) -> None:
    good: Script = [*message(0, "a"), COMPLETED]
    scene = Scene.of(good, refusal if asked == "submitting" else [refusal])
    with pytest.raises(ApiError) as caught:
        scene.chunks(n=2)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert all(turn.closed for turn in scene.reasoner.turns)


def test_a_stream_begins_while_the_engine_is_still_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forethought.api.turns.REFUSAL_SECONDS", 0.01)
    scene = Scene.of([Silence()])

    async def read() -> dict[str, Any]:
        stream = await scene.start(stream=True)
        first = await anext(stream)
        await stream.aclose()
        await stream.aclose()
        assert [chunk async for chunk in stream] == []
        return first

    assert asyncio.run(read())["choices"][0]["delta"]["role"] == "assistant"
    assert scene.reasoner.turns[0].closed


def test_whoever_gives_up_while_a_completion_begins_closes_its_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forethought.api.turns.REFUSAL_SECONDS", 60)
    scene = Scene.of([Silence()])

    async def give_up() -> None:
        starting = asyncio.create_task(scene.start())
        await asyncio.wait({starting}, timeout=0.01)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        assert starting.cancelled()

    asyncio.run(give_up())
    assert scene.reasoner.turns[0].closed


@pytest.mark.parametrize("choices", [1, 2])
def test_a_wait_that_is_cancelled_can_be_taken_up_again(choices: int) -> None:
    script: Script = [*message(0, "a", "b"), COMPLETED]
    scene = Scene.of(*([script] * choices))

    async def read() -> list[Any]:
        stream = await scene.start(n=choices, stream=True)
        told: list[Any] = []
        while True:
            waiting = asyncio.create_task(anext(stream, None))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            chunk = waiting.result() if not waiting.cancelled() else await anext(stream, None)
            if chunk is None:
                return told
            told.append(chunk)

    assert check_chunks(asyncio.run(read()), choices)["choices"][-1]["message"]["content"] == "ab"
