"""The messages and tools that a chat template reads, in the shape transformers gives them.

Every text that people or models wrote goes through the guard; roles, types and the names of fields are ours.
"""

import json
from collections.abc import Iterable
from typing import Any, Protocol

from forethought.errors import RenderError
from forethought.model.conversation import FreeInput, Image, Message, Part, ToolCall, ToolDefinition
from forethought.model.renderer.custom_input import INPUT_SCHEMA
from forethought.model.renderer.tool import check_tool_name, json_object
from forethought.model.renderer.turns import AssistantTurn, ToolTurn, Turn


class TextGuard(Protocol):
    """Makes content recognisable (see `chat_template`)."""

    def text(self, text: str) -> str: ...

    def value(self, value: Any) -> Any: ...


def template_messages(turns: Iterable[Turn], guard: TextGuard) -> list[dict[str, Any]]:
    """One message per turn. Raises `RenderError` for images, which templates have no common place for."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        match turn:
            case Message(role, parts):
                role = "system" if role == "developer" else role
                messages.append({"role": role, "content": _content(parts, guard)})
            case ToolTurn(result, call, _):
                message = {"role": "tool", "name": guard.text(call.name), "tool_call_id": guard.text(call.call_id)}
                messages.append({**message, "content": _content(result.parts, guard)})
            case AssistantTurn():
                messages.append(_assistant_message(turn, guard))
    return messages


def template_tools(tools: tuple[ToolDefinition, ...], guard: TextGuard) -> list[dict[str, Any]] | None:
    """The tools as OpenAI writes them; None for none.

    A custom tool is a function of one text: templates know no other. Raises `RenderError` for one whose input follows a
    regex or a grammar, which cannot be told there and cannot bind the JSON that the input is wrapped in.
    """
    return [_tool(tool, guard) for tool in tools] or None


def _assistant_message(turn: AssistantTurn, guard: TextGuard) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": ""}
    if turn.message is not None:
        message["content"] = _content(turn.message.parts, guard)
    if turn.thinking is not None:
        # Two names are in use, and transformers offers both.
        message["thinking"] = message["reasoning_content"] = guard.text(turn.thinking.text)
    if turn.calls:
        message["tool_calls"] = [_call(call, guard) for call in turn.calls]
    return message


def _call(call: ToolCall, guard: TextGuard) -> dict[str, Any]:
    arguments = {"input": guard.text(call.arguments)} if call.custom else _arguments(call.arguments, guard)
    function = {"name": guard.text(call.name), "arguments": arguments}
    return {"type": "function", "id": guard.text(call.call_id), "function": function}


def _arguments(arguments: str, guard: TextGuard) -> Any:
    """Templates expect the arguments parsed. What does not parse stays text."""
    value = json_object(arguments)
    if value is not None and _is_unicode(value):
        return guard.value(value)
    return guard.text(arguments)


def _is_unicode(value: dict[str, Any]) -> bool:
    """Whether no string in it holds half of a surrogate pair, which JSON can escape and no tokenizer encode."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _tool(tool: ToolDefinition, guard: TextGuard) -> dict[str, Any]:
    parameters: Any = {"type": "object", "properties": {}}
    if isinstance(tool.custom, FreeInput):
        parameters = INPUT_SCHEMA
    elif tool.custom is not None:
        raise RenderError(
            f"The input of the tool {tool.name} follows a regex or a grammar, and this checkpoint writes it as JSON.",
            "Let the tool take any text, or give it a JSON schema.",
        )
    elif tool.parameters is not None:
        parameters = guard.value(tool.parameters)
    function = {"name": guard.text(check_tool_name(tool.name)), "description": guard.text(tool.description)}
    return {"type": "function", "function": {**function, "parameters": parameters}}


def _content(parts: tuple[Part, ...], guard: TextGuard) -> str:
    if any(isinstance(part, Image) for part in parts):
        raise RenderError("This checkpoint's chat template has no place for images.", "Send text only.")
    return guard.text("".join(part.text for part in parts if not isinstance(part, Image)))
