"""Open any Hugging Face directory of a supported architecture, look at it, and talk with it.

python examples/any_directory.py path/to/Qwen2.5-0.5B-Instruct
"""

import asyncio
import sys

from forethought.engine.native import NativeEngine
from forethought.model.conversation import Conversation, Message
from forethought.model.registry import resolve
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings


async def main(name_or_directory: str | None) -> None:
    settings = load_settings()
    checkpoint = resolve(name_or_directory or settings.model, settings)
    config = checkpoint.config
    print(f"{config.model_type}: {config.layers} layers of {config.hidden_size}, vocabulary {config.vocab_size}")
    print(f"renderer {checkpoint.renderer.name}; {checkpoint.capabilities!r}")

    conversation = Conversation((Message.of("user", "Say hello."),))
    prompt = checkpoint.renderer.render(conversation, think=False)
    print(checkpoint.tokenizer.decode(prompt.token_ids))
    with NativeEngine(checkpoint, settings) as engine:
        print(engine.digest)
        answer = await Reasoner(checkpoint, engine).turn(conversation, max_output_tokens=50).answer()
        print(answer.text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
