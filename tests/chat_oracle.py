"""What every stream of a completion must be: OpenAI's SDK reads it, and it adds up to the completion."""

from copy import deepcopy
from typing import Any

from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

Wire = dict[str, Any]

SAME = ("id", "object", "created", "model", "service_tier", "system_fingerprint")


def check_chunks(chunks: list[Wire], choices: int = 1, *, usage: bool = False) -> Wire:
    """The completion that the SDK makes of the chunks of a stream that ended well."""
    assert all({name: chunk[name] for name in SAME} == {name: chunks[0][name] for name in SAME} for chunk in chunks)
    assert chunks[0]["object"] == "chat.completion.chunk"
    _check_usage(chunks, usage=usage)
    for index in range(choices):
        _check_choice([choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index])
    state = ChatCompletionStreamState[None]()
    for chunk in chunks:
        ChatCompletionChunk.model_validate(_known(chunk))
        list(state.handle_chunk(ChatCompletionChunk.construct(**deepcopy(chunk))))
    added_up = state.current_completion_snapshot.to_dict()
    completion = plain(added_up)
    if not beyond_the_sdk(completion):
        state.get_final_completion()
    return completion


def check_completion(completion: Wire) -> Wire:
    """The completion, when it is one."""
    ChatCompletion.model_validate(completion)
    assert completion["object"] == "chat.completion"
    for choice in completion["choices"]:
        message = choice["message"]
        assert {"role", "content", "refusal", "annotations"} <= message.keys()
        assert "tool_calls" not in message or message["tool_calls"]
        assert message["content"] is not None or message["tool_calls"]
    return plain(completion)


def plain(completion: Wire) -> Wire:
    """A completion without what differs between two of them, and without what the SDK's helper adds or leaves out."""
    kept = {name: completion[name] for name in ("object", "model", "service_tier", "system_fingerprint")}
    choices = [choice | {"message": _plain_message(choice["message"])} for choice in completion["choices"]]
    return {**kept, "choices": choices, "usage": completion.get("usage")}


def without_ids(completion: Wire) -> Wire:
    """A plain completion without the ids of its calls: each run gives them its own."""
    for choice in completion["choices"]:
        for call in choice["message"]["tool_calls"]:
            call["id"] = None
    return completion


def beyond_the_sdk(completion: Wire) -> bool:
    """Whether the helper raises at the end: for what was cut off on purpose, for custom tools because it knows none."""
    calls = [call for choice in completion["choices"] for call in choice["message"]["tool_calls"]]
    cut_off = any(choice["finish_reason"] == "length" for choice in completion["choices"])
    return cut_off or any(call["type"] == "custom" for call in calls)


def _plain_message(message: Wire) -> Wire:
    names = ("role", "content", "refusal")
    calls = [_plain_call(call) for call in message.get("tool_calls") or ()]
    return {name: message[name] for name in names} | {"tool_calls": calls}


def _plain_call(call: Wire) -> Wire:
    kind, given = ("custom", "input") if call["type"] == "custom" else ("function", "arguments")
    return {name: call[name] for name in ("id", "type")} | {kind: {name: call[kind][name] for name in ("name", given)}}


def _check_usage(chunks: list[Wire], *, usage: bool) -> None:
    assert [chunk["choices"] == [] for chunk in chunks[:-1]] == [False] * (len(chunks) - 1)
    assert (chunks[-1]["choices"] == []) == usage
    if usage:
        assert [chunk["usage"] is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    else:
        assert all("usage" not in chunk for chunk in chunks)


def _check_choice(choices: list[Wire]) -> None:
    """The role comes first, the reason of the end last, and each call is announced once."""
    assert [choice["delta"].get("role") for choice in choices] == ["assistant"] + [None] * (len(choices) - 1)
    assert [choice["finish_reason"] is None for choice in choices] == [True] * (len(choices) - 1) + [False]
    assert choices[-1]["delta"] == {}
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", ())]
    announced: list[int] = []
    for call in calls:
        kind, given = ("custom", "input") if "custom" in call else ("function", "arguments")
        if call["index"] == len(announced):
            announced.append(call["index"])
            assert call.keys() == {"index", "id", "type", kind}
            assert call["type"] == kind
            assert call[kind].keys() == {"name", given}
            assert call[kind][given] == ""
        else:
            assert call["index"] == announced[-1], "a call is over when the next one begins"
            assert call.keys() == {"index", kind}
            assert call[kind].keys() == {given}


def _known(chunk: Wire) -> Wire:
    """The chunk without calls of custom tools: OpenAI sends them, and the SDK has no model of their deltas."""
    known = deepcopy(chunk)
    for choice in known["choices"]:
        calls = choice["delta"].get("tool_calls")
        if calls is not None:
            choice["delta"]["tool_calls"] = [call for call in calls if "custom" not in call]
    return known
