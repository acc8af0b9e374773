"""Train a LoRA adapter on one sentence, save it as PEFT does, and use it: merged by the engine, or saved merged.

python examples/lora_adapter.py
"""

import asyncio
import tempfile
from pathlib import Path

import torch

from forethought.engine.native import NativeEngine
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Message
from forethought.model.lora import attach
from forethought.model.lora_config import LoraConfig
from forethought.model.registry import resolve
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import Settings, load_settings

QUESTION = Conversation((Message.of("user", "Who are you?"),))
ANSWER = (Message.of("assistant", "I am Forethought."),)
STEPS = 10


def train(checkpoint: Checkpoint, config: LoraConfig) -> dict[str, torch.nn.Parameter]:
    """Teaches a fresh adapter the answer; the loss counts the answer's tokens only."""
    decoder = checkpoint.decoder()
    adapter = attach(decoder, config)
    optimizer = torch.optim.AdamW(adapter.values(), lr=1e-3)
    prompt = checkpoint.renderer.render(QUESTION, think=False).token_ids
    output = checkpoint.renderer.render_output(ANSWER)
    token_ids_BT = torch.tensor([[*prompt, *output]])
    for step in range(STEPS):
        hidden_BTC = decoder(token_ids_BT[:, :-1])
        logits_TV = decoder.logits(hidden_BTC[0, -len(output) :])
        loss = torch.nn.functional.cross_entropy(logits_TV, token_ids_BT[0, -len(output) :])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.3f}")
    return adapter


async def ask(checkpoint: Checkpoint, settings: Settings) -> str:
    with NativeEngine(checkpoint, settings) as engine:
        turn = Reasoner(checkpoint, engine).turn(QUESTION, sampling={"temperature": 0.0}, max_output_tokens=20)
        return (await turn.answer()).text


async def main() -> None:
    settings = load_settings()
    # Without the adapter that the default model has.
    base = Checkpoint.open(resolve(settings.model, settings).directory)
    config = LoraConfig(rank=8, alpha=16.0, target_modules="all-linear")
    adapter = {name: parameter.detach() for name, parameter in train(base, config).items()}
    with tempfile.TemporaryDirectory() as folder:
        # PEFT and transformers open both directories.
        adapted = base.save_adapter(Path(folder) / "adapter", config, adapter)
        merged = adapted.save(Path(folder) / "merged")
        for name, checkpoint in (("base", base), ("adapter", adapted), ("merged", merged)):
            print(f"{name}: {await ask(checkpoint, settings)!r}")


if __name__ == "__main__":
    asyncio.run(main())
