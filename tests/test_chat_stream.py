"""The chunks of a completion: OpenAI's SDK accepts every stream, and whoever waits gets what the chunks add up to."""

import asyncio
import json
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_oracle import check_chunks, check_completion
from chat_scene import Scene
from forethought.api.errors import ApiError
from forethought.reasoning.events import (
    ItemStatus,
    SummaryDelta,
    SummaryPartAdded,
    SummaryPartDone,
    TokenLogprob,
    TurnDone,
    Usage,
)
from scripted_turns import CANARY, COMPLETED, ENDS_BADLY, USAGE, Pause, Script, Silence, call, message, thinking

INCOMPLETE = TurnDone("incomplete", USAGE, "max_output_tokens")
ENDS_WELL = [
    COMPLETED,
    INCOMPLETE,
    TurnDone("incomplete", USAGE, "context"),
]
texts = st.lists(st.text(min_size=1, max_size=8), max_size=3)
LOGPROBS = (TokenLogprob("€".encode()[:1], -0.5, ((b"a", -0.5), (b"b", -1.5))),)


@st.composite
def turns(draw: st.DrawFn, ends: list[Any]) -> Script:
    """Any turn that keeps the laws of events, with pauses here and there."""
    kinds = draw(st.lists(st.sampled_from(["thinking", "message", "function", "custom"]), max_size=4))
    end = draw(st.sampled_from(ends))
    if end is COMPLETED and not {*kinds} & {"message", "function", "custom"}:
        kinds.append("message")
    script: list[Any] = []
    for index, kind in enumerate(kinds):
        cut_off = index == len(kinds) - 1 and end is not COMPLETED
        status: ItemStatus = "incomplete" if cut_off and draw(st.booleans()) else "completed"
        match kind:
            case "thinking":
                script += thinking(index, CANARY, status=status)
            case "message":
                script += message(index, *draw(texts), status=status, logprobs=draw(st.sampled_from([(), LOGPROBS])))
            case _:
                script += call(index, *draw(texts), custom=kind == "custom", status=status)
    script.append(end)
    for place in draw(st.lists(st.integers(0, len(script) - 1), max_size=3)):
        script.insert(place, Pause())
    return script


@given(st.lists(turns(ENDS_WELL), min_size=1, max_size=3), st.booleans())
def test_chunks_add_up_to_the_completion(scripts: list[Script], usage: bool) -> None:
    parameters = {"n": len(scripts)}
    chunks = Scene.of(*scripts).chunks(**parameters, stream_options={"include_usage": usage})
    completion = check_completion(Scene.of(*scripts).final(**parameters))
    added_up = check_chunks(chunks, len(scripts), usage=usage)
    assert added_up["choices"] == completion["choices"]
    assert CANARY not in repr(chunks) + repr(completion)
    if usage:
        assert added_up["usage"] == completion["usage"]


@given(st.lists(turns(ENDS_WELL), max_size=2), turns(ENDS_BADLY), st.integers(0, 2))
def test_a_turn_that_fails_ends_the_completion_with_one_error(good: list[Script], bad: Script, place: int) -> None:
    scripts = [*good[:place], bad, *good[place:]]
    told = _told(Scene.of(*scripts), len(scripts))
    if isinstance(told, ApiError):  # at once, in place of a stream
        assert told.status >= 500
        return
    *chunks, last = told
    assert all("error" not in chunk for chunk in chunks)
    assert last.keys() == {"error"}
    assert CANARY not in repr(told)
    with pytest.raises(ApiError) as caught:
        Scene.of(*scripts).final(n=len(scripts))
    assert caught.value.status >= 500


def _told(scene: Scene, choices: int) -> list[dict[str, Any]] | ApiError:
    try:
        return scene.chunks(n=choices)
    except (ApiError, ValueError) as error:
        return error if isinstance(error, ApiError) else ApiError(500, "broken")


