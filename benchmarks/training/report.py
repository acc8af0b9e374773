"""Turns the steps of the contestants, and the judgement of what they learned, into tables."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

from comparison.report import markdown, number
from forethought.statistics import bootstrap_mean, paired_difference
from training.contestants import OURS, THEIRS, TITLES

Result = dict[str, Any]

TIMED = 3
"""Steps that times are taken from, behind the first one. Later, who learns faster also writes other answers."""

QUIET = 0.1
"""Share of the CPU time that others may take meanwhile."""

BASE = "base"
"""The base as it came, among those that are judged."""


@dataclass(frozen=True)
class Line:
    """One line of the table. Less is better in every one; `brief` reads our steps with the same work as TRL's, None the
    worse of all our runs."""

    title: str
    unit: str
    read: Callable[[Result], float | None]
    brief: bool | None = False
    goal: float | None = None


def timed(key: str) -> Callable[[Result], float | None]:
    """The median of a figure over the timed steps; "learning" is all that is not sampling."""

    def read(result: Result) -> float | None:
        steps = result["steps"][1 : 1 + TIMED] or result["steps"]
        if not steps:
            return None
        return median(step["seconds"] - step["sampling"] if key == "learning" else step[key] for step in steps)

    return read


def peak(result: Result) -> float | None:
    """Most memory until the end of the last step."""
    return max((step["peak_mib"] for step in result["steps"]), default=None)


LINES = (
    Line("a step", "s", timed("seconds"), brief=True, goal=4.0),
    Line("of it sampling", "s", timed("sampling"), brief=True),
    Line("of it learning", "s", timed("learning"), brief=True),
    Line("a step as an RL stage takes it, groups without variance left out", "s", timed("seconds")),
    Line("peak memory", "MiB", peak, brief=None, goal=1.0),
)


def table(document: dict[str, Any]) -> str:
    """What a step costs."""
    rows = []
    for train, title in TITLES.items():
        for line in LINES:
            mine = [r for r in runs(document, OURS, train) if line.brief in (None, r["brief"])]
            values = [worst(line, mine), worst(line, runs(document, THEIRS, train))]
            ratio = values[1] / values[0] if all(values) else None
            cells = [f"{title}: {line.title} ({line.unit})", *map(number, values)]
            goal = f"{line.goal:.0f}×" if line.goal else ""
            rows.append([*cells, "–" if ratio is None else f"{ratio:.2f}×", goal])
    return markdown(["", OURS, THEIRS, "ratio", "goal"], rows)


def rewards(document: dict[str, Any]) -> str:
    """What was learned in the same time, by problems that nobody trained on."""
    judged: dict[str, list[list[float]]] = document["judged"]
    rows = []
    if BASE in judged:
        rows.append(["the base", "", "", share(judged[BASE]), "", ""])
    for train, title in TITLES.items():
        pair = [r for trainer in (OURS, THEIRS) for r in runs(document, trainer, train) if not r["brief"]]
        for result in pair:
            steps, rewarded = result["steps"], judged.get(result["key"])
            cells = [f"{result['trainer']}, {title}", str(len(steps)), f"{steps[-1]['at']:.0f}" if steps else "–"]
            cells += [share(rewarded) if rewarded else "–", gain(judged.get(BASE), rewarded)]
            theirs = next((other["key"] for other in pair if other["trainer"] == THEIRS), "")
            cells.append(gain(judged.get(theirs), rewarded) if result["trainer"] == OURS else "")
            rows.append(cells)
    return markdown(["", "steps", "seconds", "reward", "gain over the base", f"more than {THEIRS}'s"], rows)


def details(document: dict[str, Any]) -> str:
    """Every contestant's steps, in short."""
    header = ["contestant", "steps", "s a step", "sampling", "learning", "tokens a step", "without variance"]
    rows = []
    for result in document["results"]:
        steps = result["steps"]
        cells = [number(timed(key)(result)) for key in ("seconds", "sampling", "learning", "tokens")]
        flat = f"{fmean(step['flat'] for step in steps):.0%}" if steps else "–"
        rows.append([result["key"], str(len(steps)), *cells, flat])
    return markdown(header, rows)


def runs(document: dict[str, Any], trainer: str, train: str) -> list[Result]:
    """All that a trainer has run. TRL has nothing brief: it does the same work in any case."""
    return [result for result in document["results"] if (result["trainer"], result["train"]) == (trainer, train)]


def worst(line: Line, results: list[Result]) -> float | None:
    """The highest figure of a line."""
    return max((value for result in results if (value := line.read(result)) is not None), default=None)


def share(groups: list[list[float]]) -> str:
    """A mean reward with its interval."""
    mean = bootstrap_mean(groups)
    return f"{mean.value:.1%} ({mean.low:.1%} – {mean.high:.1%})"


def gain(before: list[list[float]] | None, after: list[list[float]] | None) -> str:
    """How much more the second got on the same problems, in points."""
    if not before or not after:
        return "–"
    paired = paired_difference([fmean(group) for group in before], [fmean(group) for group in after])
    more = paired.difference
    return f"{100 * more.value:+.1f} ({100 * more.low:+.1f} – {100 * more.high:+.1f})"


def disturbed(document: dict[str, Any]) -> str:
    """A warning that names what was measured on a busy machine; empty when nothing was."""
    keys = [r["key"] for r in document["results"] if r["others_share"] + r["stolen_share"] > QUIET]
    return (
        f"\n**Do not use these figures**: the machine was busy with other things ({', '.join(keys)}).\n" if keys else ""
    )


def problems(document: dict[str, Any]) -> str:
    """What did not work."""
    return "".join(f"- {failure}\n" for failure in document["failures"])


def publish(folder: Path, document: dict[str, Any]) -> None:
    """Writes `rl-benchmark.json` and `rl-benchmark.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rl-benchmark.json").write_text(json.dumps(document, indent=1) + "\n")
    machine, work = document["machine"], document["workload"]
    versions = {name: v for result in document["results"] for name, v in result["versions"].items()}
    failures = problems(document)
    (folder / "rl-benchmark.md").write_text(f"""# Reinforcement learning compared

Written by `benchmarks/rl.py`; `benchmarks/README.md` says how the figures are made. Do not edit.

{machine["cpu"]} ({", ".join(machine["instructions"])}), {document["threads"]} of {machine["cores"]} cores,
{machine["memory_gib"]} GiB, {machine["system"]}, Python {machine["python"]}. Versions:
{", ".join(f"{name} {version}" for name, version in sorted(versions.items()))}.

Steps of {work["prompts"]} problems × {work["samples"]} attempts of at most {work["new_tokens"]} tokens:
{work["family"]}, level {work["level"]}, prompts of {work["prompt_tokens"]:.0f} tokens on average. Arithmetic in
{document["dtype"]}.
{disturbed(document)}
## What a step costs

Medians of up to {TIMED} steps behind the first, or the first where it is the only one. A ratio above 1 means that we
are better.

{table(document)}

## What is learned in {document["seconds"]:.0f} seconds

Share of right answers to {work["held_out"]} problems that nobody trained on, {work["held_out_samples"]} attempts at
each, sampled by our engine for all; with 95 % intervals over problems. Gains are in points. A step that has begun is
finished.

{rewards(document)}

## Every contestant

{details(document)}

Share of CPU time that went to other processes (and that the hypervisor took away) meanwhile:
{"; ".join(f"{r['key']} {r['others_share']:.0%} ({r['stolen_share']:.1%})" for r in document["results"])}.
{f"{chr(10)}## What did not work{chr(10)}{chr(10)}{failures}" if failures else ""}""")
