"""See how sure the model was of each token of its answer, and what else it considered.

python examples/logprobs.py
"""

import asyncio
import math

from forethought.engine.native import NativeEngine
from forethought.model.conversation import Conversation, Message
from forethought.model.registry import resolve
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings


async def main() -> None:
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    with NativeEngine(checkpoint, settings) as engine:
        question = Conversation((Message.of("user", "What is the capital of France?"),))
        turn = Reasoner(checkpoint, engine).turn(question, logprobs=3, max_output_tokens=20, seed=1)
        for token in (await turn.answer()).logprobs:
            others = ", ".join(f"{text.decode(errors='replace')!r} {math.exp(value):.0%}" for text, value in token.top)
            print(f"{token.token_bytes.decode(errors='replace')!r:<12} {math.exp(token.logprob):4.0%}   of {others}")


if __name__ == "__main__":
    asyncio.run(main())
