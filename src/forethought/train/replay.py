"""The base's own answers to ordinary prompts, which fine-tuning shows again so that the model stays able to chat.

They are sampled once, at temperature 1: then what they teach a model that still is the base is, on average, nothing.
They are kept as token ids beside what they were made from, and made again only when that has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from forethought.engine.protocol import Limits, Request, Sampling
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Effort, Message, Thinking
from forethought.reasoning.effort import thinking_budget
from forethought.train.rows import Branch, Row
from forethought.train.seeds import seed_of

if TYPE_CHECKING:
    from forethought.settings import Settings

SCHEMA_VERSION: Final = 1

THOUGHTS: Final[dict[Effort, tuple[str, ...]]] = {
    "low": ("An ordinary question. I answer it.", "Nothing to work out here."),
    "medium": (
        "This is an ordinary request. There is nothing to calculate, so I answer it directly.",
        "No puzzle and no sum: I can say what I know. I answer in a few plain sentences.",
    ),
    "high": (
        "This is an ordinary request. There is nothing to calculate and no tool is needed. I say what I know about it,"
        " in plain words and in a sensible order. Then I stop.",
        "First, what is asked? Something general. Is there anything to work out step by step? No. Are there rules about"
        " the form? None. So I answer it directly and keep to the question.",
    ),
}
"""What is thought before such an answer. The base thought nothing, so it is little; more where the effort is higher."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A prompt and the ids of the base's answer, its stop token included unless it was cut off."""

    prompt: str
    token_ids: tuple[int, ...]


def ordinary_prompts() -> tuple[str, ...]:
    """Those that come with the package."""
    return tuple((files("forethought.train") / "prompts.txt").read_text(encoding="utf-8").splitlines())


def replay_answers(checkpoint: Checkpoint, settings: Settings, path: Path, *, tokens: int, seed: int) -> list[Answer]:
    """The answers of the checkpoint's base, of at most `tokens` tokens each: from the file at `path` if it fits, else
    sampled with an engine of its own, and written there.

    Raises:
        CheckpointError: the base cannot be read.
        EngineError: it cannot be run.
    """
    base = checkpoint if checkpoint.adapter is None else Checkpoint.open(checkpoint.directory)
    prompts = ordinary_prompts()
    wording = hashlib.sha256("\n".join(prompts).encode()).hexdigest()
    head = {"schema_version": SCHEMA_VERSION, "base": base.digest(), "prompts": wording, "tokens": tokens, "seed": seed}
    kept = _read(path, head)
    if kept is None:
        kept = sampled_answers(base, settings, prompts, tokens=tokens, seed=seed)
        partial = path.with_name(f".{path.name}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        lines = [head, *({"prompt": answer.prompt, "token_ids": answer.token_ids} for answer in kept)]
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        partial.rename(path)
    return kept


def replay_row(checkpoint: Checkpoint, answer: Answer, effort: Effort | None, rng: Random) -> Row:
    """A row of which the answer is learned; with an effort, behind a short thinking that is learned too."""
    renderer = checkpoint.renderer
    conversation = Conversation((Message.of("user", answer.prompt),))
    if effort is None:
        return Row(renderer.render(conversation, think=False).token_ids, (Branch.of(answer.token_ids),))
    budget = thinking_budget(effort, checkpoint.capabilities.context_length)
    asked = Conversation(conversation.items, effort=effort, budget=budget)
    # An output of thinking alone ends with the stop token, in whose place the answer comes.
    thought = renderer.render_output((Thinking(rng.choice(THOUGHTS[effort])),))[:-1]
    return Row(renderer.render(asked, think=True).token_ids, (Branch.of((*thought, *answer.token_ids)),))


def _read(path: Path, head: dict[str, Any]) -> list[Answer] | None:
    if not path.exists():
        return None
    first, *others = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    if first != head:
        return None
    return [Answer(line["prompt"], tuple(line["token_ids"])) for line in others]


def sampled_answers(
    base: Checkpoint, settings: Settings, prompts: Sequence[str], *, tokens: int, seed: int
) -> list[Answer]:
    """What a checkpoint says to each prompt, in at most `tokens` tokens, at temperature 1; empty answers left out."""
    from forethought.engine.native import NativeEngine

    renderer = base.renderer
    requests = [
        Request(
            id=str(index),
            prompt_ids=renderer.render(Conversation((Message.of("user", prompt),)), think=False).token_ids,
            limits=Limits(tokens, renderer.stop_token_ids),
            sampling=Sampling(seed=seed_of(seed, "replay", index)),
        )
        for index, prompt in enumerate(prompts)
    ]
    with NativeEngine(base, settings) as engine:
        completions = engine.generate(requests)
    pairs = zip(prompts, completions, strict=True)
    return [Answer(prompt, completion.token_ids) for prompt, completion in pairs if completion.token_ids]
