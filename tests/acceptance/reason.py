"""Acceptance: what the model can do as a base, after its cold start, and after reinforcement learning.

    python tests/acceptance/reason.py [--runs runs] [--output docs/results/reason.json]

For every level of every family, one attempt at 300 held-out problems (pass@1) and eight at 60 (pass@8), with the
model's own distribution (temperature 1). The base, which does not think, answers behind solved examples, at the
temperature that its authors recommend; how many examples is what does best on problems of the training split. Two
more seeds of reinforcement learning from the same cold start, and the cold start gone on with for as long, are measured
on what they have learned.

It needs the runs of recipes/default.toml (in RUNS/default), recipes/seeds.toml (RUNS/seed-2 and RUNS/seed-3) and
recipes/continued.toml (RUNS/continued). Takes hours: what was measured is kept in build/acceptance, and an interrupted
run goes on there.
"""

import argparse
import asyncio
import gzip
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from outcome import write_outcome
from reason_report import write_report
from trained import OWN, Subject, cells_of, joined, made_by, seconds_of

from forethought.evals.figures import Comparison, Report, compare
from forethought.evals.measurement import Measurement
from forethought.model.checkpoint import Checkpoint
from forethought.model.registry import resolve
from forethought.settings import Settings, load_settings
from forethought.tasks.registry import families
from forethought.train.run import Run

ONCE, MANY, SAMPLES, SERVED = 300, 60, 8, 100
EXAMPLES, TRIED = (0, 4, 8), 20
"""Solved examples that the base may see, and problems of a level that decide between them."""
EFFORT = "medium"
LEVEL_GOALS = {1: 0.85, 2: 0.60}
GAIN_GOAL = 0.08
COLD, RL, CONTINUED = "cold-2", "rl", "continued"


@dataclass(frozen=True)
class Measured:
    """A checkpoint's attempts: one at each of many problems, and several at each of some."""

    once: Measurement
    many: Measurement


async def served(subject: Subject, names: Sequence[str]) -> Measurement:
    """One attempt at each of fewer problems, sampled as a server samples: colder than the model's own distribution."""
    return joined(
        [
            await subject.measured(f"{name}-served", cells_of([name]), problems=SERVED, samples=1, effort=EFFORT)
            for name in names
        ]
    )


async def attempts(subject: Subject, names: Sequence[str]) -> Measured:
    """Of a checkpoint that thinks."""
    how: dict[str, Any] = {"effort": EFFORT, "sampling": OWN}
    once = [await subject.measured(f"{n}-once", cells_of([n]), problems=ONCE, samples=1, **how) for n in names]
    many = [await subject.measured(f"{n}-many", cells_of([n]), problems=MANY, samples=SAMPLES, **how) for n in names]
    return Measured(joined(once), joined(many))


async def base_attempts(subject: Subject, names: Sequence[str]) -> Measured:
    """Of the base, prompted as well as possible."""
    once: list[Measurement] = []
    many: list[Measurement] = []
    for name in names:
        cells = cells_of([name])
        tried = [
            await subject.measured(
                f"{name}-examples-{count}", cells, problems=TRIED, samples=1, effort=None, examples=count, split="train"
            )
            for count in EXAMPLES
        ]
        best = max(tried, key=lambda found: Report.of(found).pooled.pass_1.value)
        how: dict[str, Any] = {"effort": None, "examples": best.examples}
        once.append(await subject.measured(f"{name}-once", cells, problems=ONCE, samples=1, **how))
        many.append(await subject.measured(f"{name}-many", cells, problems=MANY, samples=SAMPLES, **how))
    return Measured(joined(once), joined(many))


@dataclass(frozen=True)
class Found:
    """All attempts by the name of who made them, and everybody's digest."""

    attempts: dict[str, Measured]
    served: dict[str, Measurement]
    digests: dict[str, str]


async def everything(runs: Path, settings: Settings) -> Found:
    """Measures whoever there is."""
    every = list(families())
    base = resolve(Run.open(runs / "default").recipe.base, settings)
    subjects: dict[str, tuple[Checkpoint, list[str]]] = {
        "cold": (made_by(runs / "default", COLD, settings), every),
        "rl": (made_by(runs / "default", RL, settings), every),
    }
    for seed in ("seed-2", "seed-3"):
        subjects[seed] = (made_by(runs / seed, RL, settings), list(Run.open(runs / seed).recipe.stages[-1].families))
    subjects[CONTINUED] = (made_by(runs / CONTINUED, CONTINUED, settings), every)
    found = Found({}, {}, {})
    async with Subject("base", base, settings) as subject:
        found.attempts["base"], found.digests["base"] = await base_attempts(subject, every), subject.digest
    for name, (checkpoint, names) in subjects.items():
        async with Subject(name, checkpoint, settings) as subject:
            found.attempts[name], found.digests[name] = await attempts(subject, names), subject.digest
            if name in ("cold", "rl"):
                found.served[name] = await served(subject, names)
    return found


