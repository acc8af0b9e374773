"""Acceptance 3: a request gives the same tokens whatever happens around it.

    python tests/acceptance/invariance.py [--output docs/results/invariance.json]

Sixty-four requests, half of them greedy and half seeded, run alone, together, through a cache so small that they are
preempted, and with prefix sharing off, in float32 and in bfloat16. None may differ. (The torch runner, which serves
where there is no compiler, keeps this only nearly: its sums depend on the shape of a batch.)
Takes about five minutes.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from outcome import Parts, write_outcome
from prompts import PROMPTS

from forethought.engine.native import NativeEngine
from forethought.engine.protocol import Limits, Request, Sampling
from forethought.model.checkpoint import Checkpoint
from forethought.model.registry import resolve
from forethought.settings import load_settings

REQUESTS, TOKENS = 64, 48
SMALL_CACHE = 1024
"""Positions: about a fifth of what the requests hold together."""
SYSTEM = "You are a helpful assistant. Answer briefly, and say so when you do not know. "
DTYPES = ("float32", "bfloat16")

WAYS: dict[str, tuple[bool, dict[str, Any]]] = {
    "alone": (True, {}),
    "together": (False, {}),
    "preempted": (False, {"cache_tokens": SMALL_CACHE}),
    "prefix sharing off": (False, {"prefix_sharing": False}),
}
"""How the requests are run: one at a time or not, and with which settings."""


def make_requests(checkpoint: Checkpoint) -> list[Request]:
    """Prompts that share a beginning (so that there is something to share), greedy and seeded by turns."""
    return [
        Request(
            str(number),
            tuple(checkpoint.tokenizer.encode(SYSTEM + PROMPTS[number % len(PROMPTS)])),
            Limits(TOKENS),
            Sampling(temperature=float(number % 2), seed=number),
        )
        for number in range(REQUESTS)
    ]


def run(checkpoint: Checkpoint, requests: list[Request], *, alone: bool, **engine: Any) -> tuple[list[list[int]], int]:
    """The tokens of each request, and how many preemptions there were."""
    with NativeEngine(checkpoint, load_settings(engine=engine)) as native:
        groups = [[request] for request in requests] if alone else [requests]
        tokens = [list(completion.token_ids) for group in groups for completion in native.generate(group)]
        return tokens, native.metrics().preemptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/results/invariance.json"))
    options = parser.parse_args()
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    requests = make_requests(checkpoint)
    parts = Parts(options.output, f"{checkpoint.digest()} {REQUESTS} {TOKENS}")
    verdict: dict[str, bool] = {}
    figures: dict[str, Any] = {"requests": REQUESTS, "tokens_each": TOKENS, "different": {}}
    for name in DTYPES:
        tokens, preemptions = {}, {}
        for how, (alone, options_) in WAYS.items():
            part = partial(run, checkpoint, requests, alone=alone, runner="compiled", dtype=name, **options_)
            tokens[how], preemptions[how] = parts.get(f"{name}, {how}", part)
        for how in WAYS:
            different = sum(mine != reference for mine, reference in zip(tokens[how], tokens["alone"], strict=True))
            figures["different"][f"{name}, {how}"] = different
            verdict[f"{name}: alone and {how} are equal"] = different == 0
        figures[f"{name}, preemptions"] = preemptions["preempted"]
        verdict[f"{name}: there were preemptions"] = preemptions["preempted"] > 0
    parts.forget()
    write_outcome(options.output, verdict, figures)


if __name__ == "__main__":
    main()
