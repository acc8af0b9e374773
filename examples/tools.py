"""Offer a tool, carry out the calls, and hand the results back until there is an answer.

python examples/tools.py
"""

import asyncio
import json
from datetime import date

from forethought.engine.native import NativeEngine
from forethought.model.conversation import Conversation, Item, Message, Text, ToolCall, ToolDefinition, ToolResult
from forethought.model.registry import resolve
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings

WEEKDAY = ToolDefinition(
    name="weekday",
    description="The day of the week of a date.",
    parameters={"type": "object", "properties": {"date": {"type": "string"}}, "required": ["date"]},
)
ROUNDS = 4


def carry_out(call: ToolCall) -> str:
    """The tool itself. What goes wrong is a result too: the model may try again."""
    try:
        return date.fromisoformat(json.loads(call.arguments)["date"]).strftime("%A")
    except (KeyError, TypeError, ValueError) as error:
        return f"error: {error}"


async def main() -> None:
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    with NativeEngine(checkpoint, settings) as engine:
        reasoner = Reasoner(checkpoint, engine)
        items: list[Item] = [Message.of("user", "Which day of the week was 1969-07-20?")]
        for _ in range(ROUNDS):
            conversation = Conversation(tuple(items), tools=(WEEKDAY,))
            answer = await reasoner.turn(conversation, max_output_tokens=100, seed=1).answer()
            items += answer.history
            if not answer.tool_calls:
                break
            items += [ToolResult(call.call_id, (Text(carry_out(call)),)) for call in answer.tool_calls]
        print(*items, sep="\n")
        print(answer.done.error or answer.text)


if __name__ == "__main__":
    asyncio.run(main())
