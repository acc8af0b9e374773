"""What clients ask in the runs: every parameter that both APIs let act, in combinations that a model can answer to."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from runs.house import LENIENT, PLAIN, UNSEALED
from runs.run import Api
from runs.texts import sentence
from server_scene import ALIAS

Body = dict[str, Any]

ENCRYPTED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
SCHEMA: Body = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["answer", "n"],
    "additionalProperties": False,
}
ADDENDS: Body = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
TOOLS: Mapping[str, Body] = {
    "look": {"description": "Looks.", "parameters": {"type": "object"}},
    "add": {"parameters": ADDENDS, "strict": False},
    "write": {"description": "Writes."},
}
CUSTOM = "write"
ORPHAN: Body = {"type": "function_call_output", "call_id": "x", "output": ""}


@dataclass(frozen=True)
class Ask:
    """A request, and what it says about the answer: which tools it calls, whether it is JSON, how many there are."""

    api: Api
    path: str
    body: Body
    model: str
    calls: tuple[str, ...] = ()
    formatted: bool = False
    summarised: bool = False
    choices: int = 1
    stream_options: Body | None = None


def ask_for(dice: Random, *, summarised: bool = False, sealed: bool = False) -> Ask:
    """A request. `summarised` and `sealed` ask for a summary and for encrypted thinking in any case."""
    api: Api = "responses" if summarised or dice.random() < 0.55 else "chat"
    models = (ALIAS, ALIAS, ALIAS) if summarised else (ALIAS, ALIAS, LENIENT, PLAIN)
    model = UNSEALED if sealed and api == "responses" and dice.random() < 0.6 else dice.choice(models)
    names = tuple(sorted(TOOLS, key=lambda _: dice.random())[: dice.randint(1, 3)]) if dice.random() < 0.4 else ()
    calls = tuple(dice.choices(names, k=dice.choice((0, 1, 1, 2, 3)))) if names else ()
    formatted = not names and dice.random() < 0.25
    body: Body = {"model": model, **_tools(dice, api, names, calls), **_sampling(dice, model)}
    if api == "chat":
        return _chat(dice, body, calls, formatted)
    body |= _format(dice, api) if formatted else {}
    return _responses(dice, body, calls, formatted, summarised, sealed)


def long_question(api: Api) -> Body:
    """One that no context holds."""
    text = "even numbers " * 3000
    return {"input": text} if api == "responses" else {"messages": [{"role": "user", "content": text}]}


def misshapen(dice: Random, api: Api) -> Body:
    """Parameters that are refused before the engine hears of them."""
    format = {"syntax": "regex", "definition": "("}
    custom: Body = {"name": "w", "format": {"type": "grammar", **({"grammar": format} if api == "chat" else format)}}
    wrong: list[Body] = [
        {"no_such_parameter": 1},
        {"model": "gpt-4o"},
        {"tools": [{"type": "web_search"}]},
        {"tool_choice": {"type": "function", "name": "nowhere"}, "tools": []},
        {"metadata": 7},
        {"service_tier": sentence(dice)},
        {"tools": [{"type": "custom", **({"custom": custom} if api == "chat" else custom)}], "tool_choice": "auto"},
        {"model": ALIAS, "temperature": 0.1},
        {"model": PLAIN, **({"reasoning_effort": "low"} if api == "chat" else {"reasoning": {"effort": "low"}})},
        {"messages": []} if api == "chat" else {"input": [ORPHAN]},
    ]
    return dice.choice(wrong)


def _responses(
    dice: Random, body: Body, calls: tuple[str, ...], formatted: bool, summarised: bool, sealed: bool
) -> Ask:
    model = body["model"]
    include = [ENCRYPTED] if model != PLAIN and (sealed or dice.random() < 0.4) else []
    if model == LENIENT and dice.random() < 0.3:
        include.append(LOGPROBS)
    reasoning: Body = {}
    if model != PLAIN and dice.random() < 0.4:
        reasoning["effort"] = dice.choice(EFFORTS)
    summarised = summarised or (model != PLAIN and dice.random() < 0.25)
    if summarised:
        reasoning["summary"] = dice.choice(("auto", "concise", "detailed"))
    optional: Body = {
        "include": include,
        "reasoning": reasoning,
        "instructions": dice.choice((None, sentence(dice))),
        "metadata": dice.choice(({}, {"k": sentence(dice)})),
        "truncation": dice.choice((None, "auto", "disabled")),
    }
    body |= {name: value for name, value in optional.items() if value}
    body["input"] = dice.choice((sentence(dice), _input(dice)))
    options = dice.choice((None, None, {"include_obfuscation": True}))
    path = dice.choice(("/v1/responses", "/openai/v1/responses?api-version=preview"))
    return Ask("responses", path, body, model, calls, formatted, summarised, stream_options=options)


def _chat(dice: Random, body: Body, calls: tuple[str, ...], formatted: bool) -> Ask:
    model = body["model"]
    choices = dice.choice((1, 1, 1, 2, 3))
    optional: Body = {
        "n": choices if choices > 1 else dice.choice((None, 1)),
        "seed": dice.choice((None, dice.getrandbits(40))),
        "reasoning_effort": None if model == PLAIN else dice.choice((None, *EFFORTS)),
        "user": dice.choice((None, "somebody")),
    }
    if model == LENIENT:
        optional |= dice.choice(({}, {"stop": dice.choice(("even", ["x=1", "😀"]))}))
        optional |= dice.choice(({}, {"logprobs": True, "top_logprobs": dice.randint(0, 3)}))
    body |= {name: value for name, value in optional.items() if value is not None}
    body |= _format(dice, "chat") if formatted else {}
    body["messages"] = _messages(dice)
    options = dice.choice((None, {"include_usage": True}, {"include_usage": True, "include_obfuscation": True}))
    path = dice.choice(("/v1/chat/completions", f"/openai/deployments/{model}/chat/completions?api-version=2024-10-21"))
    return Ask("chat", path, body, model, calls, formatted, choices=choices, stream_options=options)


def _sampling(dice: Random, model: str) -> Body:
    if model != LENIENT:
        return dice.choice(({}, {}, {"temperature": 1}))
    return dice.choice(({}, {"temperature": dice.random() * 2}, {"top_p": dice.random()}))


def _format(dice: Random, api: Api) -> Body:
    named = {"name": "answer", "schema": SCHEMA, "strict": True}
    if dice.random() < 0.3:
        wire: Body = {"type": "json_object"}
    else:
        wire = {"type": "json_schema", **({"json_schema": named} if api == "chat" else named)}
    return {"response_format": wire} if api == "chat" else {"text": {"format": wire}}


def _tools(dice: Random, api: Api, names: tuple[str, ...], calls: tuple[str, ...]) -> Body:
    """Tools on offer, and a choice among them that the calls keep to."""
    if not names:
        return {}
    choices: list[Any] = [None, "auto"]
    if calls:
        allowed = {"mode": "auto", "tools": [_named(api, name) for name in dict.fromkeys(calls)]}
        choices += ["required", {"type": "allowed_tools", **({"allowed_tools": allowed} if api == "chat" else allowed)}]
    if len(calls) == 1:
        choices.append(_named(api, calls[0]))
    if not calls:
        choices.append("none")
    choice = dice.choice(choices)
    parallel = dice.choice((None, True, *((False,) if len(calls) < 2 else ())))
    body: Body = {"tools": [_tool(api, name) for name in names], "tool_choice": choice, "parallel_tool_calls": parallel}
    return {name: value for name, value in body.items() if value is not None}


def _tool(api: Api, name: str) -> Body:
    kind = "custom" if name == CUSTOM else "function"
    named = {"name": name, **TOOLS[name]}
    return {"type": kind, kind: named} if api == "chat" else {"type": kind, **named}


def _named(api: Api, name: str) -> Body:
    kind = "custom" if name == CUSTOM else "function"
    return {"type": kind, kind: {"name": name}} if api == "chat" else {"type": kind, "name": name}


def _input(dice: Random) -> list[Body]:
    """A conversation as Responses takes it."""
    items: list[Body] = [{"role": dice.choice(("developer", "system")), "content": sentence(dice)}]
    if dice.random() < 0.5:
        items += [{"role": "user", "content": sentence(dice)}, {"role": "assistant", "content": sentence(dice)}]
    items.append({"role": "user", "content": [{"type": "input_text", "text": sentence(dice)}]})
    if dice.random() < 0.3:
        items.append({"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"})
        items.append({"type": "function_call_output", "call_id": "c1", "output": sentence(dice)})
    return items


def _messages(dice: Random) -> list[Body]:
    """The same as Chat Completions takes it."""
    messages: list[Body] = [{"role": dice.choice(("developer", "system")), "content": sentence(dice)}]
    if dice.random() < 0.5:
        messages += [{"role": "user", "content": sentence(dice)}, {"role": "assistant", "content": sentence(dice)}]
    messages.append({"role": "user", "content": [{"type": "text", "text": sentence(dice)}]})
    if dice.random() < 0.3:
        call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        messages.append({"role": "assistant", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": "c1", "content": sentence(dice)})
    return messages
