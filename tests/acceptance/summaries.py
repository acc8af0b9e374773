"""Acceptance: the summaries that a user sees of the model's own thinking are usable.

    python tests/acceptance/summaries.py [--model forethought-mini] [--output docs/results/summaries.json]

The model thinks about 300 held-out problems with a live summary, as the server has it but for the server's limits of
time. Each summary must have a title, be at most half as long as the thinking, and name only numbers and words of it (it
may say some 300 words of any thinking: `summary_words`). Thinking of a line or so has no half that is a title and a
sentence: it does not count, and what was shown of it is told apart. Takes about five minutes.
"""

import argparse
import asyncio
import json
from collections import Counter
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from outcome import write_outcome
from trained import Subject

from forethought.model.registry import resolve
from forethought.reasoning.events import SummaryPartDone, ThinkingDelta
from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.summary import Summarizer, SummarySettings
from forethought.reasoning.summary_words import units
from forethought.settings import load_settings
from forethought.statistics import wilson
from forethought.tasks.distinct import distinct_problems
from forethought.tasks.problem import Problem
from forethought.tasks.registry import families
from forethought.tasks.summary_check import judge_summary

COUNT, AT_ONCE = 300, 32
FIRST_SEED = 1_000_000
"""Of the problems: what the summaries were made better on began with 0."""
LEAST = 28
"""Words, digits and marks of thinking that has a summary: a short title and a short sentence are half of that."""
SHARE = 0.95
PATIENT = SummarySettings(part_seconds=600.0, final_seconds=600.0)
"""What is measured is what is written, not how fast this machine writes it for so many at once."""


def problems() -> list[Problem]:
    """By turns from every level of every family that thinks, more than are needed."""
    columns = [
        distinct_problems(family, level, "test", COUNT // 6, FIRST_SEED)
        for family in families().values()
        for level in range(1, len(family.levels) + 1)
    ]
    return [problem for row in zip_longest(*columns) for problem in row if problem is not None and problem.thinks]


async def summarized(reasoner: Reasoner, summarizer: Summarizer, problem: Problem, seed: int) -> dict[str, Any]:
    """What was thought and what was shown of it."""
    turn = reasoner.turn(problem.conversation, effort="medium", think=True, max_output_tokens=2048, seed=seed)
    thinking = ""
    parts: list[SummaryPartDone] = []
    async for event in summarizer.follow(turn, "auto"):
        if isinstance(event, ThinkingDelta):
            thinking += event.text.reveal()
        elif isinstance(event, SummaryPartDone):
            parts.append(event)
    thought = len(units(thinking))
    verdicts = [judge_summary(thinking, part.text) for part in parts]
    length = sum(len(units(part.text)) for part in parts)
    reason = next((verdict.reason for verdict in verdicts if not verdict.correct), "")
    if not parts:
        reason = "no summary"
    elif any(part.status != "completed" for part in parts):
        reason = reason or "incomplete"
    elif length * 2 > thought:
        reason = reason or "longer than half of the thinking"
    return {
        "family": problem.family,
        "level": problem.level,
        "seed": problem.seed,
        "reason": reason,
        "units": thought,
        "share": length / max(1, thought),
        "parts": [part.text for part in parts],
    }


async def run(options: argparse.Namespace) -> None:
    settings = load_settings()
    async with Subject("model", resolve(options.model, settings), settings) as subject:
        reasoner = await subject.reasoner()
        summarizer = Summarizer(reasoner, PATIENT)
        waiting = enumerate(problems())
        found: dict[int, dict[str, Any]] = {}
        short: list[dict[str, Any]] = []

        async def work() -> None:
            for number, problem in waiting:
                if len(found) >= COUNT + AT_ONCE:
                    return
                one = await summarized(reasoner, summarizer, problem, number)
                if one["units"] < LEAST:
                    short.append(one)
                else:
                    found[number] = one

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    kept = [found[number] for number in sorted(found)][:COUNT]
    good = wilson(sum(not one["reason"] for one in kept), max(1, len(kept)))
    figures = {
        "digest": subject.digest,
        "good": asdict(good),
        "too_short": len(short),
        "reasons_of_too_short": dict(Counter(one["reason"] or "good" for one in short).most_common()),
        "reasons": dict(Counter(one["reason"] or "good" for one in kept).most_common()),
        "examples": kept[:: len(kept) // 12 + 1],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.with_suffix(".jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in (*kept, *short))
    verdict = {
        f"{COUNT} problems were thought about ({len(short)} more in less than {LEAST} units)": len(kept) == COUNT,
        f"at least {SHARE:.0%} of the summaries are usable": good.value >= SHARE,
    }
    write_outcome(options.output, verdict, figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="forethought-mini")
    parser.add_argument("--output", type=Path, default=Path("docs/results/summaries.json"))
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
