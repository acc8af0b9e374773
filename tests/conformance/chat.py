"""How the parameters of `POST /v1/chat/completions` are tried."""

from collections.abc import Mapping
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParams as Params

from conformance.probe import BINDS, ONLY, PAIRS, READ, Body, Here, Probe, both, differs, engine, in_prompt, inert
from conformance.survey import Endpoint

LOOK, WRITE = {"name": "look"}, {"name": "write"}
FUNCTION, CUSTOM = {"type": "function", "function": LOOK}, {"type": "custom", "custom": WRITE}
SEE = {"type": "function", "function": {"name": "see"}}
SING = {"type": "custom", "custom": {"name": "sing"}}
TOOLS = {"tools": [FUNCTION, CUSTOM]}
HI = {"role": "user", "content": "Hi"}
TEXT = {"type": "text", "text": "Ahoy"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CUSTOM_CALL = {"id": "call_1", "type": "custom", "custom": {"name": "write", "input": "a poem"}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "four"}
SUM = {"name": "sum", "description": "Added up.", "schema": {"type": "integer"}}
LARK = {"syntax": "lark", "definition": 'start: "a"'}


def _messages(*messages: Any) -> Body:
    return {"messages": [HI, *messages]}


def _with(name: str, value: Any) -> Body:
    return {"messages": [HI], name: value}


def _custom(custom: Any) -> Body:
    return _with("tools", [{"type": "custom", "custom": custom}])


def _choice(choice: Any) -> Body:
    return {"messages": [HI], **TOOLS, "tool_choice": choice}


BASES: Mapping[str, Body] = {
    "": _messages(),
    "messages[assistant]": _messages(Here(role="assistant", content="Hello")),
    "messages[assistant].content[refusal]": _messages(
        {"role": "assistant", "content": [Here(type="refusal", refusal="Sorry")]}
    ),
    "messages[assistant].tool_calls[custom]": _messages(
        {"role": "assistant", "tool_calls": [Here(CUSTOM_CALL)]}, RESULT
    ),
    "messages[assistant].tool_calls[custom].custom": _messages(
        {"role": "assistant", "tool_calls": [{**CUSTOM_CALL, "custom": Here(CUSTOM_CALL["custom"])}]}, RESULT
    ),
    "messages[assistant].tool_calls[function]": _messages({"role": "assistant", "tool_calls": [Here(CALL)]}, RESULT),
    "messages[assistant].tool_calls[function].function": _messages(
        {"role": "assistant", "tool_calls": [{**CALL, "function": Here(CALL["function"])}]}, RESULT
    ),
    **{f"messages[{role}]": _messages(Here(role=role, content="Hello")) for role in ("developer", "system", "user")},
    **{
        f"messages[{role}].content[text]": _messages({"role": role, "content": [Here(TEXT)]})
        for role in ("assistant", "developer", "system", "user")
    },
    "messages[tool]": _messages(CALLED, Here(RESULT)),
    "messages[tool].content[text]": _messages(CALLED, {**RESULT, "content": [Here(TEXT)]}),
    "response_format(json_object)": _with("response_format", Here(type="json_object")),
    "response_format(json_schema)": _with("response_format", Here(type="json_schema", json_schema=SUM)),
    "response_format(json_schema).json_schema": _with(
        "response_format", {"type": "json_schema", "json_schema": Here(SUM)}
    ),
    "response_format(text)": _with("response_format", Here(type="text")),
    "stream_options": {**_messages(), "stream": True, "stream_options": Here()},
    "tool_choice(allowed_tools)": _choice(
        Here(type="allowed_tools", allowed_tools={"mode": "auto", "tools": [FUNCTION]})
    ),
    "tool_choice(allowed_tools).allowed_tools": _choice(
        {"type": "allowed_tools", "allowed_tools": Here(mode="auto", tools=[FUNCTION])}
    ),
    "tool_choice(custom)": _choice(Here(CUSTOM)),
    "tool_choice(custom).custom": _choice({**CUSTOM, "custom": Here(WRITE)}),
    "tool_choice(function)": _choice(Here(FUNCTION)),
    "tool_choice(function).function": _choice({**FUNCTION, "function": Here(LOOK)}),
    "tools[custom]": _with("tools", [Here(CUSTOM)]),
    "tools[custom].custom": _custom(Here(WRITE)),
    "tools[custom].custom.format(grammar)": _custom({**WRITE, "format": Here(type="grammar", grammar=LARK)}),
    "tools[custom].custom.format(grammar).grammar": _custom(
        {**WRITE, "format": {"type": "grammar", "grammar": Here(LARK)}}
    ),
    "tools[custom].custom.format(text)": _custom({**WRITE, "format": Here(type="text")}),
    "tools[function]": _with("tools", [Here(FUNCTION)]),
    "tools[function].function": _with("tools", [{**FUNCTION, "function": Here(LOOK)}]),
}

LIMIT = Probe(engine("bounds the output", lambda request: request.limits.max_tokens), values=(7,))
SAYS = in_prompt("Hello")
PART = in_prompt("Ahoy")
UNHEARD = "a completion has no place for it, and nothing depends on it"


def _sampling(name: str) -> Probe:
    return Probe(engine("sampling", lambda request: getattr(request.sampling, name)), values=(0.5,))


PROBES: Mapping[str, Probe] = {
    "frequency_penalty": _sampling("frequency_penalty"),
    "logprobs": Probe(differs("log-probabilities", lambda run: run.document["choices"][0]["logprobs"])),
    "max_completion_tokens": LIMIT,
    "max_tokens": LIMIT,
    "messages[assistant]": Probe(SAYS),
    "messages[assistant].content": Probe(READ),
    "messages[assistant].content[refusal]": Probe(in_prompt("Sorry")),
    "messages[assistant].content[refusal].refusal": Probe(READ),
    "messages[assistant].content[text]": Probe(PART),
    "messages[assistant].content[text].text": Probe(READ),
    "messages[assistant].name": Probe(READ),
    "messages[assistant].refusal": Probe(READ),
    "messages[assistant].tool_calls[custom]": Probe(in_prompt("write", "a poem", "four")),
    "messages[assistant].tool_calls[custom].custom.input": Probe(READ),
    "messages[assistant].tool_calls[custom].custom.name": Probe(READ),
    "messages[assistant].tool_calls[custom].id": Probe(PAIRS),
    "messages[assistant].tool_calls[function]": Probe(in_prompt("look", "{}", "four")),
    "messages[assistant].tool_calls[function].function.arguments": Probe(READ, values=('{"depth":1}',)),
    "messages[assistant].tool_calls[function].function.name": Probe(READ),
    "messages[assistant].tool_calls[function].id": Probe(PAIRS),
    **{f"messages[{role}]": Probe(SAYS) for role in ("developer", "system", "user")},
    **{f"messages[{role}].content": Probe(READ) for role in ("developer", "system", "user", "tool")},
    **{f"messages[{role}].content[text]": Probe(PART) for role in ("developer", "system", "user", "tool")},
    **{f"messages[{role}].content[text].text": Probe(READ) for role in ("developer", "system", "user", "tool")},
    **{f"messages[{role}].name": Probe(READ) for role in ("developer", "system", "user")},
    "messages[tool]": Probe(in_prompt("look", "four")),
    "messages[tool].tool_call_id": Probe(PAIRS),
    "metadata": Probe(values=({"of": "mine"},)),
    "modalities": inert(ONLY),
    "model": Probe(differs("chooses the model", lambda run: run.document["model"]), values=("forethought-other",)),
    "n": Probe(differs("as many choices", lambda run: len(run.document["choices"])), values=(2,)),
    "parallel_tool_calls": Probe(BINDS, given=TOOLS),
    "presence_penalty": _sampling("presence_penalty"),
    "prompt_cache_key": inert(UNHEARD),
    "prompt_cache_retention": inert(UNHEARD),
    "reasoning_effort": Probe(differs("the budget of the thinking", lambda run: run.request.limits.thinking)),
    "response_format": Probe(BINDS),
    "response_format(json_schema).json_schema.description": Probe(READ),
    "response_format(json_schema).json_schema.name": Probe(READ),
    "response_format(json_schema).json_schema.schema": Probe(BINDS, values=({"type": "string"},)),
    "response_format(json_schema).json_schema.strict": inert("a schema binds in any case"),
    "safety_identifier": inert(UNHEARD),
    "seed": Probe(engine("seeds the sampling", lambda request: request.sampling.seed), values=(7,)),
    "service_tier": inert("there is one tier"),
    "stop": Probe(
        differs("ends the answer", lambda run: run.document["choices"][0]["message"]["content"]),
        values=(", said", [", said"]),
    ),
    "store": inert(ONLY),
    "stream": Probe(differs("events", lambda run: run.streamed)),
    "stream_options.include_obfuscation": Probe(
        differs("pads deltas", lambda run: any("obfuscation" in event for event in run.answer.events))
    ),
    "stream_options.include_usage": Probe(
        differs("a last chunk", lambda run: [event.get("usage") for event in run.answer.events][-1])
    ),
    "temperature": _sampling("temperature"),
    "tool_choice": Probe(BINDS, given=TOOLS),
    "tool_choice(allowed_tools).allowed_tools.mode": Probe(BINDS),
    "tool_choice(allowed_tools).allowed_tools.tools": Probe(BINDS, values=([CUSTOM],)),
    "tool_choice(custom).custom.name": Probe(BINDS, values=("sing",), given={"tools": [CUSTOM, SING]}),
    "tool_choice(function).function.name": Probe(BINDS, values=("see",), given={"tools": [FUNCTION, SEE]}),
    "tools[custom]": Probe(both(in_prompt("write"), BINDS)),
    "tools[custom].custom.description": Probe(READ),
    "tools[custom].custom.format": Probe(BINDS),
    "tools[custom].custom.format(grammar).grammar.definition": Probe(BINDS, values=('start: "b"',)),
    "tools[custom].custom.format(grammar).grammar.syntax": Probe(BINDS),
    "tools[custom].custom.name": Probe(both(READ, BINDS)),
    "tools[function]": Probe(both(in_prompt("look"), BINDS)),
    "tools[function].function.description": Probe(READ),
    "tools[function].function.name": Probe(both(READ, BINDS)),
    "tools[function].function.parameters": Probe(READ, values=({"type": "object", "properties": {"depth": {}}},)),
    "tools[function].function.strict": Probe(BINDS),
    "top_logprobs": Probe(
        engine("alternatives to each token", lambda request: request.logprobs), values=(2,), given={"logprobs": True}
    ),
    "top_p": _sampling("top_p"),
    "user": inert(UNHEARD),
    "verbosity": inert(ONLY),
}

ENDPOINT = Endpoint("/v1/chat/completions", Params, BASES, PROBES)
