"""Turns results into the table of ratios, the details under it, and a picture."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from comparison.engines import ENGINES, OURS, REFERENCE
from comparison.workload import ROWS

Result = dict[str, Any]

QUIET = 0.1
"""Share of the CPU time that others may take while an engine is measured."""


@dataclass(frozen=True)
class Line:
    """One line of the table: how to read it out of a result, and what counts as good."""

    title: str
    unit: str
    read: Callable[[Result], float | None]
    higher_is_better: bool = True
    goal: float | None = None

    def best(self, results: list[Result]) -> Result | None:
        """The result with the best value, if any has one."""
        having = [result for result in results if self.read(result) is not None]
        return (max if self.higher_is_better else min)(having, key=self.read) if having else None

    def ratio(self, ours: Result, peers: list[Result]) -> float | None:
        """How many times better we are than the best peer; above 1 is better, in every line."""
        peer, mine = self.best(peers), self.read(ours)
        if peer is None or mine is None:
            return None
        return mine / self.read(peer) if self.higher_is_better else self.read(peer) / mine


def speed(name: str, tokens: int, pick: Callable[[list[float]], float] = min) -> Callable[[Result], float | None]:
    """Tokens per second of a row, from the time that `pick` takes out of its runs."""
    return lambda result: tokens / pick(result["rows"][name]["seconds"]) if name in result["rows"] else None


def memory(name: str) -> Callable[[Result], float | None]:
    """Peak memory up to the end of a row's first run."""
    return lambda result: result["rows"].get(name, {}).get("peak_mib") or None  # 0: it was gone too soon


def first_token(result: Result) -> float | None:
    """Seconds from starting the process to its first token."""
    return min(result["first_token"], default=None)


LINES = (
    *(Line(row.title, "tok/s", speed(row.name, row.tokens), goal=row.goal) for row in ROWS),
    Line("cold start to first token", "s", first_token, higher_is_better=False),
    Line("peak memory, batch 1", "MiB", memory("decode-1"), higher_is_better=False),
    Line("peak memory, up to batch 128", "MiB", memory("decode-128"), higher_is_better=False),
)


