"""Acceptance: what the model can do as a base, after its cold start, and after reinforcement learning.

    python tests/acceptance/reason.py [--runs runs] [--output docs/results/reason.json]

For every level of every family, one attempt at 300 held-out problems (pass@1) and eight at 60 (pass@8), with the
model's own distribution (temperature 1); one at 20 also as a server samples. The base, which does not think, answers at
its own temperature behind as many solved examples, with or without their working, as do best on training problems (held
to a call where that does better), and eight times at the temperature that does best there. Two more seeds of the same
reinforcement learning are measured on every third family, and the cold start gone on with for as long on 100 problems
of everything.

It needs the runs of recipes/default.toml (in RUNS/default), recipes/seeds.toml (RUNS/seed-2 and RUNS/seed-3) and
recipes/continued.toml (RUNS/continued), and does not begin where those cannot be compared, unless with --anyway. Takes
hours: what was measured is kept in build/acceptance, and an interrupted run goes on there.
"""

import argparse
import asyncio
import gzip
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from outcome import write_outcome
from reason_report import write_report
from trained import OWN, RUNNER, Subject, cells_of, cost_of, joined, made_by

from forethought.evals.figures import Comparison, Report, compare
from forethought.evals.measurement import Measurement
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Message, ToolCall
from forethought.model.registry import resolve
from forethought.settings import Settings, load_settings
from forethought.tasks.problem import FREE_TEXT
from forethought.tasks.registry import families, family
from forethought.train.run import Run

ONCE, MANY, SAMPLES, SERVED, RIVAL = 300, 60, 8, 20, 100
PROMPTS: tuple[dict[str, Any], ...] = (
    {"examples": 8},
    {"examples": 4},
    {"examples": 4, "worked": True},
    {"examples": 0},
    {"examples": 8, "must_call": True},
    {"examples": 0, "must_call": True},
)
TRIED = 20
"""How the base may be prompted, where a family allows it, the first of equals; and problems of a level that decide."""
WARMER, WARMED = {"temperature": 0.7, "top_p": 0.95}, 5
"""What the base may be sampled with, beside its own defaults, for eight attempts that differ; and problems of a level
that decide."""
EFFORT = "medium"
LEVEL_GOALS = {1: 0.85, 2: 0.60}
GAIN_GOAL = 0.08
CONTINUED = "continued"
COLD, LEARNING, GOING_ON = "cold-5", ("rl-1", "rl-2"), ("continued",)
"""The stages: the cold start, those of reinforcement learning, and those of the rival."""
STAGES = ("cold", "rl")
"""Who is measured in every way."""
AS_SERVED = (*STAGES, CONTINUED)
SEEDS = ("seed-2", "seed-3")
SEED_FAMILIES = list(families())[::3]
"""What the other seeds are measured on."""

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """What was measured, by the name of who was: an attempt at each of many problems, several at each of some, one as a
    server samples; how the base was prompted; and on which processors it was."""

    once: dict[str, Measurement] = field(default_factory=dict)
    many: dict[str, Measurement] = field(default_factory=dict)
    served: dict[str, Measurement] = field(default_factory=dict)
    prompted: dict[str, dict[str, Any]] = field(default_factory=dict)
    processors: dict[str, list[str]] = field(default_factory=dict)


async def by_family(names: Sequence[str], work: Callable[[str], Awaitable[T]]) -> list[T]:
    """What comes of each family. Two are worked on at a time, so that the engine has enough to do while one ends."""
    places = asyncio.Semaphore(2)

    async def one(name: str) -> T:
        async with places:
            return await work(name)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(name)) for name in names]
    return [task.result() for task in tasks]


