"""Acceptance: the model thinks more when it is asked to, is no worse for it, and always comes to an answer.

    python tests/acceptance/effort.py [--model forethought-mini] [--output docs/results/effort.json]

The same held-out problems of every family at each effort, with the model's generation defaults; then a few of every
cell at budgets from hardly a word to more than is ever needed. Takes about three quarters of an hour.
"""

import argparse
import asyncio
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from outcome import write_outcome
from trained import Subject, cells_of

from forethought.evals.figures import Report, compare
from forethought.evals.measurement import Measurement
from forethought.model.registry import resolve
from forethought.settings import load_settings
from forethought.statistics import paired_difference
from forethought.tasks.distinct import distinct_problems
from forethought.tasks.registry import families, family

EFFORTS = ("low", "medium", "high")
PROBLEMS, AT_BUDGET = 24, 4
"""Of a cell, for each effort; and for each budget."""
BUDGETS = (1, 4, 8, 16, 32, 64, 128, 256, 1024)
ANSWERED = 0.99
MOST_LOST = 0.03
"""By so much may the accuracy have fallen, at the worst, where no fall can be told from chance."""


async def everything(subject: Subject) -> tuple[dict[str, Measurement], dict[int, Measurement]]:
    """Measurements of each effort and of each budget."""
    # Summaries are written without thinking: effort and budget do nothing there.
    names = [name for name in families() if distinct_problems(family(name), 1, "test", 1)[0].thinks]
    efforts = {
        effort: await subject.measured(f"effort-{effort}", cells_of(names), problems=PROBLEMS, effort=effort)
        for effort in EFFORTS
    }
    budgets = {
        budget: await subject.measured(
            f"budget-{budget}", cells_of(names), problems=AT_BUDGET, effort="medium", budget=budget
        )
        for budget in BUDGETS
    }
    return efforts, budgets


def longer(less: Measurement, more: Measurement) -> dict[str, Any]:
    """How many tokens more the second thinks about the same problem."""
    tokens = {(record.cell, record.key): record.samples[0].thinking_tokens for record in less.records}
    pairs = [(tokens[record.cell, record.key], record.samples[0].thinking_tokens) for record in more.records]
    return asdict(paired_difference([float(one) for one, _ in pairs], [float(other) for _, other in pairs]))


async def run(options: argparse.Namespace) -> None:
    settings = load_settings()
    async with Subject("model", resolve(options.model, settings), settings) as subject:
        efforts, budgets = await everything(subject)
    steps = list(pairwise(EFFORTS))
    tokens = {f"{more} over {less}": longer(efforts[less], efforts[more]) for less, more in steps}
    pairs = (*steps, ("low", "high"))
    right = {f"{more} over {less}": compare(efforts[less], efforts[more]).pooled for less, more in pairs}
    verdict = {f"{pair}: more thinking tokens": found["difference"]["low"] > 0 for pair, found in tokens.items()} | {
        f"{pair}: accuracy does not fall (or by chance, by less than {MOST_LOST:.0%})": found.difference.value >= 0
        or (found.p_value > 0.05 and found.difference.low > -MOST_LOST)
        for pair, found in right.items()
    }
    for effort, found in efforts.items():
        verdict[f"effort {effort}: an answer in at least {ANSWERED:.0%} of runs"] = (
            Report.of(found).pooled.answered.value >= ANSWERED
        )
    for budget, found in budgets.items():
        answered = Report.of(found).pooled.answered.value
        verdict[f"a budget of {budget}: an answer in at least {ANSWERED:.0%} of runs"] = answered >= ANSWERED
    figures = {
        "digest": subject.digest,
        "efforts": {effort: asdict(Report.of(found).pooled) for effort, found in efforts.items()},
        "budgets": {str(budget): asdict(Report.of(found).pooled) for budget, found in budgets.items()},
        "answered_by_family": {
            str(budget): {name: figures.answered.value for name, figures in Report.of(found).families.items()}
            for budget, found in budgets.items()
        },
        "thinking_tokens": tokens,
        "accuracy": {pair: asdict(found) for pair, found in right.items()},
    }
    write_outcome(options.output, verdict, figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="forethought-mini")
    parser.add_argument("--output", type=Path, default=Path("docs/results/effort.json"))
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