def level_means(measured: Measurement) -> dict[int, float]:
    """The mean of all families' pass@1, for each level."""
    cells = Report.of(measured).cells.items()
    levels = sorted({cell.level for cell, _ in cells})
    return {level: fmean(f.pass_1.value for cell, f in cells if cell.level == level) for level in levels}


def demands(found: dict[str, Measured], gains: dict[str, Comparison], eights: Comparison) -> dict[str, bool]:
    """What was asked for, and whether it is so."""
    means = level_means(found["rl"].once)
    rivals = compare(found[CONTINUED].once, found["rl"].once).pooled
    cold = Report.of(found["cold"].once).cells
    firsts = [cell for cell in cold if cell.level == 1]
    lasts = [max(cell for cell in cold if cell.family == first.family) for first in firsts]
    verdict = {
        "in every family, the last level is harder than the first (for the cold start)": all(
            cold[first].pass_1.value > cold[last].pass_1.value for first, last in zip(firsts, lasts, strict=True)
        )
    }
    for level, goal in LEVEL_GOALS.items():
        verdict[f"level {level}: mean pass@1 of at least {goal:.0%}"] = means[level] >= goal
    for seed, gain in gains.items():
        pooled = gain.pooled.difference
        verdict[f"{seed}: at least {100 * GAIN_GOAL:.0f} points over its cold start, interval above 0"] = (
            pooled.value >= GAIN_GOAL and pooled.low > 0
        )
    return verdict | {
        "reinforcement learning beats the cold start gone on with": rivals.difference.low > 0,
        "no family is significantly down": not gains["rl"].worse(),
        "pass@8 is not significantly down": not (eights.pooled.difference.value < 0 and eights.pooled.p_value <= 0.05),
    }


def write_samples(path: Path, found: dict[str, Measured]) -> None:
    """Every problem and the outcomes of its attempts, a line each."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for name, measured in found.items():
            for many, measurement in enumerate((measured.once, measured.many)):
                for record in measurement.records:
                    outcomes = "".join(str(int(sample.correct)) for sample in record.samples)
                    line = (
                        name,
                        ("once", "many")[many],
                        *asdict(record.cell).values(),
                        record.seed,
                        record.key,
                        outcomes,
                    )
                    file.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/reason.json"))
    options = parser.parse_args()
    settings = load_settings()
    measured = asyncio.run(everything(options.runs, settings))
    found = measured.attempts
    cold = found["cold"]
    gains = {name: compare(cold.once, found[name].once) for name in ("rl", "seed-2", "seed-3")}
    eights = compare(cold.many, found["rl"].many, k=SAMPLES)
    figures: dict[str, Any] = {
        "digests": measured.digests,
        "engine": settings.engine.model_dump(mode="json"),
        "effort": EFFORT,
        "level_means": {name: level_means(each.once) for name, each in found.items()},
        "served_level_means": {name: level_means(each) for name, each in measured.served.items()},
        "served_gain": asdict(compare(measured.served["cold"], measured.served["rl"])),
        "gains": {name: asdict(gain) for name, gain in gains.items()},
        "over_continued": asdict(compare(found[CONTINUED].once, found["rl"].once)),
        "pass_8": asdict(eights),
        "seconds": {
            "rl": seconds_of(options.runs / "default", RL),
            CONTINUED: seconds_of(options.runs / CONTINUED, CONTINUED),
        },
        "served": {name: Report.of(each).as_json() for name, each in measured.served.items()},
        "once": {name: Report.of(each.once).as_json() for name, each in found.items()},
        "many": {name: Report.of(each.many).as_json() for name, each in found.items()},
    }
    write_report(options.output.with_suffix(".md"), figures)
    write_samples(options.output.with_name(f"{options.output.stem}-samples.jsonl.gz"), found)
    write_outcome(options.output, demands(found, gains, eights), figures)


if __name__ == "__main__":
    main()
