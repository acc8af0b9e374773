"""What every stream of a response must be: OpenAI's SDK reads it, and its parts agree with one another."""

from typing import Any, cast, get_args

from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

WireEvent = dict[str, Any]

EVENT_TYPES: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(ResponseStreamEvent)[0])
}
TERMINAL = ("response.completed", "response.incomplete", "response.failed", "error")
ALWAYS = (
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "tools",
    "tool_choice",
    "truncation",
    "store",
    "background",
    "service_tier",
    "metadata",
    "parallel_tool_calls",
    "output",
    "created_at",
    "model",
    "id",
    "object",
    "status",
)
NULLABLE = (
    "completed_at",
    "error",
    "incomplete_details",
    "instructions",
    "previous_response_id",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "safety_identifier",
    "prompt_cache_key",
)


def check_stream(events: list[WireEvent]) -> WireEvent:
    """The terminal event of a stream that is as it should be."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert [event["type"] in TERMINAL for event in events] == [False] * (len(events) - 1) + [True]
    _check_sdk(events)
    output = _check_items(events)
    for event in events:
        if "response" in event:
            check_document(event["response"])
    terminal = events[-1]
    if terminal["type"] != "error":
        assert terminal["type"] == f"response.{terminal['response']['status']}"
        assert terminal["response"]["output"] == output
    return terminal


def check_document(document: dict[str, Any]) -> None:
    """A response has the fields that strict clients look for, and fits the SDK's model."""
    Response.model_validate(document)
    assert all(document[name] is not None for name in ALWAYS)
    assert all(name in document for name in NULLABLE)
    assert document["text"]["format"] is not None
    assert {"effort", "summary"} <= document["reasoning"].keys()
    assert (document["error"] is not None) == (document["status"] == "failed")
    assert (document["incomplete_details"] is not None) == (document["status"] == "incomplete")
    assert (document["completed_at"] is not None) == (document["status"] == "completed")


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """A response without what differs between two of them: ids, times, and how thinking was encrypted."""
    moving = {"id": None, "call_id": None}
    output = [item | moving | {"encrypted_content": "encrypted_content" in item} for item in document["output"]]
    return document | {"id": "", "created_at": 0, "completed_at": 0, "output": output}


def _check_sdk(events: list[WireEvent]) -> None:
    """The SDK's models take each event, and its helper takes all of them."""
    state = ResponseStreamState[None](input_tools=[], text_format=omit)
    for event in events:
        parsed = EVENT_TYPES[event["type"]].model_validate(event)
        if event["type"] != "error":
            state.handle_event(cast(Any, parsed))
    if events[-1]["type"] == "response.completed":
        assert state._completed_response is not None
        assert state._completed_response.to_dict()["output"]


def _check_items(events: list[WireEvent]) -> list[dict[str, Any]]:
    """Items come one after another, each announced, extended and ended; the finished ones in order."""
    done: list[dict[str, Any]] = []
    begun: dict[str, Any] | None = None
    between: list[WireEvent] = []
    for event in events:
        match event["type"]:
            case "response.output_item.added":
                assert begun is None
                assert event["output_index"] == len(done)
                begun, between = event["item"], []
            case "response.output_item.done":
                assert begun is not None
                assert event["output_index"] == len(done)
                _check_item(begun, between, event["item"])
                done.append(event["item"])
                begun = None
            case _ if "item_id" in event:
                assert begun is not None
                assert (event["item_id"], event["output_index"]) == (begun["id"], len(done))
                between.append(event)
            case _:
                pass
    assert begun is None or events[-1]["type"] == "error"
    return done


def _check_item(begun: dict[str, Any], events: list[WireEvent], item: dict[str, Any]) -> None:
    assert begun["status"] == "in_progress"
    assert item["status"] in ("completed", "incomplete")
    for name in ("id", "type", "role", "call_id", "name"):
        assert begun.get(name) == item.get(name)
    match item["type"]:
        case "reasoning":
            assert begun["summary"] == []
            _check_summary(events, item["summary"])
        case "message":
            assert begun["content"] == []
            _check_text(events, item["content"])
        case kind:
            field = {"function_call": "arguments", "custom_tool_call": "input"}[kind]
            assert begun[field] == ""
            _check_deltas(events, f"{kind}_{field}", field, item[field])


def _check_deltas(events: list[WireEvent], kind: str, field: str, whole: str) -> None:
    *deltas, done = events
    assert {event["type"] for event in deltas} <= {f"response.{kind}.delta"}
    assert all(event["delta"] for event in deltas), "no delta is empty"
    assert done["type"] == f"response.{kind}.done"
    assert done[field] == "".join(event["delta"] for event in deltas) == whole


def _check_text(events: list[WireEvent], content: list[dict[str, Any]]) -> None:
    (part,) = content
    added, *text, done = events
    assert added["type"] == "response.content_part.added"
    assert added["part"] == {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    assert (done["type"], done["part"]) == ("response.content_part.done", part)
    assert all(event["content_index"] == 0 for event in events)
    _check_deltas(text, "output_text", "text", part["text"])
    assert [entry for event in text[:-1] for entry in event["logprobs"]] == part["logprobs"] == text[-1]["logprobs"]


def _check_summary(events: list[WireEvent], summary: list[dict[str, Any]]) -> None:
    for index, part in enumerate(summary):
        mine = [event for event in events if event["summary_index"] == index]
        added, *text, done = mine
        assert (added["type"], added["part"]) == (
            "response.reasoning_summary_part.added",
            {"type": "summary_text", "text": ""},
        )
        assert (done["type"], done["part"]) == ("response.reasoning_summary_part.done", part)
        assert done.get("status", "incomplete") == "incomplete"
        _check_deltas(text, "reasoning_summary_text", "text", part["text"])
    assert {event["summary_index"] for event in events} == set(range(len(summary)))
