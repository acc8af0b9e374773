"""Turns the figures of `front_end.py` into tables."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from comparison.report import markdown
from load.servers import OURS, THEIRS
from load.workload import REAL, Api

EVENTS_GOAL, COST_GOAL = 2.0, 0.05
QUIET = 0.1
"""Share of the CPU time that others may take."""


def best(document: dict[str, Any], server: str, api: Api, rate: float | None, *keys: str) -> float | None:
    """The best round of a figure: the highest speed at any rate (None), or the lowest latency at one of them."""
    runs = [run for run in document["scripted"] if (run["server"], run["api"]) == (server, api.value)]
    if rate is not None:
        runs = [run for run in runs if run["rate"] == rate]
    values: list[float] = []
    for run in runs:
        value = run
        for key in keys:
            value = value[key] if value else None
        values += [] if value is None else [value]
    return (max if rate is None else min)(values, default=None)


def line(
    document: dict[str, Any], title: str, api: Api, rate: float | None, *keys: str, scale: float = 1.0
) -> list[str]:
    """A line of the table. A ratio above 1 means that we are better."""
    mine, theirs = (best(document, server.name, api, rate, *keys) for server in (OURS, THEIRS))
    cells = [
        "–" if value is None else f"{value * scale:,.{0 if value * scale >= 100 else 1}f}" for value in (mine, theirs)
    ]
    ratio = None if mine is None or theirs is None else mine / theirs if rate is None else theirs / mine
    goal = f"{EVENTS_GOAL:.0f}×" if rate is None else ""
    return [f"{api.value}: {title}", *cells, "–" if ratio is None else f"{ratio:.2f}×", goal]


def table(document: dict[str, Any]) -> str:
    """Both servers over scripted engines."""
    rates = sorted({run["rate"] for run in document["scripted"]} - {0})
    lines = []
    for api in Api:
        lines.append(line(document, "events/s, most", api, None, "events_per_second"))
        for rate in rates:
            at = f"at {rate:,.0f} tok/s"
            for share in ("p50", "p99"):
                lines.append(line(document, f"added latency {share}, ms, {at}", api, rate, "latency", share, scale=1e3))
            lines.append(line(document, f"CPU µs a token, {at}", api, rate, "server_seconds_per_token", scale=1e6))
        lines.append(line(document, "first event p50, ms, all at once", api, 0, "first_event", "p50", scale=1e3))
    return markdown(["", OURS.name, THEIRS.name, "ratio", "goal"], lines)


def cost(document: dict[str, Any]) -> str:
    """What the API takes from the real engine."""
    alone = [run["tokens"] / run["seconds"] for run in document["real"] if run["api"] is None]
    if not alone:
        return ""
    rows = [
        ["engine alone", f"{median(alone):,.0f}", f"{min(alone):,.0f} – {max(alone):,.0f}", str(len(alone)), "", ""]
    ]
    for api in Api:
        speeds = [run["tokens"] / run["seconds"] for run in document["real"] if run["api"] == api.value]
        if speeds:
            lost = 1 - median(speeds) / median(alone)
            spread = f"{min(speeds):,.0f} – {max(speeds):,.0f}"
            row = [api.value, f"{median(speeds):,.0f}", spread, str(len(speeds)), f"{lost:.1%}", f"{COST_GOAL:.0%}"]
            rows.append(row)
    return markdown(["", "tok/s, median", "range", "n", "cost", "goal"], rows)


def disturbed(document: dict[str, Any]) -> str:
    """A warning, if the machine was busy with other things before one of the rounds."""
    busiest = max(document["busy"], default=0.0)
    if busiest <= QUIET:
        return ""
    return f"\n**Do not use these figures**: other programs took {busiest:.0%} of the CPU time.\n"


def publish(folder: Path, document: dict[str, Any]) -> None:
    """Writes `front-end.json` and `front-end.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "front-end.json").write_text(json.dumps(document, indent=1) + "\n")
    machine, streams = document["machine"], document["streams"]
    failures = "".join(f"- {failure}\n" for failure in document["failures"])
    (folder / "front-end.md").write_text(f"""# Front ends compared

Written by `benchmarks/front_end.py`; `benchmarks/README.md` says how the figures are made. Do not edit.

{machine["cpu"]} ({", ".join(machine["instructions"])}), {machine["cores"]} cores, {machine["system"]}, Python
{machine["python"]}, {", ".join(f"{name} {version}" for name, version in document["versions"].items())}.
{disturbed(document)}
## Scripted engines, {streams:,} streams of {document["tokens"]} tokens at once, one server process on one core

Best of n = {document["rounds"]}. A ratio above 1 means that we are better. Added latency: from the moment at which
the engine emits a token to the moment at which the client has read it; all streams have their tokens together, as in a
batch.

{table(document)}

## The real engine, {REAL.streams} streams of up to {REAL.tokens} tokens, on both cores with server and client

{cost(document)}
{f"{chr(10)}## What did not work{chr(10)}{chr(10)}{failures}" if failures else ""}""")
