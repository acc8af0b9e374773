"""Let a model think before it answers, with three efforts, and see what each costs.

The thinking is hidden: it prints as its length. `think=True` makes a model think that does not by itself.

    python examples/effort.py
"""

import asyncio

from forethought.engine.native import NativeEngine
from forethought.model.conversation import Conversation, Effort, Message
from forethought.model.registry import resolve
from forethought.reasoning.effort import thinking_budget
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings

QUESTION = Conversation((Message.of("user", "Anna has three apples and buys two more. How many has she?"),))
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
LIMIT = 200  # tokens of thinking and answer together


async def main() -> None:
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    with NativeEngine(checkpoint, settings) as engine:
        reasoner = Reasoner(checkpoint, engine)
        for effort in EFFORTS:
            turn = reasoner.turn(QUESTION, think=True, effort=effort, max_output_tokens=LIMIT, seed=1)
            answer = await turn.answer()
            budget = thinking_budget(effort, engine.context_length, LIMIT)
            used, ended = answer.done.usage.reasoning_tokens, answer.done.thinking_closed or "the model"
            print(f"{effort}: at most {budget} tokens of thinking, {used} used; ended by {ended}")
            print(*(item.item for item in answer.items), sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
