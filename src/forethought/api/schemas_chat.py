"""The answers of the Chat Completions API as JSON Schemas."""

from forethought.api.schemas import COUNT, INTEGER, STRING, Schema, array, closed, const, nullable, one_of, ref

TOOL_CALL: Schema = {
    "anyOf": [
        closed(
            "A call of a function.",
            id=STRING,
            type=const("function"),
            function=closed("Which, and with what.", name=STRING, arguments=STRING),
        ),
        closed(
            "A call of a custom tool.",
            id=STRING,
            type=const("custom"),
            custom=closed("Which, and with what.", name=STRING, input=STRING),
        ),
    ]
}

MESSAGE = closed(
    "The answer. Thinking has no place in it.",
    optional=("tool_calls",),
    role=const("assistant"),
    content=nullable(STRING),
    refusal={"type": "null"},
    annotations={"type": "array", "maxItems": 0},
    tool_calls=array(ref("ChatToolCall")),
)

LOGPROBS = nullable(closed("Of its tokens.", content=array(ref("TokenLogprob")), refusal={"type": "null"}))

CHOICE = closed(
    "One answer.",
    index=COUNT,
    message=ref("ChatMessage"),
    logprobs=LOGPROBS,
    finish_reason=one_of("stop", "length", "tool_calls"),
)

USAGE = closed(
    "Tokens; thinking counts as completion.",
    prompt_tokens=COUNT,
    completion_tokens=COUNT,
    total_tokens=COUNT,
    prompt_tokens_details=closed("Of which:", cached_tokens=COUNT, cache_write_tokens=COUNT, audio_tokens=const(0)),
    completion_tokens_details=closed(
        "Of which:",
        reasoning_tokens=COUNT,
        audio_tokens=const(0),
        accepted_prediction_tokens=const(0),
        rejected_prediction_tokens=const(0),
    ),
)

COMPLETION = closed(
    "A completion.",
    id=STRING,
    object=const("chat.completion"),
    created=INTEGER,
    model=STRING,
    service_tier=const("default"),
    system_fingerprint=STRING,
    choices=array(CHOICE),
    usage=ref("CompletionUsage"),
)

CHAT: dict[str, Schema] = {
    "ChatToolCall": TOOL_CALL,
    "ChatMessage": MESSAGE,
    "CompletionUsage": USAGE,
    "ChatCompletion": COMPLETION,
}