def deltas(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [choice["delta"] for chunk in chunks for choice in chunk["choices"]]


def test_an_answer_begins_with_its_role_and_ends_with_its_reason() -> None:
    chunks = Scene.of([*thinking(0, CANARY), *message(1, "Fo", "ur."), COMPLETED]).chunks()
    assert deltas(chunks) == [
        {"role": "assistant", "content": None, "refusal": None},
        {"content": "Fo"},
        {"content": "ur."},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert all(chunk["choices"][0]["logprobs"] is None for chunk in chunks)
    assert all("usage" not in chunk for chunk in chunks)


def test_a_completion_has_the_fields_that_openais_has() -> None:
    completion = Scene.of([*thinking(0, CANARY), *message(1, "Four."), COMPLETED]).final()
    assert completion.pop("id").startswith("chatcmpl-")
    assert completion.pop("created") > 1_700_000_000
    assert completion == {
        "object": "chat.completion",
        "model": "forethought-mini-2026-11-23",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789ab",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Four.", "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 7,
            "total_tokens": 17,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 6, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 3,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
    }


def test_a_first_delta_of_a_call_says_which_later_ones_say_more() -> None:
    script = [*call(0, '{"city"', ':"Rome"}'), *call(1, "any ", "text", custom=True), COMPLETED]
    chunks = Scene.of(script).chunks()
    assert deltas(chunks)[1:-1] == [
        {
            "tool_calls": [
                {"index": 0, "id": "call_0", "type": "function", "function": {"name": "look", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ':"Rome"}'}}]},
        {"tool_calls": [{"index": 1, "id": "call_1", "type": "custom", "custom": {"name": "look", "input": ""}}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "any "}}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "text"}}]},
    ]
    choice = Scene.of(script).final()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {"id": "call_0", "type": "function", "function": {"name": "look", "arguments": '{"city":"Rome"}'}},
        {"id": "call_1", "type": "custom", "custom": {"name": "look", "input": "any text"}},
    ]