async def measure_thinker(found: Found, subject: Subject, names: Sequence[str]) -> None:
    """Of a checkpoint that thinks."""

    async def of_family(name: str) -> dict[str, Measurement]:
        cells, own = cells_of([name]), {"effort": EFFORT, "sampling": OWN}
        made: dict[str, Measurement] = {}
        if subject.name in STAGES:
            made["many"] = await subject.measured(f"{name}-many", cells, problems=MANY, samples=SAMPLES, **own)
        if subject.name in AS_SERVED:
            made["served"] = await subject.measured(f"{name}-served", cells, problems=SERVED, samples=1, effort=EFFORT)
        problems = RIVAL if subject.name == CONTINUED else ONCE
        made["once"] = await subject.measured(
            f"{name}-once", cells, made.get("many"), problems=problems, samples=1, **own
        )
        return made

    made = await by_family(names, of_family)
    for kind in made[0]:
        getattr(found, kind)[subject.name] = joined([each[kind] for each in made])


async def measure_base(found: Found, subject: Subject, names: Sequence[str]) -> None:
    """Of the base, prompted as well as possible."""

    async def measured(name: str) -> tuple[Measurement, Measurement]:
        cells = cells_of([name])
        tries: dict[str, Any] = {"effort": None, "split": "train"}
        tried = [
            await subject.measured(f"{name}-prompt-{number}", cells, problems=TRIED, samples=1, **prompt, **tries)
            for number, prompt in enumerate(PROMPTS)
            if allows(name, prompt)
        ]
        best = max(tried, key=lambda each: Report.of(each).pooled.pass_1.value)
        how: dict[str, Any] = {"examples": best.examples, "worked": best.worked, "must_call": best.must_call}
        sampled = [
            await subject.measured(
                f"{name}-sampling-{number}", cells, problems=WARMED, samples=SAMPLES, sampling=sampling, **tries, **how
            )
            for number, sampling in enumerate(({}, WARMER))
        ]
        sampling = max(sampled, key=lambda each: Report.of(each).pooled.pass_k[SAMPLES].value).sampling
        found.prompted[name] = how | {"sampling_of_eight": sampling}
        how["effort"] = None
        many = await subject.measured(f"{name}-many", cells, problems=MANY, samples=SAMPLES, sampling=sampling, **how)
        known = None if sampling else many
        return await subject.measured(f"{name}-once", cells, known, problems=ONCE, samples=1, **how), many

    once, many = zip(*await by_family(names, measured), strict=True)
    found.once[subject.name], found.many[subject.name] = joined(once), joined(many)


def allows(name: str, prompt: dict[str, Any]) -> bool:
    """Whether a family can be prompted so: its answers are plain text, in front of which a working can stand, or calls,
    where one is demanded."""
    problem = family(name).problem(0, 1)
    first, *_ = family(name).solution(problem)
    if prompt.get("must_call"):
        return isinstance(first, ToolCall)
    if prompt.get("worked"):
        return isinstance(first, Message) and problem.thinks and problem.output_format == FREE_TEXT
    return True


def subjects_of(runs: Path, settings: Settings) -> dict[str, Checkpoint]:
    """Who is measured, in this order."""
    subjects = {
        "cold": made_by(runs / "default", COLD, settings),
        "rl": made_by(runs / "default", LEARNING[-1], settings),
        **{seed: made_by(runs / seed, LEARNING[-1], settings) for seed in SEEDS},
        CONTINUED: made_by(runs / CONTINUED, GOING_ON[-1], settings),
    }
    return subjects | {"base": resolve(Run.open(runs / "default").recipe.base, settings)}


async def everything(subjects: dict[str, Checkpoint], settings: Settings) -> Found:
    """Measures them."""
    found = Found()
    for name, checkpoint in subjects.items():
        names = SEED_FAMILIES if name in SEEDS else list(families())
        async with Subject(name, checkpoint, settings) as subject:
            await (measure_base if name == "base" else measure_thinker)(found, subject, names)
            found.processors[name] = subject.processors
    return found


def level_means(report: Report) -> dict[int, float]:
    """The mean of all families' pass@1, for each level."""
    return {
        level: fmean(figures.pass_1.value for cell, figures in report.cells.items() if cell.level == level)
        for level in report.levels
    }


