"""Run the engine in a process of its own, kill it in the middle of an answer, and ask again.

python examples/engine_process.py
"""

import asyncio

import psutil

from forethought.engine.process import ProcessEngine
from forethought.engine.spec import EngineSpec
from forethought.model.conversation import Conversation, Message
from forethought.model.registry import resolve
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings

QUESTION = Conversation((Message.of("user", "Tell me a story."),))


async def main() -> None:
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    engine = ProcessEngine(EngineSpec(checkpoint.directory, checkpoint.adapter, settings))
    await engine.start()
    try:
        reasoner = Reasoner(checkpoint, engine)
        turn = reasoner.turn(QUESTION, seed=1)
        await anext(turn)
        for child in psutil.Process().children():
            child.kill()
        print("killed:", (await turn.answer()).done.error)

        # The next turn waits until the engine is back.
        again = await reasoner.turn(QUESTION, seed=1, max_output_tokens=40).answer()
        print("again:", again.text)
    finally:
        await engine.close()


if __name__ == "__main__":
    asyncio.run(main())
