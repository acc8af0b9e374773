"""The events of streams as JSON Schemas."""

from forethought.api.schemas import COUNT, INTEGER, STRING, Schema, array, closed, const, nullable, one_of, ref
from forethought.api.schemas_chat import LOGPROBS
from forethought.api.schemas_responses import OUTPUT_ITEM, SUMMARY_TEXT

PLACE: dict[str, Schema] = {"item_id": STRING, "output_index": COUNT}
TEXT_PLACE = PLACE | {"content_index": COUNT}
SUMMARY_PLACE = PLACE | {"summary_index": COUNT}
LIKELIHOODS = {"logprobs": array(ref("TokenLogprob"))}


def _event(kind: str, description: str, optional: tuple[str, ...] = (), /, **fields: Schema) -> Schema:
    return closed(description, optional, type=const(kind), **fields, sequence_number=COUNT)


def _delta(kind: str, description: str, /, **fields: Schema) -> Schema:
    """`obfuscation` is there if it was asked for."""
    return _event(f"{kind}.delta", description, ("obfuscation",), **fields, delta=STRING, obfuscation=STRING)


RESPONSE_EVENTS: list[Schema] = [
    *(
        _event(f"response.{status}", "The response as it stands.", response=ref("Response"))
        for status in ("created", "in_progress", "completed", "incomplete", "failed")
    ),
    *(
        _event(f"response.output_item.{moment}", "An item, begun or done.", output_index=COUNT, item=OUTPUT_ITEM)
        for moment in ("added", "done")
    ),
    *(
        _event(f"response.content_part.{moment}", "The text, begun or done.", **TEXT_PLACE, part=ref("OutputText"))
        for moment in ("added", "done")
    ),
    _delta("response.output_text", "More of the text.", **TEXT_PLACE, **LIKELIHOODS),
    _event("response.output_text.done", "The whole text.", **TEXT_PLACE, text=STRING, **LIKELIHOODS),
    _event("response.reasoning_summary_part.added", "A part of a summary.", **SUMMARY_PLACE, part=SUMMARY_TEXT),
    _event(
        "response.reasoning_summary_part.done",
        "The part, with a status if it was cut off.",
        ("status",),
        **SUMMARY_PLACE,
        part=SUMMARY_TEXT,
        status=const("incomplete"),
    ),
    _delta("response.reasoning_summary_text", "More of the part.", **SUMMARY_PLACE),
    _event("response.reasoning_summary_text.done", "The whole part.", **SUMMARY_PLACE, text=STRING),
    _delta("response.function_call_arguments", "More of what a function is given.", **PLACE),
    _event("response.function_call_arguments.done", "All of it.", **PLACE, name=STRING, arguments=STRING),
    _delta("response.custom_tool_call_input", "More of what a custom tool is given.", **PLACE),
    _event("response.custom_tool_call_input.done", "All of it.", **PLACE, input=STRING),
    _event(
        "error",
        "The server failed; nothing follows.",
        code=STRING,
        message=STRING,
        param={"type": "null"},
        error=closed("The same again.", message=STRING, type=STRING, param={"type": "null"}, code=STRING),
    ),
]

CALL_DELTA: Schema = {
    "anyOf": [
        closed(
            "More of a call; its id, type and name come first.",
            ("id", "type"),
            index=COUNT,
            id=STRING,
            type=const(kind),
            **{kind: closed("Which, and with what.", ("name",), name=STRING, **{given: STRING})},
        )
        for kind, given in (("function", "arguments"), ("custom", "input"))
    ]
}

CHUNK = closed(
    "A piece of a completion; `obfuscation` is there if it was asked for.",
    ("usage", "obfuscation"),
    id=STRING,
    object=const("chat.completion.chunk"),
    created=INTEGER,
    model=STRING,
    service_tier=const("default"),
    system_fingerprint=STRING,
    choices=array(
        closed(
            "A piece of one answer.",
            index=COUNT,
            delta=closed(
                "What is new.",
                ("role", "content", "refusal", "tool_calls"),
                role=const("assistant"),
                content=nullable(STRING),
                refusal={"type": "null"},
                tool_calls=array(CALL_DELTA),
            ),
            logprobs=LOGPROBS,
            finish_reason=nullable(one_of("stop", "length", "tool_calls")),
        )
    ),
    usage=nullable(ref("CompletionUsage")),
    obfuscation=STRING,
)


def _sent(description: str, data: Schema) -> Schema:
    """How an event is sent: its JSON as text, or the end of all events."""
    content = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    return {
        "description": description,
        "type": "object",
        "properties": {"event": STRING, "data": {"anyOf": [const("[DONE]"), content]}},
        "required": ["data"],
    }


EVENTS: dict[str, Schema] = {
    "ResponseStreamEvent": {"anyOf": RESPONSE_EVENTS},
    "ChatCompletionChunk": CHUNK,
    "ResponseStream": _sent("Named by its type. The last one is `[DONE]`.", ref("ResponseStreamEvent")),
    "ChatCompletionStream": _sent(
        "A chunk, or the error that ended the stream. The last one is `[DONE]`.",
        {"anyOf": [ref("ChatCompletionChunk"), ref("Error")]},
    ),
}