def not_harder(report: Report) -> list[str]:
    """Families whose last level is no harder than their first."""
    found: dict[str, list[float]] = {}
    for cell, figures in report.cells.items():  # in the order of levels
        found.setdefault(cell.family, []).append(figures.pass_1.value)
    return [name for name, values in found.items() if values[-1] >= values[0]]


def complete(measured: Measurement, problems: int, samples: int, names: Iterable[str]) -> bool:
    """Whether there are so many attempts at so many problems of every level of these families, none of them broken."""
    whole = (record for record in measured.records if len(record.samples) >= samples)
    counts = Counter(record.cell for record in whole if not any(sample.error for sample in record.samples))
    return all(counts[cell] >= problems for cell in cells_of(names))


def sizes_are_right(found: Found) -> bool:
    """Whether everybody was measured as often as the page says."""
    every = list(families())
    return (
        all(
            complete(measured, RIVAL if name == CONTINUED else ONCE, 1, SEED_FAMILIES if name in SEEDS else every)
            for name, measured in found.once.items()
        )
        and all(complete(measured, MANY, SAMPLES, every) for measured in found.many.values())
        and all(complete(measured, SERVED, 1, every) for measured in found.served.values())
    )


def on_seed_families(measured: Measurement) -> Measurement:
    """What there is of the families that the other seeds are measured on."""
    return measured.model_copy(
        update={"records": tuple(record for record in measured.records if record.cell.family in SEED_FAMILIES)}
    )


def same_learning(runs: Iterable[Run]) -> bool:
    """Whether these runs of reinforcement learning differ in their seeds, and in nothing that is learned."""
    watched = {"alarms", "save_every", "show_every"}
    recipes = [run.recipe for run in runs]
    plans = [
        [stage.model_dump(exclude=watched) for stage in recipe.stages if stage.name in LEARNING] for recipe in recipes
    ]
    return (
        len({recipe.seed for recipe in recipes}) == len(recipes)
        and all(plan == plans[0] for plan in plans)
        and all(recipe.learner == recipes[0].learner for recipe in recipes)
    )


def same_clock(costs: dict[str, dict[str, Any]]) -> bool:
    """Whether the rival had as long as any run of this reinforcement learning on such a machine, and computed as
    exactly; there is one."""
    rival = costs[CONTINUED]
    runs = [cost for name, cost in costs.items() if name != CONTINUED and cost["machines"] == rival["machines"]]
    longest = max((run["seconds"] for run in runs), default=float("inf"))
    return len(rival["machines"]) == 1 and rival["seconds"] >= 0.99 * longest


def conditions(
    costs: dict[str, dict[str, Any]], runs: Iterable[Run], digests: dict[str, str], shipped: str
) -> dict[str, bool]:
    """What makes these runs comparable, known before anything is measured: `costs` are those of learning after the cold
    start, and `shipped` is the digest of the model in the package."""
    return {
        "three runs of the same recipe of reinforcement learning have seeds of their own": same_learning(runs),
        "all of them began with the same cold start": {cost["began"] for cost in costs.values()} == {digests["cold"]},
        "what was measured is the model in the package": shipped == digests["rl"],
        "the cold start was gone on with for as long, to within 1 %": same_clock(costs),
    }


