"""The page that people read about what the model learned: the figures of `reason.json` as tables."""

from pathlib import Path
from typing import Any

STAGES = ("base", "cold", "rl")
NAMES = {
    "base": "base",
    "cold": "cold start",
    "rl": "RL",
    "seed-2": "RL, seed 2",
    "seed-3": "RL, seed 3",
    "continued": "cold start, continued",
}


def write_report(path: Path, figures: dict[str, Any], samples: str) -> None:
    """Writes the page, which names the file of all samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [_head(figures, samples), _levels(figures), _gains(figures), _families(figures), _cells(figures)]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def _head(figures: dict[str, Any], samples: str) -> str:
    digests = "\n".join(f"- {NAMES[name]}: `{digest}`" for name, digest in figures["digests"].items())
    return (
        f"# What the model learned\n\nMade by `make accept-reason`; the outcome of every attempt is in `{samples}`. In"
        " percent, with 95 % intervals over problems. pass@1 is one attempt at each of 300 held-out problems of a"
        f" cell, pass@8 is of eight attempts at 60. Effort {figures['effort']}, temperature 1; the base answers behind"
        " as many solved examples as do it most good, with their working where that does, at its own temperature (for"
        " pass@8 at the one that does it most good). A call begins with a token that the base has never seen, so it is"
        " held to one where that helps. Answers have to have the form of the training problems (letters with spaces"
        " between them, lists with commas), which the base knows from its examples alone. Where a family has few"
        " problems of a kind, the 300 of a cell are another mix than the first 60: calendar, bit_count, gcd_lcm and"
        " primes. Level 1 of knights_knaves has 22 different sets of sayings under changing names, and those of the"
        " training problems are the same; the numbers that primes asks about stand in training problems too, in other"
        " questions whose work is mostly the same. Of gcd_lcm, spell_backward, fractions, primes, summaries,"
        " instruction_hierarchy and tool_single some problems of one level are problems of another: intervals and tests"
        " that pool levels take them for one. Three seeds followed the same recipe, but not by the same code (the"
        " commits stand below): seed 1 learned before two wordings of word_problems were taken out, seed 3 with"
        " bfloat16 multiplied as float32."
        " Reinforcement learning judged attempts token by token beside the worked solutions of training problems"
        " (process supervision); what is measured here are answers.\n\n"
        f"{digests}\n\nMeasured on: {_processors(figures['processors'])}."
    )


def _processors(found: dict[str, list[str]]) -> str:
    return "; ".join(f"{NAMES[name]} {', '.join(processors)}" for name, processors in found.items())


def _levels(figures: dict[str, Any]) -> str:
    levels = list(figures["level_means"]["rl"])

    def row(name: str, means: dict[int, float], kind: str, how: str = "") -> tuple[str, ...]:
        problems = figures[kind][name]["cells"][0]["problems"]
        return f"{NAMES[name]}{how}", str(problems), *(f"{100 * means[level]:.1f}" for level in levels)

    rows = [row(name, figures["level_means"][name], "once") for name in STAGES]
    rows += [
        row(name, means, "served", ", sampled as it is served") for name, means in figures["served_level_means"].items()
    ]
    table = _table(("pass@1", "problems of a cell", *(f"level {level}" for level in levels)), rows)
    easy = ", ".join(figures["no_harder_last_level"]["rl"]) or "none"
    return (
        f"## Means of the families\n\nEvery family counts the same; the intervals stand with the cells.\n\n{table}\n\n"
        f"Families whose last level RL finds no harder than the first: {easy}."
    )


def _gains(figures: dict[str, Any]) -> str:
    few = f", on the {len(figures['gain_on_seed_families']['families'])} families of the other seeds"
    rows = [
        (f"{NAMES[name]} over its cold start{'' if name == 'rl' else few}", *_gain(gain))
        for name, gain in figures["gains"].items()
    ]
    rows.append((f"RL over its cold start{few}", *_gain(figures["gain_on_seed_families"])))
    rows.append(("RL over the cold start, continued", *_gain(figures["over_continued"])))
    rows.append(("RL over its cold start, both sampled as they are served", *_gain(figures["served_gain"])))
    rows.append(("RL over the cold start, continued, both as served", *_gain(figures["served_over_continued"])))
    rows.append(("RL over its cold start, pass@8", *_gain(figures["pass_8"])))
    costs = [
        (
            NAMES[name],
            f"{cost['seconds'] / 60:.0f}",
            "; ".join(cost["machines"]),
            ", ".join(map(_short, cost["commits"])),
        )
        for name, cost in figures["costs"].items()
    ]
    return (
        "## Gains, problem by problem\n\n"
        + _table(("", "points", "p", "problems"), rows)
        + "\n\nWhat learning took after the cold start, which was gone on with for as long as the longest of the others"
        " took on the same machine.\n\n" + _table(("", "minutes", "machine", "commits"), costs)
    )


def _short(commit: str) -> str:
    return commit[:9]


def _families(figures: dict[str, Any]) -> str:
    rows = [
        (name, _points(found["difference"]), f"{found['adjusted']:.3f}")
        for name, found in figures["gains"]["rl"]["families"].items()
    ]
    return "## RL over its cold start, by family\n\n" + _table(("family", "points", "p, after Holm"), rows)


def _cells(figures: dict[str, Any]) -> str:
    once = {name: figures["once"][name]["cells"] for name in STAGES}
    many = {name: figures["many"][name]["cells"] for name in STAGES}
    rows = [
        (
            once["rl"][place]["family"],
            str(once["rl"][place]["level"]),
            str(once["rl"][place]["problems"]),
            *(_share(once[name][place]["pass_1"]) for name in STAGES),
            *(_share(many[name][place]["pass_k"][8]) for name in STAGES),
        )
        for place in range(len(once["rl"]))
    ]
    heads = ("family", "level", "n", *(f"{NAMES[n]} @1" for n in STAGES), *(f"{NAMES[n]} @8" for n in STAGES))
    return "## Every cell\n\n" + _table(heads, rows)


def _gain(found: dict[str, Any]) -> tuple[str, str, str]:
    pooled = found["pooled"]
    return _points(pooled["difference"]), f"{pooled['p_value']:.4f}", str(pooled["difference"]["n"])


def _points(interval: dict[str, Any]) -> str:
    return f"{100 * interval['value']:+.1f} ({100 * interval['low']:+.1f} to {100 * interval['high']:+.1f})"


def _share(interval: dict[str, Any]) -> str:
    return f"{100 * interval['value']:.0f} ({100 * interval['low']:.0f}–{100 * interval['high']:.0f})"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
