"""Which tool calls wait for their tool messages: those of one assistant message, until the next other message."""

from forethought.api.errors import ApiError, invalid
from forethought.model.conversation import ToolCall


class PendingCalls:
    """Follows the messages of a chat in order. Its refusals are OpenAI's, which clients know by their words."""

    def __init__(self) -> None:
        self._open: dict[str, ToolCall] = {}

    def called(self, call: ToolCall, place: int) -> ToolCall:
        """A call was made, in the message at `place`. Raises `ApiError` when another one there has its id."""
        if call.call_id in self._open:
            message = f"Duplicate value for 'tool_call_id' of '{call.call_id:.100}' in message[{place}]."
            raise _refusal(message, f"messages[{place}].tool_calls")
        self._open[call.call_id] = call
        return call

    def answered(self, call_id: str, place: int) -> None:
        """A tool message came. Raises `ApiError` when no call waits for it."""
        if self._open.pop(call_id, None) is None:
            message = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            raise _refusal(f"Invalid parameter: {message}", f"messages[{place}].role")

    def check_answered(self, place: int) -> None:
        """No more tool messages come. `place` is that of the message that came instead, or would have.

        Raises:
            ApiError: calls still wait.
        """
        if self._open:
            raise _refusal(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                "'tool_call_id'. The following tool_call_ids did not have response messages: "
                f"{', '.join(self._open):.1000}",
                f"messages[{place}].role",
            )


def _refusal(message: str, param: str) -> ApiError:
    return invalid(message, param, "invalid_value")
