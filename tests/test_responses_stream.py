"""The events of a response: OpenAI's SDK accepts every stream, and whoever waits gets what a stream ends with."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.api.errors import ApiError
from forethought.api.responses.create import parse_create
from forethought.api.responses.document import ResponseDocument
from forethought.api.responses.stream import ResponseStream
from forethought.api.turns import TurnEvents
from forethought.errors import EngineDown, ForethoughtError, GrammarError, QueueFull
from forethought.model.generation import GenerationDefaults
from forethought.reasoning.events import (
    Event,
    ItemStatus,
    SummaryDelta,
    SummaryPartAdded,
    SummaryPartDone,
    TextDelta,
    TokenLogprob,
    TurnDone,
    TurnError,
)
from responses_oracle import WireEvent, check_document, check_stream
from scripted_turns import CANARY, COMPLETED, ENDS_BADLY, USAGE, ScriptedTurn, Silence, call, message, thinking


@dataclass
class Checkpoint:
    generation: GenerationDefaults = field(default_factory=GenerationDefaults)


@dataclass
class Served:
    """What a document wants to know of a model."""

    snapshot: str = "forethought-mini-2026-11-23"
    lenient: bool = False
    checkpoint: Checkpoint = field(default_factory=Checkpoint)

    @property
    def reasoner(self) -> "Served":
        return self


def response(turn: ScriptedTurn, **parameters: Any) -> ResponseStream:
    request = parse_create({"model": "forethought-mini", "input": "Hello", "stream": True, **parameters})
    document = ResponseDocument(Served(), request, "low")  # type: ignore[arg-type]
    seal = (lambda hidden, item_id: f"{item_id}:{len(hidden)}") if request.encrypted else None
    return ResponseStream(document, turn, seal, obfuscated=request.obfuscated)


def play(*events: Event | Exception, **parameters: Any) -> list[WireEvent]:
    async def collect() -> list[WireEvent]:
        return [event async for event in response(ScriptedTurn(list(events)), **parameters)]

    return asyncio.run(collect())


def final(*events: Event | Exception, **parameters: Any) -> dict[str, Any]:
    return asyncio.run(response(ScriptedTurn(list(events)), **parameters).final())


def summary(index: int, part: int, *texts: str, status: ItemStatus = "completed") -> list[Event]:
    deltas = [SummaryDelta(index, part, text) for text in texts]
    return [SummaryPartAdded(index, part), *deltas, SummaryPartDone(index, part, "".join(texts), status)]


def types(events: list[WireEvent]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


texts = st.lists(st.text(min_size=1, max_size=8), max_size=3)
statuses = st.sampled_from(["completed", "incomplete"])


@st.composite
def summarised_thinking(draw: st.DrawFn, index: int, status: ItemStatus) -> list[Event]:
    added, *deltas, done = thinking(index, *draw(texts), status=status)
    parts = [summary(index, part, *draw(texts), status=draw(statuses)) for part in range(draw(st.integers(0, 2)))]
    return [added, *deltas, *(event for part in parts for event in part), done]


@st.composite
def turns(draw: st.DrawFn) -> list[Event | Exception]:
    """Any turn that keeps the laws of events; some break off without an end, which no turn may."""
    kinds = draw(st.lists(st.sampled_from(["thinking", "message", "function", "custom"]), max_size=4))
    end = draw(
        st.sampled_from(
            [
                COMPLETED,
                TurnDone("incomplete", USAGE, "max_output_tokens"),
                TurnDone("incomplete", USAGE, "context"),
                *ENDS_BADLY,
            ]
        )
    )
    if end is COMPLETED and not {*kinds} & {"message", "function", "custom"}:
        kinds.append("message")
    events: list[Event | Exception] = []
    for index, kind in enumerate(kinds):
        cut_off = index == len(kinds) - 1 and end is not COMPLETED
        status: ItemStatus = draw(statuses) if cut_off else "completed"
        match kind:
            case "thinking":
                events += draw(summarised_thinking(index, status))
            case "message":
                events += message(index, *draw(texts), status=status)
            case _:
                events += call(index, *draw(texts), custom=kind == "custom", status=status)
    return [*events, end]


@given(turns(), st.booleans(), st.booleans())
def test_every_stream_is_one_that_the_sdk_accepts(
    events: list[Event | Exception], encrypted: bool, obfuscated: bool
) -> None:
    parameters = {
        "include": ["reasoning.encrypted_content"] if encrypted else [],
        "stream_options": {"include_obfuscation": obfuscated},
    }
    check_stream(play(*events, **parameters))


@given(turns())
def test_who_waits_gets_what_the_stream_ends_with(events: list[Event | Exception]) -> None:
    terminal = play(*events)[-1]
    waited = _waited(*events)
    if isinstance(waited, ApiError):
        assert waited.status >= 500
        assert terminal["type"] in ("response.failed", "error")
        assert waited.message == (terminal["response"]["error"] if "response" in terminal else terminal)["message"]
    else:
        check_document(waited)
        assert _without_ids(waited) == _without_ids(terminal["response"])


def _waited(*events: Event | Exception) -> dict[str, Any] | ApiError:
    try:
        return final(*events)
    except ApiError as error:
        return error


def _without_ids(document: dict[str, Any]) -> dict[str, Any]:
    moving = {"id": None, "created_at": None, "completed_at": None}
    return document | moving | {"output": [item | {"id": None} for item in document["output"]]}


def test_an_answer_is_announced_told_and_finished() -> None:
    events = play(*message(0, "Fo", "ur."), COMPLETED)
    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["delta"] for event in events if "delta" in event] == ["Fo", "ur."]
    document = check_stream(events)["response"]
    assert document["output"][0]["content"] == [
        {"type": "output_text", "text": "Four.", "annotations": [], "logprobs": []}
    ]
    assert document["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 6},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 17,
    }


def test_thinking_shows_nothing_but_its_item() -> None:
    events = play(*thinking(0, CANARY), *message(1, "Four."), COMPLETED)
    assert CANARY not in repr(events)
    item = check_stream(events)["response"]["output"][0]
    assert item == {"id": item["id"], "type": "reasoning", "summary": [], "status": "completed"}
    assert types(events)[2:4] == ["output_item.added", "output_item.done"]


def test_a_summary_is_told_in_parts_while_the_model_thinks() -> None:
    added, *_, done = thinking(0, "hmm")
    parts = [*summary(0, 0, "**Adding** ", "two."), *summary(0, 1, "**Che", status="incomplete")]
    events = play(added, *parts, done, *message(1, "Four."), COMPLETED)
    assert types(events)[3:12] == [
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ]
    assert "status" not in events[7]
    assert events[11]["status"] == "incomplete"
    item = check_stream(events)["response"]["output"][0]
    assert [part["text"] for part in item["summary"]] == ["**Adding** two.", "**Che"]
    assert item["status"] == "completed"


def test_thinking_travels_encrypted_when_asked_for() -> None:
    events = play(*thinking(0, CANARY), *message(1), COMPLETED, include=["reasoning.encrypted_content"])
    item = check_stream(events)["response"]["output"][0]
    assert item["encrypted_content"] == f"{item['id']}:{len(CANARY)}"


@pytest.mark.parametrize(
    ("custom", "kind", "prefix", "field"),
    [(False, "function_call", "fc_", "arguments"), (True, "custom_tool_call", "ctc_", "input")],
)
def test_a_tool_call_keeps_its_ids_and_its_text(custom: bool, kind: str, prefix: str, field: str) -> None:
    events = play(*call(0, '{"city"', ':"Rome"}', custom=custom), *call(1, custom=custom), COMPLETED)
    assert types(events)[2:7] == [
        "output_item.added",
        f"{kind}_{field}.delta",
        f"{kind}_{field}.delta",
        f"{kind}_{field}.done",
        "output_item.done",
    ]
    first, second = check_stream(events)["response"]["output"]
    assert first["id"].startswith(prefix)
    assert first == {
        "id": first["id"],
        "type": kind,
        "status": "completed",
        "call_id": "call_0",
        "name": "look",
        field: '{"city":"Rome"}',
    }
    assert (second["call_id"], second[field]) == ("call_1", "")


@pytest.mark.parametrize("reason", ["max_output_tokens", "context"])
def test_an_answer_that_runs_out_of_tokens_is_incomplete(reason: Any) -> None:
    events = play(*thinking(0, "hmm", status="incomplete"), TurnDone("incomplete", USAGE, reason))
    document = check_stream(events)["response"]
    assert (document["status"], document["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert [item["status"] for item in document["output"]] == ["incomplete"]


def test_a_failure_of_the_engine_fails_the_response_and_is_an_error_for_who_waits() -> None:
    done = TurnDone("failed", USAGE, error=TurnError("engine_error", "The engine died.", "Ask again."))
    events = play(*message(0, "Fo", status="incomplete"), done)
    document = check_stream(events)["response"]
    assert document["error"] == {"code": "server_error", "message": "The engine died. Ask again."}
    assert document["usage"]["total_tokens"] == 17
    with pytest.raises(ApiError) as caught:
        final(*message(0, "Fo", status="incomplete"), done)
    assert (caught.value.status, caught.value.type) == (500, "server_error")


@pytest.mark.parametrize(
    ("done", "code"),
    [
        (
            TurnDone("failed", USAGE, error=TurnError("malformed_tool_call", "What the model wrote is no call.")),
            "malformed_tool_call",
        ),
        (TurnDone("incomplete", USAGE, "no_answer"), "no_answer"),
    ],
)
def test_a_model_that_brings_no_answer_fails_the_response_and_is_an_error_for_who_waits(
    done: TurnDone, code: str
) -> None:
    events = [*thinking(0, "hmm"), done]
    document = check_stream(play(*events))["response"]
    assert (document["status"], document["error"]["code"]) == ("failed", "server_error")
    with pytest.raises(ApiError) as caught:
        final(*events)
    assert (caught.value.status, caught.value.code) == (500, code)


def test_a_server_that_ends_says_so_and_who_waits_may_try_another() -> None:
    done = TurnDone("cancelled", USAGE)
    assert check_stream(play(*message(0, "Fo", status="incomplete"), done))["type"] == "response.failed"
    with pytest.raises(ApiError) as caught:
        final(done)
    assert caught.value.status == 503
    assert "retry-after" in caught.value.headers


@pytest.mark.parametrize(
    "events", [[ValueError(CANARY)], [*message(0, "Fo")[:2], KeyError(CANARY)], [], [message(0)[-1]]]
)
def test_a_broken_part_ends_the_stream_with_an_error_flat_and_nested(events: list[Event | Exception]) -> None:
    turn = ScriptedTurn(list(events))

    async def collect() -> list[WireEvent]:
        return [event async for event in response(turn)]

    told = asyncio.run(collect())
    error = check_stream(told)
    assert error["type"] == "error"
    assert error["error"] == {name: error[name] for name in ("message", "param", "code")} | {"type": "server_error"}
    assert CANARY not in repr(told)
    assert turn.closed


@pytest.mark.parametrize(
    ("refusal", "status", "code"),
    [
        (GrammarError("The schema cannot be compiled."), 400, "invalid_prompt"),
        (QueueFull("The queue is full."), 429, "rate_limit_exceeded"),
        (EngineDown("The engine is down."), 503, "server_error"),
    ],
)
def test_a_refusal_that_comes_late_is_a_failed_response(refusal: ForethoughtError, status: int, code: str) -> None:
    assert check_stream(play(refusal))["response"]["error"]["code"] == code
    with pytest.raises(ApiError) as caught:
        final(refusal)
    assert caught.value.status == status


def test_a_refusal_that_comes_at_once_is_raised_before_the_stream_begins() -> None:
    async def begin() -> None:
        await response(ScriptedTurn([GrammarError("The schema cannot be compiled.")])).begin()

    with pytest.raises(GrammarError):
        asyncio.run(begin())


def test_a_stream_begins_while_the_engine_is_still_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forethought.api.turns.REFUSAL_SECONDS", 0.01)
    turn = ScriptedTurn([Silence()])

    async def scene() -> list[str]:
        stream = response(turn)
        await stream.begin()
        told = [await anext(stream) for _ in range(2)]
        waiting = asyncio.create_task(anext(stream))
        await asyncio.wait({waiting}, timeout=0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await stream.aclose()
        await stream.aclose()
        assert [event async for event in stream] == []
        return types(told)

    assert asyncio.run(scene()) == ["created", "in_progress"]
    assert turn.closed


def test_a_wait_that_is_cancelled_loses_no_event() -> None:
    @dataclass
    class SlowTurn:
        turn: ScriptedTurn
        gate: asyncio.Event

        async def __anext__(self) -> Event:
            await self.gate.wait()
            return await anext(self.turn)

        def ready(self) -> list[Event]:
            return []

        async def aclose(self) -> None:
            await self.turn.aclose()

    async def scene(begun: bool) -> list[WireEvent]:
        gate = asyncio.Event()
        slow: TurnEvents = SlowTurn(ScriptedTurn([*message(0, "Four."), COMPLETED]), gate)
        stream = response(slow)  # type: ignore[arg-type]
        if begun:
            await stream.begin()
        events = [await anext(stream) for _ in range(2)]
        waiting = asyncio.create_task(anext(stream))
        await asyncio.wait({waiting}, timeout=0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        gate.set()
        return events + [event async for event in stream]

    for begun in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("forethought.api.turns.REFUSAL_SECONDS", 0.01)
            check_stream(asyncio.run(scene(begun)))


def test_a_closed_response_has_no_end() -> None:
    async def scene() -> None:
        stream = response(ScriptedTurn([*message(0, "Four."), COMPLETED]))
        await anext(stream)
        await stream.aclose()
        with pytest.raises(ApiError):
            await stream.final()

    asyncio.run(scene())


def test_obfuscation_pads_deltas_and_nothing_else() -> None:
    events = play(*message(0, "a", "b" * 33), COMPLETED, stream_options={"include_obfuscation": True})
    check_stream(events)
    deltas = [event for event in events if "delta" in event]
    assert [len(event["delta"] + event["obfuscation"]) for event in deltas] == [32, 64]
    assert [event for event in events if "obfuscation" in event] == deltas


def test_log_probabilities_come_with_their_text() -> None:
    entry = TokenLogprob(b"Four", -0.5, ((b"Four", -0.5), (b"\xe2\x80", -2.0)))
    added, done = message(0)[0], message(0, "Four")[-1]
    events = play(added, TextDelta(0, "Four", (entry,)), done, COMPLETED)
    part = check_stream(events)["response"]["output"][0]["content"][0]
    four = {"token": "Four", "bytes": [70, 111, 117, 114], "logprob": -0.5}
    half = {"token": "\\xe2\\x80", "bytes": [226, 128], "logprob": -2.0}
    assert part["logprobs"] == [four | {"top_logprobs": [four, half]}]


def test_the_response_echoes_what_was_asked_for() -> None:
    tools = [
        {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True, "description": "Adds."},
        {"type": "function", "name": "look"},
        {"type": "custom", "name": "write", "format": {"type": "grammar", "syntax": "regex", "definition": "a+"}},
    ]
    text_format = {"type": "json_schema", "name": "sum", "schema": {"type": "object"}, "strict": True}
    asked: dict[str, Any] = {
        "instructions": "Be brief.",
        "max_output_tokens": 100,
        "metadata": {"customer": "42"},
        "parallel_tool_calls": False,
        "prompt_cache_key": "a",
        "prompt_cache_retention": "in_memory",
        "safety_identifier": "b",
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]},
        "truncation": "auto",
        "user": "c",
    }
    summarised = {"reasoning": {"effort": "minimal", "summary": "concise"}}
    document = final(
        *message(0), COMPLETED, **asked, **summarised, tools=tools, text={"format": text_format}, service_tier="auto"
    )
    check_document(document)
    assert {name: document[name] for name in asked} == asked
    assert document["model"] == Served().snapshot
    assert document["reasoning"] == {"effort": "low", "summary": "concise"}
    assert document["service_tier"] == "default"
    assert document["text"] == {"format": text_format | {"description": None}, "verbosity": "medium"}
    assert document["tools"] == [
        tools[0],
        {"type": "function", "name": "look", "description": None, "parameters": None, "strict": True},
        tools[2] | {"description": None},
    ]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, "auto"),
        ("required", "required"),
        ({"type": "function", "name": "add"}, {"type": "function", "name": "add"}),
        ({"type": "custom", "name": "write"}, {"type": "custom", "name": "write"}),
    ],
)
def test_the_response_echoes_the_choice_of_a_tool(choice: Any, told: Any) -> None:
    assert final(*message(0), COMPLETED, tool_choice=choice)["tool_choice"] == told
