"""Acceptance: what the model can do as a base, after its cold start, and after reinforcement learning.

    python tests/acceptance/reason.py [--runs runs] [--output docs/results/reason.json]

For every level of every family, one attempt at 300 held-out problems (pass@1) and eight at 60 (pass@8), with the
model's own distribution (temperature 1); one at 40 also as a server samples. The base, which does not think, answers
behind solved examples; how many, and how cold, is what does best on problems of the training split. Two more seeds of
reinforcement learning from the same cold start are measured on what they have learned, and the cold start gone on with
for as long on 100 problems of everything.

It needs the runs of recipes/default.toml (in RUNS/default), recipes/seeds.toml (RUNS/seed-2 and RUNS/seed-3) and
recipes/continued.toml (RUNS/continued). Takes hours: what was measured is kept in build/acceptance, and an interrupted
run goes on there.
"""

import argparse
import asyncio
import gzip
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
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

ONCE, MANY, SAMPLES, SERVED, RIVAL = 300, 60, 8, 40, 100
EXAMPLES, TRIED = (0, 4, 8), 20
"""Solved examples that the base may see, and problems of a level that decide between them."""
WARMER = {"temperature": 0.7, "top_p": 0.95}
"""What the base may be sampled with, beside its own defaults, for eight attempts that differ."""
EFFORT = "medium"
LEVEL_GOALS = {1: 0.85, 2: 0.60}
GAIN_GOAL = 0.08
COLD, RL, CONTINUED = "cold-2", "rl", "continued"
SEEDS = ("seed-2", "seed-3")


@dataclass(frozen=True)
class Found:
    """What was measured, by the name of who was: an attempt at each of many problems, several at each of some, one as a
    server samples; everybody's digest; and how the base was prompted."""

    once: dict[str, Measurement] = field(default_factory=dict)
    many: dict[str, Measurement] = field(default_factory=dict)
    served: dict[str, Measurement] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    prompted: dict[str, dict[str, Any]] = field(default_factory=dict)


async def one_by_one(subject: Subject, kind: str, names: Sequence[str], **how: Any) -> Measurement:
    """The families' measurements of a kind, as one."""
    return joined([await subject.measured(f"{name}-{kind}", cells_of([name]), **how) for name in names])


async def measure_thinker(found: Found, subject: Subject, names: Sequence[str]) -> None:
    """Of a checkpoint that thinks."""
    found.digests[subject.name] = subject.digest
    own: dict[str, Any] = {"effort": EFFORT, "sampling": OWN}
    problems = RIVAL if subject.name == CONTINUED else ONCE
    found.once[subject.name] = await one_by_one(subject, "once", names, problems=problems, samples=1, **own)
    if subject.name in ("cold", "rl"):
        found.many[subject.name] = await one_by_one(subject, "many", names, problems=MANY, samples=SAMPLES, **own)
        found.served[subject.name] = await one_by_one(
            subject, "served", names, problems=SERVED, samples=1, effort=EFFORT
        )


async def measure_base(found: Found, subject: Subject, names: Sequence[str]) -> None:
    """Of the base, prompted as well as possible."""
    found.digests[subject.name] = subject.digest
    once: list[Measurement] = []
    many: list[Measurement] = []
    for name in names:
        cells = cells_of([name])
        tries: dict[str, Any] = {"problems": TRIED, "effort": None, "split": "train"}
        tried = [
            await subject.measured(f"{name}-examples-{count}", cells, samples=1, examples=count, **tries)
            for count in EXAMPLES
        ]
        examples = max(tried, key=lambda each: Report.of(each).pooled.pass_1.value).examples
        sampled = [
            await subject.measured(
                f"{name}-sampling-{number}", cells, samples=SAMPLES, examples=examples, sampling=sampling, **tries
            )
            for number, sampling in enumerate(({}, WARMER))
        ]
        sampling = max(sampled, key=lambda each: Report.of(each).pooled.pass_k[SAMPLES].value).sampling
        found.prompted[name] = {"examples": examples, "sampling_of_eight": sampling}
        how: dict[str, Any] = {"effort": None, "examples": examples}
        once.append(await subject.measured(f"{name}-once", cells, problems=ONCE, samples=1, **how))
        many.append(
            await subject.measured(f"{name}-many", cells, problems=MANY, samples=SAMPLES, sampling=sampling, **how)
        )
    found.once[subject.name], found.many[subject.name] = joined(once), joined(many)


async def everything(runs: Path, settings: Settings) -> Found:
    """Measures whoever there is."""
    every, found = list(families()), Found()
    base = resolve(Run.open(runs / "default").recipe.base, settings)
    subjects: dict[str, tuple[Checkpoint, list[str]]] = {
        "cold": (made_by(runs / "default", COLD, settings), every),
        "rl": (made_by(runs / "default", RL, settings), every),
    }
    for seed in SEEDS:
        subjects[seed] = (made_by(runs / seed, RL, settings), list(Run.open(runs / seed).recipe.stages[-1].families))
    subjects[CONTINUED] = (made_by(runs / CONTINUED, CONTINUED, settings), every)
    async with Subject("base", base, settings) as subject:
        await measure_base(found, subject, every)
    for name, (checkpoint, names) in subjects.items():
        async with Subject(name, checkpoint, settings) as subject:
            await measure_thinker(found, subject, names)
    return found


