"""The answers of the Responses API as JSON Schemas."""

from forethought.api.schemas import (
    ANY_OBJECT,
    BOOLEAN,
    COUNT,
    INTEGER,
    NUMBER,
    STRING,
    Schema,
    array,
    closed,
    const,
    nullable,
    one_of,
    ref,
)

STATUS = one_of("in_progress", "completed", "incomplete")

SUMMARY_TEXT = closed("A part of a summary.", type=const("summary_text"), text=STRING)

ITEMS: dict[str, Schema] = {
    "ReasoningItem": closed(
        "What the model thought: a summary, if one was asked for, and on request the whole, encrypted.",
        optional=("encrypted_content",),
        id=STRING,
        type=const("reasoning"),
        summary=array(SUMMARY_TEXT),
        encrypted_content=STRING,
        status=STATUS,
    ),
    "MessageItem": closed(
        "The answer.",
        id=STRING,
        type=const("message"),
        status=STATUS,
        role=const("assistant"),
        content=array(ref("OutputText")),
    ),
    "OutputText": closed(
        "Text of the answer.",
        type=const("output_text"),
        text=STRING,
        annotations=array(ANY_OBJECT),
        logprobs=array(ref("TokenLogprob")),
    ),
    "FunctionCallItem": closed(
        "A call of a function.",
        id=STRING,
        type=const("function_call"),
        status=STATUS,
        call_id=STRING,
        name=STRING,
        arguments=STRING,
    ),
    "CustomToolCallItem": closed(
        "A call of a custom tool.",
        id=STRING,
        type=const("custom_tool_call"),
        status=STATUS,
        call_id=STRING,
        name=STRING,
        input=STRING,
    ),
}

OUTPUT_ITEM: Schema = {"anyOf": [ref(name) for name in ITEMS if name != "OutputText"]}

USAGE = closed(
    "Tokens; thinking counts as output.",
    input_tokens=COUNT,
    input_tokens_details=closed("Of which:", cached_tokens=COUNT, cache_write_tokens=COUNT),
    output_tokens=COUNT,
    output_tokens_details=closed("Of which:", reasoning_tokens=COUNT),
    total_tokens=COUNT,
)

RESPONSE = closed(
    "A response. Parameters that were left out are there with the values that acted.",
    id=STRING,
    object=const("response"),
    created_at=INTEGER,
    status=one_of("completed", "incomplete", "failed", "in_progress"),
    completed_at=nullable(INTEGER),
    error=nullable(closed("Why it failed.", code=STRING, message=STRING)),
    incomplete_details=nullable(closed("Why it is incomplete.", reason=one_of("max_output_tokens", "content_filter"))),
    output=array(OUTPUT_ITEM),
    usage=nullable(ref("ResponseUsage")),
    model=STRING,
    reasoning=closed("How it thought.", effort=nullable(STRING), summary=nullable(STRING)),
    temperature=NUMBER,
    top_p=NUMBER,
    presence_penalty=NUMBER,
    frequency_penalty=NUMBER,
    background=const(False),
    instructions=nullable(STRING),
    max_output_tokens=nullable(INTEGER),
    max_tool_calls={"type": "null"},
    metadata=ANY_OBJECT,
    parallel_tool_calls=BOOLEAN,
    previous_response_id={"type": "null"},
    prompt_cache_key=nullable(STRING),
    prompt_cache_retention=nullable(const("in_memory")),
    safety_identifier=nullable(STRING),
    service_tier=const("default"),
    store=const(False),
    text=closed("The format of the answer.", format=ANY_OBJECT, verbosity=const("medium")),
    tool_choice={"anyOf": [STRING, ANY_OBJECT]},
    tools=array(ANY_OBJECT),
    top_logprobs=COUNT,
    truncation=one_of("auto", "disabled"),
    user=nullable(STRING),
)

INPUT_TOKENS = closed(
    "How many tokens a request would have as input.", object=const("response.input_tokens"), input_tokens=COUNT
)

RESPONSES: dict[str, Schema] = {**ITEMS, "ResponseUsage": USAGE, "Response": RESPONSE, "InputTokens": INPUT_TOKENS}
