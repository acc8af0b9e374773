"""How the parameters of `POST /v1/responses` are tried."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from openai.types.responses.input_token_count_params import InputTokenCountParams as CountParams
from openai.types.responses.response_create_params import ResponseCreateParams as Params

from conformance.house import Run, Sealed
from conformance.probe import (
    BINDS,
    ONLY,
    PAIRS,
    READ,
    Body,
    Check,
    Here,
    Probe,
    both,
    differs,
    echoed,
    engine,
    in_prompt,
    inert,
)
from conformance.survey import Endpoint

LOOK, WRITE = {"type": "function", "name": "look"}, {"type": "custom", "name": "write"}
TOOLS = {"tools": [LOOK, WRITE]}
HELLO = {"role": "user", "content": "Hello"}
TEXT = {"type": "input_text", "text": "Hello"}
AHOY = {"type": "input_text", "text": "Ahoy"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "four"}
CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "call_1", "name": "write", "input": "a poem"}
CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "four"}
SAID = {"type": "output_text", "text": "Hello", "annotations": []}
ANSWERED = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
THINKING = {"type": "reasoning", "id": "rs_1", "summary": []}
ALMOST_ALL_CONTEXT = [{"role": "user", "content": "x" * 1250} for _ in range(6)]
SHOWN = {"type": "json_schema", "name": "sum", "description": "Added up.", "schema": {}}


def _input(*items: Any) -> Body:
    return {"input": list(items)}


def _format(**fields: Any) -> Body:
    return {"input": "Hi", "text": {"format": Here(fields)}}


def _choice(**fields: Any) -> Body:
    return {"input": "Hi", **TOOLS, "tool_choice": Here(fields)}


def _tool(**fields: Any) -> Body:
    return {"input": "Hi", "tools": [Here(fields)]}


BASES: Mapping[str, Body] = {
    "": {"input": "Hi"},
    "reasoning": {"input": "Hi", "reasoning": Here()},
    "text": {"input": "Hi", "text": Here()},
    "text.format(text)": _format(type="text"),
    "text.format(json_schema)": _format(type="json_schema", name="sum", schema={"type": "integer"}),
    "text.format(json_object)": _format(type="json_object"),
    "stream_options": {"input": "Hi", "stream": True, "stream_options": Here()},
    "tools[function]": _tool(**LOOK),
    "tools[custom]": _tool(**WRITE),
    "tools[custom].format(text)": {"input": "Hi", "tools": [{**WRITE, "format": Here(type="text")}]},
    "tools[custom].format(grammar)": {
        "input": "Hi",
        "tools": [{**WRITE, "format": Here(type="grammar", syntax="regex", definition='start: "a"')}],
    },
    "tool_choice(function)": _choice(type="function", name="look"),
    "tool_choice(custom)": _choice(type="custom", name="write"),
    "tool_choice(allowed_tools)": _choice(type="allowed_tools", mode="auto", tools=[LOOK]),
    "input[EasyInputMessage]": _input(Here(HELLO)),
    "input[EasyInputMessage].content[input_text]": _input({"role": "user", "content": [Here(AHOY)]}),
    "input[Message]": _input(Here(type="message", role="user", content=[TEXT])),
    "input[Message].content[input_text]": _input({"type": "message", "role": "user", "content": [Here(AHOY)]}),
    "input[ResponseOutputMessage]": _input(Here({**ANSWERED, "content": [SAID]})),
    "input[ResponseOutputMessage].content[output_text]": _input(
        {**ANSWERED, "content": [Here({**SAID, "text": "Ahoy"})]}
    ),
    "input[ResponseOutputMessage].content[refusal]": _input(
        {**ANSWERED, "content": [Here(type="refusal", refusal="Sorry")]}
    ),
    "input[reasoning]": _input(HELLO, Here(THINKING), CALL, OUTPUT),
    "input[function_call]": _input(HELLO, Here(CALL), OUTPUT),
    "input[function_call_output]": _input(HELLO, CALL, Here(OUTPUT)),
    "input[function_call_output].output[input_text]": _input(HELLO, CALL, {**OUTPUT, "output": [Here(AHOY)]}),
    "input[custom_tool_call]": _input(HELLO, Here(CUSTOM_CALL), CUSTOM_OUTPUT),
    "input[custom_tool_call_output]": _input(HELLO, CUSTOM_CALL, Here(CUSTOM_OUTPUT)),
    "input[custom_tool_call_output].output[input_text]": _input(
        HELLO, CUSTOM_CALL, {**CUSTOM_OUTPUT, "output": [Here(AHOY)]}
    ),
}


def _reasoning_item(run: Run) -> Any:
    return run.document["output"][0]


def _included(with_: Run, without: Run, value: Any) -> bool:
    thought, answer = with_.document["output"]
    return "encrypted_content" in thought or bool(answer["content"][0]["logprobs"])


def _effort(with_: Run, without: Run, value: Any) -> bool:
    effective = {"none": "low", "minimal": "low", "xhigh": "high", "max": "high"}.get(value, value)
    budgets = [run.request.limits.thinking for run in (with_, without)]
    return with_.document["reasoning"]["effort"] == effective and budgets[0] != budgets[1]


ROLE = differs("who speaks", lambda run: run.prompt)
NAMED = "no items are stored that it could name"
TOLD = "the model reads the text alone"
STATUS = "what an item holds counts, however it ended"

PROBES: Mapping[str, Probe] = {
    "background": inert(ONLY),
    "include": Probe(Check("in the output", _included)),
    "input": Probe(READ),
    "input[EasyInputMessage]": Probe(in_prompt("Hello")),
    "input[EasyInputMessage].content": Probe(READ),
    "input[EasyInputMessage].content[input_text]": Probe(in_prompt("Ahoy")),
    "input[EasyInputMessage].content[input_text].text": Probe(READ),
    "input[EasyInputMessage].phase": replace(inert(TOLD), given=_input(Here(role="assistant", content="Hello"))),
    "input[EasyInputMessage].role": Probe(ROLE),
    "input[Message]": Probe(in_prompt("Hello")),
    "input[Message].content": Probe(in_prompt("Ahoy")),
    "input[Message].content[input_text].text": Probe(READ),
    "input[Message].role": Probe(ROLE),
    "input[Message].status": inert(STATUS),
    "input[ResponseOutputMessage]": Probe(in_prompt("Hello")),
    "input[ResponseOutputMessage].content[output_text]": Probe(in_prompt("Ahoy")),
    "input[ResponseOutputMessage].content[output_text].annotations": inert(TOLD),
    "input[ResponseOutputMessage].content[output_text].logprobs": inert(TOLD),
    "input[ResponseOutputMessage].content[output_text].text": Probe(READ),
    "input[ResponseOutputMessage].content[refusal]": Probe(in_prompt("Sorry")),
    "input[ResponseOutputMessage].content[refusal].refusal": Probe(READ),
    "input[ResponseOutputMessage].id": inert(NAMED),
    "input[ResponseOutputMessage].phase": inert(TOLD),
    "input[ResponseOutputMessage].status": inert(STATUS),
    "input[custom_tool_call].async": inert(ONLY),
    "input[custom_tool_call]": Probe(in_prompt("write", "a poem", "four")),
    "input[custom_tool_call].call_id": Probe(PAIRS),
    "input[custom_tool_call].id": inert(NAMED),
    "input[custom_tool_call].input": Probe(READ),
    "input[custom_tool_call].name": Probe(READ, values=("sing",)),
    "input[custom_tool_call_output]": Probe(in_prompt("write", "a poem", "four")),
    "input[custom_tool_call_output].call_id": Probe(PAIRS),
    "input[custom_tool_call_output].id": inert(NAMED),
    "input[custom_tool_call_output].output": Probe(READ),
    "input[custom_tool_call_output].output[input_text]": Probe(in_prompt("Ahoy")),
    "input[custom_tool_call_output].output[input_text].text": Probe(READ),
    "input[function_call].async": inert(ONLY),
    "input[function_call]": Probe(in_prompt("look", "{}", "four")),
    "input[function_call].arguments": Probe(READ, values=('{"depth":1}',)),
    "input[function_call].call_id": Probe(PAIRS),
    "input[function_call].id": inert(NAMED),
    "input[function_call].name": Probe(READ, values=("see",)),
    "input[function_call].status": inert(STATUS),
    "input[function_call_output]": Probe(in_prompt("look", "{}", "four")),
    "input[function_call_output].call_id": Probe(PAIRS),
    "input[function_call_output].id": inert(NAMED),
    "input[function_call_output].name": inert("the call has it already", "look"),
    "input[function_call_output].output": Probe(READ),
    "input[function_call_output].output[input_text]": Probe(in_prompt("Ahoy")),
    "input[function_call_output].output[input_text].text": Probe(READ),
    "input[function_call_output].status": inert(STATUS),
    "input[reasoning]": Probe(in_prompt("look", "four")),
    "input[reasoning].encrypted_content": Probe(
        in_prompt("my very thought"), values=(Sealed("my very thought", "rs_1"),)
    ),
    "input[reasoning].id": inert("it binds encrypted content, and here is none"),
    "input[reasoning].status": inert(STATUS),
    "input[reasoning].summary": inert("the model does not read it"),
    "instructions": Probe(both(READ, echoed("instructions"))),
    "max_output_tokens": Probe(
        both(engine("bounds the output", lambda request: request.limits.max_tokens), echoed("max_output_tokens")),
        values=(7,),
    ),
    "metadata": Probe(echoed("metadata"), values=({"of": "mine"},)),
    "model": Probe(differs("chooses the model", lambda run: run.document["model"]), values=("forethought-other",)),
    "parallel_tool_calls": Probe(both(BINDS, echoed("parallel_tool_calls")), given=TOOLS),
    "prompt_cache_key": Probe(echoed("prompt_cache_key")),
    "prompt_cache_retention": Probe(echoed("prompt_cache_retention")),
    "reasoning.context": inert(ONLY),
    "reasoning.effort": Probe(Check("the budget of the thinking; echoed as it acts", _effort)),
    "reasoning.generate_summary": Probe(
        both(
            differs("summarises the thinking", lambda run: _reasoning_item(run)["summary"]),
            echoed("reasoning", "summary"),
        )
    ),
    "reasoning.mode": inert(ONLY, "standard", "pro"),
    "reasoning.summary": Probe(
        both(
            differs("summarises the thinking", lambda run: _reasoning_item(run)["summary"]),
            echoed("reasoning", "summary"),
        )
    ),
    "safety_identifier": Probe(echoed("safety_identifier")),
    "service_tier": inert("there is one tier"),
    "store": inert(ONLY),
    "stream": Probe(differs("events", lambda run: run.streamed)),
    "stream_options.include_obfuscation": Probe(
        differs("pads deltas", lambda run: any("obfuscation" in event for event in run.answer.events))
    ),
    "temperature": Probe(
        both(engine("sampling", lambda request: request.sampling.temperature), echoed("temperature")), values=(0.5,)
    ),
    "text.format": Probe(BINDS),
    "text.format(json_schema).description": Probe(both(READ, echoed("text", "format", "description"))),
    "text.format(json_schema).name": Probe(echoed("text", "format", "name")),
    "text.format(json_schema).schema": Probe(
        both(BINDS, echoed("text", "format", "schema")), values=({"type": "string"},)
    ),
    "text.format(json_schema).strict": Probe(echoed("text", "format", "strict")),
    "text.verbosity": inert(ONLY),
    "tool_choice": Probe(BINDS, given=TOOLS),
    "tool_choice(allowed_tools).mode": Probe(BINDS),
    "tool_choice(allowed_tools).tools": Probe(BINDS, values=([WRITE],)),
    "tool_choice(custom).name": Probe(BINDS, values=("sing",), given={"tools": [WRITE, {**WRITE, "name": "sing"}]}),
    "tool_choice(function).name": Probe(BINDS, values=("see",), given={"tools": [LOOK, {**LOOK, "name": "see"}]}),
    "tools[custom].async": inert(ONLY),
    "tools[custom].allowed_callers": inert(ONLY),
    "tools[custom].defer_loading": inert(ONLY),
    "tools[custom]": Probe(both(in_prompt("write"), BINDS)),
    "tools[function].async": inert(ONLY),
    "tools[function].allowed_callers": inert(ONLY),
    "tools[function].defer_loading": inert(ONLY),
    "tools[function]": Probe(both(in_prompt("look"), BINDS)),
    "tools[custom].description": Probe(READ),
    "tools[custom].format": Probe(BINDS),
    "tools[custom].format(grammar).definition": Probe(BINDS, values=('start: "b"',)),
    "tools[custom].format(grammar).syntax": Probe(BINDS),
    "tools[custom].name": Probe(both(READ, BINDS), values=("sing",)),
    "tools[function].description": Probe(READ),
    "tools[function].name": Probe(both(READ, BINDS), values=("see",)),
    "tools[function].parameters": Probe(both(READ, BINDS), values=({"type": "object", "properties": {"depth": {}}},)),
    "tools[function].strict": Probe(BINDS),
    "top_logprobs": Probe(
        both(engine("alternatives to each token", lambda request: request.logprobs), echoed("top_logprobs")),
        values=(2,),
    ),
    "top_p": Probe(both(engine("sampling", lambda request: request.sampling.top_p), echoed("top_p")), values=(0.5,)),
    "truncation": Probe(differs("drops the oldest items", lambda run: run.prompt), given={"input": ALMOST_ALL_CONTEXT}),
    "user": Probe(echoed("user")),
}

ENDPOINT = Endpoint("/v1/responses", Params, BASES, PROBES)

UNCOUNTED = "it takes no tokens"

COUNTED = differs("counted", lambda run: run.document["input_tokens"])
COUNT_PROBES: Mapping[str, Probe] = {
    "input": Probe(COUNTED, values=("Bonjour", [HELLO]), deep=False),
    "instructions": Probe(COUNTED),
    "model": Probe(Check("chooses the model", lambda with_, without, value: with_.status == 404, by_refusal=True)),
    "parallel_tool_calls": inert(UNCOUNTED),
    "reasoning": Probe(COUNTED, values=({"effort": "high"},), deep=False),
    "text": Probe(COUNTED, values=({"format": SHOWN},), deep=False),
    "tool_choice": replace(inert(UNCOUNTED, {"type": "function", "name": "look"}), given=TOOLS),
    "tools": Probe(COUNTED, values=([LOOK], [WRITE]), deep=False),
    "truncation": Probe(COUNTED, given={"input": ALMOST_ALL_CONTEXT}),
}

COUNT_ENDPOINT = Endpoint("/v1/responses/input_tokens", CountParams, BASES, COUNT_PROBES)
