"""Stream one answer as it is written, and see what it cost.

python examples/stream_a_turn.py "Why is the sky blue?"
"""

import asyncio
import sys

from forethought.engine.native import NativeEngine
from forethought.model.conversation import Conversation, Message
from forethought.model.registry import resolve
from forethought.reasoning.events import TextDelta, TurnDone
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings


async def main(question: str) -> None:
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    with NativeEngine(checkpoint, settings) as engine:
        reasoner = Reasoner(checkpoint, engine)
        conversation = Conversation((Message.of("user", question),))
        async with reasoner.turn(conversation, max_output_tokens=200) as turn:
            async for event in turn:
                match event:
                    case TextDelta(text=text):
                        print(text, end="", flush=True)
                    case TurnDone(status=status, usage=usage):
                        print(f"\n[{status}: {usage.input_tokens} tokens in, {usage.output_tokens} out]")
                    case _:
                        pass  # items that begin and end; hidden thinking


if __name__ == "__main__":
    asyncio.run(main(" ".join(sys.argv[1:]) or "Why is the sky blue?"))
