"""Acceptance: ordinary chat has not suffered. How likely the model finds what the base itself answers to ordinary
prompts, and a few public-domain texts, compared with the base.

    python tests/acceptance/chat.py [--model forethought-mini] [--output docs/results/chat.json]

The base answers prompts that are none of the package's, at temperature 1; both then read the answers, the model also
behind a short thinking, one of those that it was taught to have before such an answer. How likely it finds them behind
what it thinks by itself, which may be about another answer, is told too, without a demand. Takes about six minutes.
"""

import argparse
import asyncio
import re
from dataclasses import asdict, replace
from math import exp, log
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from outcome import write_outcome

from forethought.engine.native import NativeEngine
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Effort, Message, Thinking
from forethought.model.registry import resolve
from forethought.reasoning.effort import thinking_budget
from forethought.reasoning.events import TextDelta, ThinkingDelta
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import Settings, load_settings
from forethought.statistics import bootstrap_mean
from forethought.train.backend import LearnerSettings
from forethought.train.replay import Answer, ordinary_prompts, sampled_answers
from forethought.train.replay_rows import replay_row
from forethought.train.rows import Branch, Row
from forethought.train.torch_backend import TorchBackend

HERE = Path(__file__).parent
MOST = 0.05
"""By so much may the perplexity be above the base's."""
TOKENS, SEED = 160, 20261126
EFFORT: Effort = "medium"


def losses(checkpoint: Checkpoint, rows: list[Row]) -> list[np.ndarray]:
    """For each row, what its learned tokens cost in nats."""
    backend = TorchBackend(checkpoint, LearnerSettings(dtype="float32", train="all"))
    flat_N = -backend.logprobs(rows)
    ends = np.cumsum([row.learned_tokens for row in rows])
    return np.split(flat_N, ends[:-1])


def compared(base: list[np.ndarray], model: list[np.ndarray]) -> dict[str, Any]:
    """Perplexities of all tokens, and the ratio of the model's to the base's, with its interval over texts."""
    pairs = [list(after - before) for before, after in zip(base, model, strict=True)]
    change = bootstrap_mean(pairs)
    return {
        "texts": len(base),
        "tokens": int(sum(map(len, base))),
        "base": exp(float(np.concatenate(base).mean())),
        "model": exp(float(np.concatenate(model).mean())),
        "ratio": exp(change.value),
        "low": exp(change.low),
        "high": exp(change.high),
        "nats": asdict(change),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="forethought-mini")
    parser.add_argument("--output", type=Path, default=Path("docs/results/chat.json"))
    options = parser.parse_args()
    settings = load_settings()
    model = resolve(options.model, settings)
    if model.adapter is None:
        parser.error(f"{options.model} has no adapter: what it was made from is not beside it")
    base = Checkpoint.open(model.directory)
    prompts = (HERE / "chat_prompts.txt").read_text(encoding="utf-8").splitlines()
    seen = set(map(_plain, prompts)) & set(map(_plain, ordinary_prompts()))
    prompts = [prompt for prompt in prompts if _plain(prompt) not in seen]
    answers = sampled_answers(base, settings, prompts, tokens=TOKENS, seed=SEED)
    asked = {prompt: Conversation((Message.of("user", prompt),)) for prompt in prompts}
    chat = [
        Row(base.renderer.render(asked[one.prompt], think=False).token_ids, (Branch.of(one.token_ids),))
        for one in answers
    ]
    behind = [_behind_thinking(model, one, Random(number)) for number, one in enumerate(answers)]
    thoughts = asyncio.run(_thoughts(model, settings, [one.prompt for one in answers]))
    own = [_behind_own(model, one, thought) for one, thought in zip(answers, thoughts, strict=True)]
    texts = [base.tokenizer.encode(path.read_text(encoding="utf-8")) for path in sorted((HERE / "texts").glob("*.txt"))]
    read = [Row(tuple(ids[:1]), (Branch.of(ids[1:]),)) for ids in texts]
    by_base = losses(base, chat)
    figures = {
        "digest": model.digest(),
        "chat": compared(by_base, losses(model, chat)),
        "chat_behind_thinking": compared(by_base, losses(model, behind)),
        "chat_behind_its_own_thinking": compared(by_base, losses(model, own)),
        "texts": compared(losses(base, read), losses(model, read)),
    }
    verdict = {
        "answers to at least 200 ordinary prompts that are none of the package's": len(answers) >= 200,
        f"the base's own answers: perplexity within {MOST:.0%} of the base's": _within(figures["chat"]),
        "the same behind a short thinking": _within(figures["chat_behind_thinking"]),
        f"public-domain texts: perplexity within {MOST:.0%} of the base's": _within(figures["texts"]),
    }
    write_outcome(options.output, verdict, figures)


def _plain(prompt: str) -> str:
    """Without what makes no other prompt of it."""
    return " ".join(re.findall(r"\w+", prompt.casefold()))


def _behind_thinking(model: Checkpoint, answer: Answer, rng: Random) -> Row:
    """The answer behind a short thinking, which is not counted."""
    row = replay_row(model, answer, EFFORT, rng)
    [branch] = row.branches
    thought = len(branch.token_ids) - len(answer.token_ids)
    learned = (False,) * thought + (True,) * len(answer.token_ids)
    return Row(row.prompt_ids, (replace(branch, learned=learned),))


async def _thoughts(model: Checkpoint, settings: Settings, prompts: list[str]) -> list[str]:
    """What the model thinks about each prompt, as it is served."""
    with NativeEngine(model, settings) as engine:
        reasoner = Reasoner(model, engine)

        async def thought(number: int, prompt: str) -> str:
            asked = Conversation((Message.of("user", prompt),))
            told = ""
            async with reasoner.turn(asked, effort=EFFORT, max_output_tokens=2048, seed=number) as turn:
                async for event in turn:
                    if isinstance(event, TextDelta):
                        break
                    if isinstance(event, ThinkingDelta):
                        told += event.text.reveal()
            return told

        return await asyncio.gather(*(thought(*each) for each in enumerate(prompts)))


def _behind_own(model: Checkpoint, answer: Answer, thought: str) -> Row:
    """The answer behind this thinking, which is not counted."""
    budget = thinking_budget(EFFORT, model.capabilities.context_length)
    asked = Conversation((Message.of("user", answer.prompt),), effort=EFFORT, budget=budget)
    # An output of thinking alone ends with the stop token, in whose place the answer comes.
    before = model.renderer.render_output((Thinking(thought),))[:-1]
    return Row((*model.renderer.render(asked, think=True).token_ids, *before), (Branch.of(answer.token_ids),))


def _within(found: dict[str, Any]) -> bool:
    return log(found["ratio"]) <= log(1 + MOST)


if __name__ == "__main__":
    main()
