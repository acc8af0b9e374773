"""Which tool calls of a conversation have their output: each has exactly one, somewhere behind it.

A `call_id` names one call between two messages of the user; some clients begin anew with each turn.
"""

from forethought.api.errors import ApiError, invalid
from forethought.model.conversation import ToolCall


class CallLedger:
    """Follows the items of an input in order. Its refusals are OpenAI's, which clients know by their words."""

    def __init__(self) -> None:
        self._open: dict[str, ToolCall] = {}
        self._answered: set[str] = set()

    def user_spoke(self) -> None:
        """A turn begins: ids of answered calls may be used again."""
        self._answered.clear()

    def called(self, call: ToolCall) -> ToolCall:
        """A call was made. Raises `ApiError` when its id is taken."""
        if call.call_id in self._open or call.call_id in self._answered:
            raise _refusal(f"Duplicate {_kind(call.custom)} found with call_id {call.call_id}.")
        self._open[call.call_id] = call
        return call

    def answered(self, call_id: str, *, custom: bool, name: str | None = None) -> None:
        """A call gave something back. Raises `ApiError` when there is no such call, or it has its output already."""
        call = self._open.get(call_id)
        if call is None and call_id in self._answered:
            raise _refusal(f"Duplicate {_kind(custom)} output found with call_id {call_id}.")
        if call is None or call.custom != custom:
            raise _refusal(f"No tool call found for {_kind(custom)} output with call_id {call_id}.")
        if name not in (None, call.name):
            raise _refusal(f"The output with call_id {call_id} is not that of the tool it names.")
        del self._open[call_id]
        self._answered.add(call_id)

    def check_answered(self) -> None:
        """The input is over. Raises `ApiError` for a call without output."""
        for call in self._open.values():
            raise _refusal(f"No tool output found for {_kind(call.custom)} {call.call_id}.")


def _kind(custom: bool) -> str:
    return "custom tool call" if custom else "function call"


def _refusal(message: str) -> ApiError:
    return invalid(message, "input", "invalid_value")
