"""Acceptance 2: our engine continues fifty prompts as transformers does, in float32.

    python tests/acceptance/parity.py [--tokens 64] [--output docs/results/parity.json]

Greedy, all prompts in one batch with small prefill chunks on our side, one by one with transformers' own cache on
theirs. A continuation may differ only from a position where transformers' two best logits lie within 1e-4, and only in
1 % of the prompts. The log-probabilities that both give to each token are compared as well. (Logits are compared on
tiny models of every architecture, and on the real one, by the test suite.) Takes about five minutes.
"""

import argparse
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from outcome import Parts, write_outcome
from prompts import PROMPTS
from transformers import AutoModelForCausalLM

from forethought.engine.native import NativeEngine
from forethought.engine.protocol import Completion, Limits, Request, Sampling
from forethought.model.base import NAME
from forethought.model.registry import resolve
from forethought.settings import load_settings

TIE = 1e-4
LOGPROB_TOLERANCE = 1e-3
MAY_DIFFER = 0.01


@dataclass(frozen=True)
class Comparison:
    """One prompt: where the continuations part (None: nowhere), the gap between transformers' best two logits there,
    and the largest difference of log-probabilities up to there."""

    prompt: str
    differs_at: int | None
    gap: float | None
    logprob_difference: float


@torch.inference_mode()
def reference(
    model: torch.nn.Module, prompt: tuple[int, ...], count: int
) -> tuple[list[int], list[float], list[float]]:
    """Greedy tokens of transformers, the gap between the best two logits, and the log-probability of each."""
    tokens: list[int] = []
    gaps: list[float] = []
    logprobs: list[float] = []
    cache, ids = None, torch.tensor([prompt])
    for _ in range(count):
        output = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache, logits_V = output.past_key_values, output.logits[0, -1]
        best = logits_V.topk(2)
        tokens.append(int(best.indices[0]))
        gaps.append(float(best.values[0] - best.values[1]))
        logprobs.append(float(logits_V.log_softmax(-1)[tokens[-1]]))
        ids = torch.tensor([[tokens[-1]]])
    return tokens, gaps, logprobs


def compare(prompt: str, ours: Completion, tokens: list[int], gaps: list[float], logprobs: list[float]) -> Comparison:
    """Where our completion leaves the reference."""
    pairs = enumerate(zip(ours.token_ids, tokens, strict=True))
    differs = next((index for index, (mine, theirs) in pairs if mine != theirs), None)
    both = list(zip(ours.tokens, logprobs, strict=True))[:differs]
    difference = max((abs((event.logprob or 0.0) - theirs) for event, theirs in both), default=0.0)
    return Comparison(prompt, differs, None if differs is None else gaps[differs], difference)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("docs/results/parity.json"))
    options = parser.parse_args()

    settings = load_settings(engine={"dtype": "float32", "max_step_tokens": 64})
    checkpoint = resolve(NAME, settings)
    prompts = [tuple(checkpoint.tokenizer.encode(text)) for text in PROMPTS]
    requests = [
        Request(str(number), prompt, Limits(options.tokens), Sampling(temperature=0.0), logprobs=0)
        for number, prompt in enumerate(prompts)
    ]
    with NativeEngine(checkpoint, settings) as engine:
        completions = engine.generate(requests)
        digest = engine.digest
    model = AutoModelForCausalLM.from_pretrained(checkpoint.directory, dtype=torch.float32).eval()
    parts = Parts(options.output, f"{digest} {options.tokens}")
    found = [
        compare(text, ours, *parts.get(text, partial(reference, model, prompt, options.tokens)))
        for text, prompt, ours in zip(PROMPTS, prompts, completions, strict=True)
    ]
    parts.forget()
    different = [comparison for comparison in found if comparison.differs_at is not None]
    largest = max(comparison.logprob_difference for comparison in found)
    write_outcome(
        options.output,
        {
            f"continuations differ only where transformers' best two logits are within {TIE:g}": all(
                comparison.gap is not None and comparison.gap <= TIE for comparison in different
            ),
            f"at most {MAY_DIFFER:.0%} of the continuations differ": len(different) <= MAY_DIFFER * len(found),
            f"log-probabilities agree within {LOGPROB_TOLERANCE:g}": largest <= LOGPROB_TOLERANCE,
        },
        {
            "digest": digest,
            "prompts": len(found),
            "tokens_each": options.tokens,
            "equal": len(found) - len(different),
            "largest_logprob_difference": largest,
            "different": [asdict(comparison) for comparison in different],
        },
    )


if __name__ == "__main__":
    main()