def demands(
    found: Found,
    means: dict[int, float],
    gains: dict[str, Comparison],
    eights: Comparison,
    rivals: dict[str, Comparison],
) -> dict[str, bool]:
    """What was asked for, and whether it is so; `means` are those of the levels after reinforcement learning."""
    cells = len(cells_of(families()))
    tried = {name: len(cells_of(SEED_FAMILIES)) if name in SEEDS else cells for name in gains}
    verdict = {
        f"every cell has {ONCE} problems, and {MANY} with {SAMPLES} attempts": sizes_are_right(found),
        "whoever is compared tried the same problems": all(
            gains[name].pairs == ONCE * count and rivals[name].pairs == RIVAL * count for name, count in tried.items()
        )
        and eights.pairs == MANY * cells,
    }
    for level, goal in LEVEL_GOALS.items():
        verdict[f"level {level}: mean pass@1 of at least {goal:.0%}"] = means[level] >= goal
    for seed, gain in gains.items():
        pooled, on = gain.pooled.difference, f" on {len(SEED_FAMILIES)} families" if seed in SEEDS else ""
        verdict[f"{seed}: at least {100 * GAIN_GOAL:.0f} points over its cold start{on}, interval above 0"] = (
            pooled.value >= GAIN_GOAL and pooled.low > 0
        )
        verdict[f"{seed}: no family is significantly down{on}"] = not gain.worse()
        beaten = rivals[seed].pooled.difference.low > 0
        verdict[f"{seed}: beats the cold start gone on with{on}, interval above 0"] = beaten
    return verdict | {
        "pass@8 is not significantly down": not (eights.pooled.difference.value < 0 and eights.pooled.p_value <= 0.05)
        and not eights.worse(),
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
    parser.add_argument("--anyway", action="store_true", help="measure runs that cannot be compared")
    options = parser.parse_args()
    settings = load_settings()
    runs = {name: Run.open(options.runs / name) for name in ("default", *SEEDS)}
    costs = {
        "rl": cost_of(options.runs / "default", LEARNING),
        **{seed: cost_of(options.runs / seed, LEARNING) for seed in SEEDS},
        CONTINUED: cost_of(options.runs / CONTINUED, GOING_ON),
    }
    subjects = subjects_of(options.runs, settings)
    digests = {name: checkpoint.digest() for name, checkpoint in subjects.items()}
    before = conditions(costs, runs.values(), digests, resolve("forethought-mini", settings).digest())
    if not (all(before.values()) or options.anyway):
        sys.exit("\n".join(f"NOT MET {condition}" for condition, met in before.items() if not met))
    found = asyncio.run(everything(subjects, settings))
    once, many, served = (
        {name: Report.of(each) for name, each in kind.items()} for kind in (found.once, found.many, found.served)
    )
    gains = {name: compare(found.once["cold"], found.once[name]) for name in ("rl", *SEEDS)}
    eights = compare(found.many["cold"], found.many["rl"], k=SAMPLES)
    rivals = {name: compare(found.once[CONTINUED], found.once[name]) for name in gains}
    figures: dict[str, Any] = {
        "digests": digests,
        "engine": settings.engine.model_dump(mode="json") | RUNNER,
        "processors": found.processors,
        "effort": EFFORT,
        "level_means": {name: level_means(report) for name, report in once.items()},
        "served_level_means": {name: level_means(report) for name, report in served.items()},
        "no_harder_last_level": {name: not_harder(once[name]) for name in ("cold", "rl")},
        "gains": {name: asdict(gain) for name, gain in gains.items()},
        "gain_on_seed_families": asdict(compare(found.once["cold"], on_seed_families(found.once["rl"]))),
        "served_gain": asdict(compare(found.served["cold"], found.served["rl"])),
        "over_continued": {name: asdict(rival) for name, rival in rivals.items()},
        "over_base": {name: asdict(compare(found.once["base"], found.once[name])) for name in STAGES},
        "served_over_continued": asdict(compare(found.served[CONTINUED], found.served["rl"])),
        "pass_8": asdict(eights),
        "costs": costs,
        "base_prompted": found.prompted,
        "once": {name: report.as_json() for name, report in once.items()},
        "many": {name: report.as_json() for name, report in many.items()},
        "served": {name: report.as_json() for name, report in served.items()},
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    samples = options.output.with_name(f"{options.output.stem}-samples.jsonl.gz")
    write_report(options.output.with_suffix(".md"), figures, samples.name)
    write_samples(samples, found)
    write_outcome(options.output, before | demands(found, level_means(once["rl"]), gains, eights, rivals), figures)


if __name__ == "__main__":
    main()
