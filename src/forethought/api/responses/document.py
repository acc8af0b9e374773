"""The response object, with every field that strict clients check, at each moment of its making."""

import time
from typing import TYPE_CHECKING, Any

from forethought.api.formats import JsonObjectFormat, JsonSchemaFormat, TextFormatParam
from forethought.api.parts import new_id
from forethought.api.responses.create import CreateResponse
from forethought.api.responses.output import WireItem
from forethought.api.tools import AllowedToolsChoice, FunctionTool, NamedTool, Tool, ToolChoiceParam
from forethought.model.conversation import Effort
from forethought.reasoning.events import Usage

if TYPE_CHECKING:
    from forethought.api.served import ServedModel

WireDocument = dict[str, Any]


class ResponseDocument:
    """What never changes in a response, and what its making adds."""

    def __init__(self, served: "ServedModel", request: CreateResponse, effort: Effort | None) -> None:
        """`effort` is the effective one; None where nothing is thought."""
        self.id = new_id("resp")
        self._created_at = int(time.time())
        self._fixed = _echo(request) | {
            "model": served.snapshot,
            "reasoning": {"effort": effort, "summary": request.summary},
            **_sampling(served, request),
        }

    def snapshot(
        self,
        status: str,
        output: list[WireItem],
        usage: Usage | None = None,
        *,
        error: WireItem | None = None,
        incomplete_reason: str | None = None,
    ) -> WireDocument:
        """The response as it stands."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "completed_at": int(time.time()) if status == "completed" else None,
            "error": error,
            "incomplete_details": {"reason": incomplete_reason} if incomplete_reason else None,
            "output": output,
            "usage": wire_usage(usage) if usage is not None else None,
            **self._fixed,
        }


def wire_usage(usage: Usage) -> WireItem:
    """Tokens as Responses counts them. What was not in the cache is, once it has been read."""
    read = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.input_tokens - usage.cached_tokens}
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": read,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _echo(request: CreateResponse) -> WireDocument:
    """The parameters as they act, the ones left out included."""
    return {
        "background": False,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": None,
        "prompt_cache_key": request.prompt_cache_key,
        "prompt_cache_retention": request.prompt_cache_retention,
        "safety_identifier": request.safety_identifier,
        "service_tier": "default",
        "store": False,
        "text": {"format": _format(request.text and request.text.format), "verbosity": "medium"},
        "tool_choice": _choice(request.tool_choice),
        "tools": [_tool(tool) for tool in request.tools or ()],
        "top_logprobs": request.top_logprobs or 0,
        "truncation": request.truncation or "disabled",
        "user": request.user,
    }


def _sampling(served: "ServedModel", request: CreateResponse) -> WireDocument:
    """How tokens are drawn. Where sampling parameters are refused, the defaults count as 1, whatever they are."""
    defaults = served.reasoner.checkpoint.generation
    temperature, top_p = (defaults.temperature, defaults.top_p) if served.lenient else (1.0, 1.0)
    return {
        "temperature": temperature if request.temperature is None else request.temperature,
        "top_p": top_p if request.top_p is None else request.top_p,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


def _format(wire: TextFormatParam | None) -> WireItem:
    match wire:
        case JsonSchemaFormat():
            named = {"name": wire.name, "description": wire.description, "strict": bool(wire.strict)}
            return {"type": "json_schema", **named, "schema": wire.schema_}
        case JsonObjectFormat():
            return {"type": "json_object"}
        case _:
            return {"type": "text"}


def _choice(choice: ToolChoiceParam | None) -> WireItem | str:
    match choice:
        case None:
            return "auto"
        case str():
            return choice
        case AllowedToolsChoice():
            return {"type": "allowed_tools", "mode": choice.mode, "tools": [_named(tool) for tool in choice.tools]}
        case NamedTool():
            return _named(choice)


def _named(tool: NamedTool) -> WireItem:
    return {"type": tool.type, "name": tool.name}


def _tool(tool: Tool) -> WireItem:
    head: WireItem = {"type": tool.type, "name": tool.name, "description": tool.description}
    if isinstance(tool, FunctionTool):
        return head | {"parameters": tool.parameters, "strict": tool.binds}
    return head | {"format": tool.format.model_dump() if tool.format is not None else {"type": "text"}}
