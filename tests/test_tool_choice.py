"""A choice among tools says which may be called and how often, and is refused where it cannot be made."""

import pytest

from forethought.errors import RequestError
from forethought.model.conversation import FreeInput, ToolDefinition
from forethought.reasoning.tool_choice import AllowedTools, CallBounds, ForcedTool, ToolChoice, call_bounds

ADD, LOOK = ToolDefinition("add"), ToolDefinition("look")


@pytest.mark.parametrize(
    ("tools", "choice", "says"),
    [
        ((), "required", "none to choose from"),
        ((), ForcedTool("add"), "add was chosen"),
        ((ADD,), ForcedTool("look"), "look was chosen"),
        ((ADD,), AllowedTools("auto", ("add", "look")), "look was chosen"),
        ((ADD,), AllowedTools("auto", ()), "none to choose from"),
        ((ADD, LOOK, ADD), "auto", "Two tools have the name add"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(
    tools: tuple[ToolDefinition, ...], choice: ToolChoice, says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        call_bounds(tools, choice, parallel=True)


def test_a_choice_bounds_the_calls() -> None:
    def bounds(choice: ToolChoice, *, parallel: bool = True) -> CallBounds:
        return call_bounds((ADD, LOOK), choice, parallel=parallel)

    assert bounds("auto") == CallBounds((ADD, LOOK), required=False, several=True)
    assert bounds("required", parallel=False) == CallBounds((ADD, LOOK), required=True, several=False)
    assert bounds("none") == CallBounds((), required=False, several=False)
    assert bounds(ForcedTool("look")) == CallBounds((LOOK,), required=True, several=False)
    assert bounds(AllowedTools("required", ("look", "look"))) == CallBounds((LOOK,), required=True, several=True)


def test_a_custom_tool_has_no_parameters() -> None:
    with pytest.raises(RequestError, match="sql takes text"):
        ToolDefinition("sql", parameters={}, custom=FreeInput())
