"""Ask many questions at once: the engine computes them together, and a shared beginning only once.

python examples/many_at_once.py
"""

import asyncio

from forethought.engine.native import NativeEngine
from forethought.model.conversation import Conversation, Message
from forethought.model.registry import resolve
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings

INSTRUCTIONS = Message.of("system", "You are a teacher. Answer in one short sentence.")
TOPICS = ("clouds", "rivers", "volcanoes", "glaciers", "deserts", "islands", "forests", "oceans")


async def main() -> None:
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    with NativeEngine(checkpoint, settings) as engine:
        reasoner = Reasoner(checkpoint, engine)
        questions = [Conversation((INSTRUCTIONS, Message.of("user", f"What are {topic}?"))) for topic in TOPICS]
        turns = [reasoner.turn(question, max_output_tokens=40, seed=1) for question in questions]
        for topic, answer in zip(TOPICS, await asyncio.gather(*(turn.answer() for turn in turns)), strict=True):
            print(f"{topic}: {answer.text}")
        metrics = engine.metrics()
        print(f"{metrics.tokens_per_second:.0f} tokens/s")
        print(f"{metrics.cache_hit_rate:.0%} of the prompts came from the cache")


if __name__ == "__main__":
    asyncio.run(main())
