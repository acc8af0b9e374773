"""From a request to the turn that it asks for: what the model sees, how much it thinks, which tools it may call.

A request for a response and one that only counts its tokens go through here, so that the count is right.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from forethought.api.contract import check_thinking, effective_effort
from forethought.api.responses.conversation import conversation_of
from forethought.api.responses.create import PromptRequest
from forethought.api.responses.input_items import Input
from forethought.api.responses.truncation import shortened
from forethought.api.tools import tool_choice
from forethought.model.conversation import Conversation, Effort
from forethought.reasoning.tool_choice import ToolChoice

if TYPE_CHECKING:
    from forethought.api.served import ServedModel

TRUNCATED_ROOM = 1024
"""Tokens that a truncated conversation leaves for the answer, if the client asks for as many; at most a quarter of the
context."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A turn to be taken. `effort` is None where the model does not think."""

    conversation: Conversation
    effort: Effort | None
    tool_choice: ToolChoice

    @classmethod
    def of(
        cls,
        served: "ServedModel",
        request: PromptRequest,
        wire: Input,
        tenant: str,
        max_output_tokens: int | None = None,
    ) -> Self:
        """The turn that a request asks for, with `wire` as its input.

        Raises:
            ApiError: a 400 for what this model does not do, and for an input that does not hold together.
            RequestError: the conversation cannot be rendered.
        """
        reasoning = request.reasoning
        if reasoning is not None:
            check_thinking(served, {f"reasoning.{name}": value for name, value in reasoning})
        effort = effective_effort(served, reasoning and reasoning.effort, "reasoning.effort")
        conversation = conversation_of(request, wire, served, tenant)
        choice = tool_choice(request.tool_choice, conversation.tools)
        plan = cls(conversation, effort, choice)
        return plan._truncated(served, max_output_tokens) if request.truncation == "auto" else plan

    def prompt_tokens(self, served: "ServedModel", max_output_tokens: int | None = None) -> int:
        """Tokens of the prompt. Raises `RequestError` for what cannot be rendered."""
        prompt = served.reasoner.prompt(
            self.conversation, effort=self.effort, think=served.thinks, max_output_tokens=max_output_tokens
        )
        return len(prompt.token_ids)

    def _truncated(self, served: "ServedModel", max_output_tokens: int | None) -> Self:
        context = served.reasoner.context_length
        most = context - min(max_output_tokens or TRUNCATED_ROOM, TRUNCATED_ROOM, context // 4)

        def fits(shorter: Conversation) -> bool:
            return replace(self, conversation=shorter).prompt_tokens(served, max_output_tokens) <= most

        return replace(self, conversation=shortened(self.conversation, fits))