def level_means(measured: Measurement) -> dict[int, float]:
    """The mean of all families' pass@1, for each level."""
    cells = Report.of(measured).cells.items()
    levels = sorted({cell.level for cell, _ in cells})
    return {level: fmean(f.pass_1.value for cell, f in cells if cell.level == level) for level in levels}


def not_harder(measured: Measurement) -> list[str]:
    """Families whose last level is no harder than their first."""
    cells = Report.of(measured).cells
    firsts = [cell for cell in cells if cell.level == 1]
    lasts = [max(cell for cell in cells if cell.family == first.family) for first in firsts]
    pairs = zip(firsts, lasts, strict=True)
    return [first.family for first, last in pairs if cells[last].pass_1.value >= cells[first].pass_1.value]


def sizes_are_right(found: Found) -> bool:
    """Whether every cell has as many problems as are asked for."""
    enough = [(measured, RIVAL if name == CONTINUED else ONCE) for name, measured in found.once.items()]
    enough += [(measured, MANY) for measured in found.many.values()]
    return all(
        figures.problems >= least for measured, least in enough for figures in Report.of(measured).cells.values()
    )


def demands(
    found: Found, gains: dict[str, Comparison], eights: Comparison, seconds: dict[str, float], seeds: set[int]
) -> dict[str, bool]:
    """What was asked for, and whether it is so."""
    means = level_means(found.once["rl"])
    rivals = compare(found.once[CONTINUED], found.once["rl"]).pooled
    verdict = {
        f"every cell has {ONCE} problems, and {MANY} with {SAMPLES} attempts": sizes_are_right(found),
        "three runs of reinforcement learning have seeds of their own": len(seeds) == 1 + len(SEEDS),
    }
    for level, goal in LEVEL_GOALS.items():
        verdict[f"level {level}: mean pass@1 of at least {goal:.0%}"] = means[level] >= goal
    for seed, gain in gains.items():
        pooled = gain.pooled.difference
        verdict[f"{seed}: at least {100 * GAIN_GOAL:.0f} points over its cold start, interval above 0"] = (
            pooled.value >= GAIN_GOAL and pooled.low > 0
        )
        verdict[f"{seed}: no family is significantly down"] = not gain.worse()
    return verdict | {
        "the cold start was gone on with for as long": seconds[CONTINUED] >= 0.95 * seconds[RL],
        "reinforcement learning beats the cold start gone on with": rivals.difference.low > 0,
        "pass@8 is not significantly down": not (eights.pooled.difference.value < 0 and eights.pooled.p_value <= 0.05),
    }


def write_samples(path: Path, found: Found) -> None:
    """Every problem and the outcomes of its attempts, a line each."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for kind in ("once", "many", "served"):
            for name, measured in getattr(found, kind).items():
                for record in measured.records:
                    outcomes = "".join(str(int(sample.correct)) for sample in record.samples)
                    line = (name, kind, record.cell.family, record.cell.level, record.seed, record.key, outcomes)
                    file.write(json.dumps(line) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/reason.json"))
    options = parser.parse_args()
    settings = load_settings()
    seconds = {
        RL: seconds_of(options.runs / "default", RL),
        CONTINUED: seconds_of(options.runs / CONTINUED, CONTINUED),
    }
    seeds = {Run.open(options.runs / name).recipe.seed for name in ("default", *SEEDS)}
    found = asyncio.run(everything(options.runs, settings))
    gains = {name: compare(found.once["cold"], found.once[name]) for name in ("rl", *SEEDS)}
    eights = compare(found.many["cold"], found.many["rl"], k=SAMPLES)
    figures: dict[str, Any] = {
        "digests": found.digests,
        "engine": settings.engine.model_dump(mode="json"),
        "effort": EFFORT,
        "level_means": {name: level_means(each) for name, each in found.once.items()},
        "served_level_means": {name: level_means(each) for name, each in found.served.items()},
        "no_harder_last_level": {name: not_harder(found.once[name]) for name in ("cold", "rl")},
        "gains": {name: asdict(gain) for name, gain in gains.items()},
        "served_gain": asdict(compare(found.served["cold"], found.served["rl"])),
        "over_continued": asdict(compare(found.once[CONTINUED], found.once["rl"])),
        "pass_8": asdict(eights),
        "seconds": seconds,
        "base_prompted": found.prompted,
        "once": {name: Report.of(each).as_json() for name, each in found.once.items()},
        "many": {name: Report.of(each).as_json() for name, each in found.many.items()},
        "served": {name: Report.of(each).as_json() for name, each in found.served.items()},
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_report(options.output.with_suffix(".md"), figures)
    write_samples(options.output.with_name(f"{options.output.stem}-samples.jsonl.gz"), found)
    write_outcome(options.output, demands(found, gains, eights, seconds, seeds), figures)


if __name__ == "__main__":
    main()
