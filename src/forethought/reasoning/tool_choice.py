"""Which of the tools on offer a turn may call, and how often."""

from dataclasses import dataclass
from typing import Literal, assert_never

from forethought.errors import RequestError
from forethought.model.conversation import ToolDefinition


@dataclass(frozen=True, slots=True)
class ForcedTool:
    """This tool is called, once."""

    name: str


@dataclass(frozen=True, slots=True)
class AllowedTools:
    """The model is told of all tools, and may ("auto") or must ("required") call some of these."""

    mode: Literal["auto", "required"]
    names: tuple[str, ...]


ToolChoice = Literal["auto", "none", "required"] | ForcedTool | AllowedTools


@dataclass(frozen=True, slots=True)
class CallBounds:
    """The tools that may be called. With `required` a call must come; without `several` at most one may."""

    tools: tuple[ToolDefinition, ...]
    required: bool
    several: bool


def call_bounds(tools: tuple[ToolDefinition, ...], choice: ToolChoice, *, parallel: bool) -> CallBounds:
    """What a choice among these tools comes to. `parallel` allows several calls in one turn.

    Raises:
        RequestError: two tools with one name; a choice among tools that are not on offer.
    """
    offered = {tool.name: tool for tool in tools}
    if len(offered) < len(tools):
        names = [tool.name for tool in tools]
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"Two tools have the name {twice}.", "Give each tool its own name.")
    match choice:
        case "auto":
            return CallBounds(tools, required=False, several=parallel)
        case "none":
            return CallBounds((), required=False, several=False)
        case "required":
            names, required = tuple(offered), True
        case ForcedTool(name):
            names, required, parallel = (name,), True, False
        case AllowedTools(mode, names):
            required = mode == "required"
        case _:
            assert_never(choice)
    if not names:
        raise RequestError("A tool has to be chosen, and there is none to choose from.", "Offer or name a tool.")
    missing = next((name for name in names if name not in offered), None)
    if missing is not None:
        raise RequestError(f"The tool {missing} was chosen, and it is not on offer.", "Choose among the tools offered.")
    return CallBounds(tuple(offered[name] for name in dict.fromkeys(names)), required, parallel)