@pytest.mark.parametrize("reason", ["max_output_tokens", "context"])
def test_a_turn_that_a_limit_ends_before_its_answer_is_an_empty_one_cut_off(reason: Any) -> None:
    script = [*thinking(0, CANARY, status="incomplete"), TurnDone("incomplete", USAGE, reason)]
    choice = Scene.of(script).final()["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("length", "")
    assert deltas(Scene.of(script).chunks())[1:] == [{"content": ""}, {}]


def test_a_call_that_was_cut_off_is_told_as_far_as_it_went() -> None:
    choice = Scene.of([*call(0, '{"ci', status="incomplete"), INCOMPLETE]).final()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"ci'


def test_what_is_said_around_a_call_is_one_text() -> None:
    script = [*message(0, "Let me "), *call(1, "{}"), *message(2, "look."), COMPLETED]
    message_ = Scene.of(script).final()["choices"][0]["message"]
    assert message_["content"] == "Let me look."
    assert len(message_["tool_calls"]) == 1


def test_obfuscation_pads_deltas_and_nothing_else() -> None:
    script = [*message(0, "a", "b" * 33), *call(1, '{"a":1}'), *call(2, "any text", custom=True), COMPLETED]
    options = {"include_obfuscation": True, "include_usage": True}
    chunks = Scene.of(script).chunks(stream_options=options)
    padded = [len(chunk["obfuscation"]) for chunk in chunks if "obfuscation" in chunk]
    assert padded == [31, 31, 25, 24]
    assert all("obfuscation" not in chunk for chunk in (chunks[0], *chunks[-2:]))
    assert not any("obfuscation" in chunk for chunk in Scene.of(script).chunks())


def test_usage_comes_last_when_it_is_asked_for() -> None:
    *chunks, last = Scene.of([*message(0, "Four."), COMPLETED]).chunks(stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == 17


def test_choices_share_a_prompt_and_add_up_what_they_say() -> None:
    first = TurnDone("completed", Usage(10, 0, 5, 1))
    second = TurnDone("completed", Usage(10, 8, 7, 2))
    usage = Scene.of([*message(0, "a"), first], [*message(0, "b"), second]).final(n=2)["usage"]
    assert (usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]) == (10, 0)
    assert (usage["completion_tokens"], usage["completion_tokens_details"]["reasoning_tokens"]) == (12, 3)
    assert usage["total_tokens"] == 22


def test_choices_are_told_as_they_come() -> None:
    scripts = [[*message(0, "a", "b"), COMPLETED], [*message(0, "c", "d"), COMPLETED]]
    slowly = [[entry for event in script for entry in (event, Pause())] for script in scripts]
    chunks = Scene.of(*slowly).chunks(n=2)
    told = [(choice["index"], choice["delta"].get("content")) for chunk in chunks for choice in chunk["choices"]]
    assert told[:2] == [(0, None), (1, None)]
    assert [text for index, text in told if index == 1][1:] == ["c", "d", None]
    assert told.index((1, "c")) < told.index((0, "b"))


def test_a_slow_choice_does_not_hold_up_another() -> None:
    scene = Scene.of([Silence()], [*message(0, "a"), COMPLETED])

    async def read() -> list[Any]:
        stream = await scene.start(n=2, stream=True)
        told = [await anext(stream) for _ in range(4)]
        await stream.aclose()
        return [(choice["index"], choice["delta"].get("content")) for chunk in told for choice in chunk["choices"]]

    assert asyncio.run(read()) == [(0, None), (1, None), (1, "a"), (1, None)]
    assert all(turn.closed for turn in scene.reasoner.turns)


def test_log_probabilities_come_with_their_text_bytes_included() -> None:
    scene = Scene.of([*message(0, "€", logprobs=LOGPROBS), COMPLETED], lenient=True)
    logprobs = scene.final(logprobs=True, top_logprobs=2)["choices"][0]["logprobs"]
    assert logprobs == {
        "content": [
            {
                "token": "\\xe2",
                "bytes": [226],
                "logprob": -0.5,
                "top_logprobs": [
                    {"token": "a", "bytes": [97], "logprob": -0.5},
                    {"token": "b", "bytes": [98], "logprob": -1.5},
                ],
            }
        ],
        "refusal": None,
    }


def test_a_summary_has_no_place_in_a_chat() -> None:
    added, *_, done = thinking(0, CANARY)
    summary = [SummaryPartAdded(0, 0), SummaryDelta(0, 0, CANARY), SummaryPartDone(0, 0, CANARY, "completed")]
    assert CANARY not in repr(Scene.of([added, *summary, done, *message(1, "Four."), COMPLETED]).chunks())


def client(lines: list[Any]) -> openai.OpenAI:
    """The SDK, with a server that answers with these events."""
    body = "".join(f"data: {json.dumps(line)}\n\n" for line in lines) + "data: [DONE]\n\n"
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, text=body)
    transport = httpx2.MockTransport(lambda request: answer)
    return openai.OpenAI(base_url="http://127.0.0.1/v1", api_key="none", http_client=httpx2.Client(transport=transport))


def test_the_sdks_stream_helper_reads_a_completion() -> None:
    chunks = Scene.of([*message(0, "Fo", "ur."), *call(1, '{"a":', "1}"), COMPLETED]).chunks()
    with (
        client(chunks) as sdk,
        sdk.chat.completions.stream(model="m", messages=[{"role": "user", "content": "?"}]) as stream,
    ):
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"content.delta", "content.done", "tool_calls.function.arguments.done"} <= kinds
    assert final.choices[0].message.content == "Four."
    assert final.choices[0].message.tool_calls is not None
    assert final.choices[0].message.tool_calls[0].function.arguments == '{"a":1}'


def test_the_sdk_raises_the_error_that_ends_a_stream() -> None:
    chunks = Scene.of([*message(0, "Fo")[:2], ENDS_BADLY[1]]).chunks()
    with client(chunks) as sdk:
        stream = sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}], stream=True)
        with pytest.raises(openai.APIError, match=r"The engine died\. Ask again\.") as caught:
            list(stream)
    assert caught.value.code == "engine_error"