def number(value: float | None) -> str:
    """Three figures that matter, or a dash."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(header: list[str], lines: list[list[str]]) -> str:
    """A Markdown table with all columns but the first aligned to the right."""
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *lines))


def table(results: list[Result]) -> str:
    """Line by line: each of our configurations, the best of each peer, and the ratio to the best peer."""
    mine = [result for result in results if result["engine"] == OURS]
    peers = [result for result in results if result["engine"] != OURS]
    header = ["", *(f"{OURS} {result['configuration']}" for result in mine), *ENGINES[1:]]
    header += [*(f"ratio {result['configuration']}" for result in mine), "goal"]
    lines = []
    for line in LINES:
        cells = [f"{line.title} ({line.unit})", *(number(line.read(result)) for result in mine)]
        winner = line.best(peers)
        for engine in ENGINES[1:]:
            best = line.best([result for result in peers if result["engine"] == engine])
            text = number(line.read(best) if best else None)
            cells.append(f"**{text}**" if best and best is winner else text)
        ratios = (line.ratio(result, peers) for result in mine)
        cells += [*("–" if ratio is None else f"{ratio:.2f}×" for ratio in ratios)]
        lines.append([*cells, f"{line.goal}×" if line.goal else ""])
    return markdown(header, lines)


def disturbed(results: list[Result]) -> str:
    """A warning that names what was measured on a busy machine; empty when nothing was."""
    measured = [result for result in results if result["rows"]]
    keys = [result["key"] for result in measured if result["others_share"] + result["stolen_share"] > QUIET]
    if not keys:
        return ""
    return (
        f"\n**Do not use these figures**: the machine was busy with other things. Repeat `--only {' '.join(keys)}`.\n"
    )


def details(results: list[Result]) -> str:
    """Every configuration: best (median) of each row."""
    header = ["configuration", "weights", *(row.name for row in ROWS), "cold start"]
    lines = []
    for result in results:
        cells = [result["key"], result["weights"]]
        for row in ROWS:
            best = number(speed(row.name, row.tokens)(result))
            middle = number(speed(row.name, row.tokens, median)(result))
            runs = len(result["rows"].get(row.name, {}).get("seconds", []))
            cells.append(f"{best} ({middle}, n={runs})" if runs else "–")
        starts = result["first_token"]
        cells.append(f"{number(min(starts))} ({number(median(starts))}, n={len(starts)})" if starts else "–")
        lines.append(cells)
    return markdown(header, lines)


def answers(results: list[Result]) -> str:
    """What each configuration says to the fixed prompt, and how far it agrees with the reference."""
    references = [r["greedy"]["ids"] for r in results if r["configuration"] == REFERENCE and "greedy" in r]
    reference = references[0] if references else []
    lines = []
    for result in results:
        if "greedy" not in result:
            lines.append([result["key"], "–", result["error"] or "–"])
            continue
        ids = result["greedy"]["ids"]
        pairs = list(zip(ids, reference, strict=False))
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))
        text = result["greedy"]["text"].replace("\n", " ⏎ ").replace("|", "\\|")
        lines.append([result["key"], f"{same} of {len(ids)}", text])
    return markdown(["configuration", "same as transformers float32", "first 32 greedy tokens"], lines)


def publish(folder: Path, document: dict[str, Any]) -> None:
    """Writes `engine-benchmark.json`, `.md` and `.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    results = document["results"]
    (folder / "engine-benchmark.json").write_text(json.dumps(document, indent=1) + "\n")
    versions = {k: v for result in results for k, v in result.get("versions", {}).items()}
    problems = [f"- {result['key']}: {result['error']}" for result in results if result["error"]]
    machine = document["machine"]
    text = f"""# Engines compared

Written by `benchmarks/engine.py`; `benchmarks/README.md` says how the figures are made. Do not edit.

{machine["cpu"]} ({", ".join(machine["instructions"])}), {machine["cores"]} cores, {machine["memory_gib"]} GiB,
{machine["system"]}, Python {machine["python"]}. Versions:
{", ".join(f"{name} {version}" for name, version in sorted(versions.items()))}.

Best of n runs. For each peer its best configuration; the best peer of a line is bold. A ratio above 1 means that we are
better than the best peer, in every line.

{table(results)}
{disturbed(results)}
![The same figures as bars](engine-benchmark.png)

## Every configuration

Tokens per second (seconds for the cold start): best (median, number of runs).

{details(results)}

Share of CPU time that went to other processes (and that the hypervisor took away) meanwhile:
{"; ".join(f"{r['key']} {r['others_share']:.0%} ({r['stolen_share']:.1%})" for r in results)}.

## They compute the same model

{answers(results)}
"""
    if problems:
        text += "\n## What did not work\n\n" + "\n".join(problems) + "\n"
    (folder / "engine-benchmark.md").write_text(text)
    picture(folder / "engine-benchmark.png", results)


def picture(path: Path, results: list[Result]) -> None:
    """Bars for each line: ours in colour, each peer's best in grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 5, figsize=(17, 6.5), layout="constrained")
    for line, panel in zip(LINES, panels.flat, strict=True):
        bars: list[tuple[str, float, str]] = []
        for engine in ENGINES:
            group = [result for result in results if result["engine"] == engine]
            if engine == OURS:
                bars += [(f"{OURS}\n{r['configuration']}", line.read(r) or 0.0, "#d9480f") for r in group]
            else:
                best = line.best(group)
                bars.append((engine, line.read(best) if best else 0.0, "#868e96"))
        drawn = panel.barh([b[0] for b in bars], [b[1] for b in bars], color=[b[2] for b in bars])
        panel.bar_label(drawn, labels=[number(b[1] or None) for b in bars], padding=3, fontsize=8)
        panel.set_title(f"{line.title}\n({line.unit}{'' if line.higher_is_better else ', less is better'})", fontsize=9)
        panel.invert_yaxis()
        panel.margins(x=0.2)
        panel.spines[["top", "right", "bottom"]].set_visible(False)
        panel.tick_params(axis="x", bottom=False, labelbottom=False)
        panel.tick_params(axis="y", labelsize=8)
    machine = "Same weights, same prompts; for each peer the best configuration"
    figure.suptitle(machine, fontsize=11)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
