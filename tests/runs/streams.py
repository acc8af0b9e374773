"""The first verdict: a stream ends in one terminal event, is what who waits gets, and passes OpenAI's SDK; what is
abandoned leaves nothing in flight."""

import json
from typing import Any

import openai
import pytest

from chat_oracle import beyond_the_sdk, check_chunks, check_completion, without_ids
from responses_oracle import check_document, check_stream, comparable
from runs.house import Houses, RunHouse
from runs.run import Run
from runs.sdk import Sdk
from runs.sse import read_events
from server_house import RawAnswer

USAGE = "include_usage"


def check_streams(houses: Houses, sdk: Sdk, run: Run) -> str:
    """Runs it, streamed and not, and says how it ended."""
    with houses.of(run) as (house, twins):
        return _check(house, twins, sdk, run)


def _check(house: RunHouse, twins: RunHouse, sdk: Sdk, run: Run) -> str:
    if run.leave is not None:
        house.abandon(run, run.leave)
        return "client left"
    streamed, waited = house.ask(run, streamed=True), twins.ask(run, streamed=False)
    assert run.kind != "refused" or streamed.status != 200
    if streamed.status != 200:
        assert (streamed.status, streamed.error) == (waited.status, waited.error)
        assert ("retry-after" in streamed.headers) == (streamed.status in (429, 503))
        return f"refused with {streamed.status}"
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.headers["x-request-id"] != waited.headers["x-request-id"]
    check = _check_response if run.api == "responses" else _check_completion
    return check(sdk, run, streamed, waited)


def _check_response(sdk: Sdk, run: Run, streamed: RawAnswer, waited: RawAnswer) -> str:
    events = read_events(streamed.body, named=True)
    terminal = check_stream(events)
    _check_response_in_sdk(sdk, streamed.body, events)
    if waited.status != 200:
        failed = terminal if terminal["type"] == "error" else terminal["response"]["error"]
        assert failed["message"] == waited.error["message"]
        return terminal["type"]
    document = json.loads(waited.body)
    check_document(document)
    assert comparable(document) == comparable(terminal["response"])
    if _whole(run):
        assert document["status"] == "completed"
        _check_truth(run, document["output"])
    return terminal["type"]


def _check_completion(sdk: Sdk, run: Run, streamed: RawAnswer, waited: RawAnswer) -> str:
    chunks = read_events(streamed.body, named=False)
    assert all("error" not in chunk for chunk in chunks[:-1])
    if "error" in chunks[-1]:
        _check_error_in_sdk(sdk, streamed.body, chunks[-1])
        assert chunks[-1]["error"] == waited.error
        return "error object"
    completion = check_completion(json.loads(waited.body))
    counted = USAGE in (run.stream_options or {})
    added_up = check_chunks(chunks, len(run.outputs), usage=counted)
    if not counted:
        completion["usage"] = None
    assert without_ids(added_up) == without_ids(completion)
    _check_completion_in_sdk(sdk, streamed.body, chunks, added_up)
    if _whole(run):
        for output, choice in zip(run.outputs, completion["choices"], strict=True):
            message = choice["message"]
            assert (message["content"] or "") == output.text
            assert [_given(call[call["type"]]) for call in message["tool_calls"]] == output.calls
    return "finish_reason " + ", ".join(sorted({choice["finish_reason"] for choice in completion["choices"]}))


def _whole(run: Run) -> bool:
    """Whether all that the model writes is to come out."""
    return run.kind == "whole" and "stop" not in run.body


def _check_truth(run: Run, items: list[dict[str, Any]]) -> None:
    """The items say what the model wrote."""
    [output] = run.outputs
    texts = [part["text"] for item in items if item["type"] == "message" for part in item["content"]]
    assert "".join(texts) == output.text
    assert [_given(item) for item in items if "call_id" in item] == output.calls


def _given(call: dict[str, Any]) -> tuple[str, str]:
    return call["name"], call["input"] if "input" in call else call["arguments"]


def _check_response_in_sdk(sdk: Sdk, raw: bytes, events: list[dict[str, Any]]) -> None:
    """`responses.stream` gives the same events, and the response that was completed."""
    match events[-1]["type"]:
        case "response.completed":
            types, response = sdk.response(raw)
            assert types == [event["type"] for event in events]
            assert response.id == events[-1]["response"]["id"]
        case "error":
            _check_error_in_sdk(sdk, raw, events[-1])
        case _:
            with pytest.raises(RuntimeError, match=r"response\.completed"):
                sdk.response(raw)


def _check_completion_in_sdk(sdk: Sdk, raw: bytes, chunks: list[dict[str, Any]], completion: dict[str, Any]) -> None:
    """`chat.completions.stream` gives the same chunks, and the completion."""
    if beyond_the_sdk(completion):
        return
    count, read = sdk.completion(raw)
    assert (count, read.id) == (len(chunks), chunks[0]["id"])


def _check_error_in_sdk(sdk: Sdk, raw: bytes, last: dict[str, Any]) -> None:
    """The SDK raises what the stream ends in."""
    with pytest.raises(openai.APIError) as raised:
        (sdk.response if "type" in last else sdk.completion)(raw)
    assert raised.value.message == last["error"]["message"]
