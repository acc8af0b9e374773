"""The page that people read about what the model learned: the figures of `reason.json` as tables."""

from pathlib import Path
from typing import Any

from forethought.statistics import FLIPS

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
        " percent, with 95 % intervals over problems (how runs differ is to be seen in their rows alone). pass@1 is one"
        " attempt at each of 300 held-out problems of a cell, pass@8 is of eight attempts at 60. Effort"
        f" {figures['effort']}, temperature 1; the base is shown the number of solved examples that helps it most, with"
        " their working where that does, and answers at its own temperature (for pass@8 at the one that helps it most)."
        " A call begins with a token that the base has never seen, so it is held to one where that helps. Answers have"
        " to have the form of the training problems (letters with spaces between them, lists with commas), which the"
        " base knows from its examples alone. Where a family has few problems of a kind, the 300 of a cell are another"
        " mix than the first 60: calendar, bit_count, gcd_lcm and primes. Level 1 of knights_knaves has 22 different"
        " sets of sayings under changing names, and those of the training problems are the same; the numbers that"
        " primes asks about stand in training problems too, in other questions whose work is mostly the same. Of"
        " gcd_lcm, spell_backward, fractions, primes, summaries, instruction_hierarchy and tool_single some problems of"
        " one level are problems of another: intervals and tests that pool levels take them for one. Three seeds"
        " followed the same recipe, but not by the same code (the commits stand below): the rl-1 of seed 1 had two"
        " wordings of word_problems that were taken out afterwards, seed 3 multiplied bfloat16 as float32, and seed 2"
        " ran the code of d1f40f8, although its file names 9146079. Reinforcement learning judged attempts token by"
        " token beside the worked solutions of training problems (process supervision); what is measured here are"
        " answers.\n\n"
        f"{digests}\n\nMeasured on: {_processors(figures['processors'])}."
    )


def _processors(found: dict[str, list[str]]) -> str:
    return "; ".join(f"{NAMES[name]} {', '.join(processors)}" for name, processors in found.items())


def _levels(figures: dict[str, Any]) -> str:
    levels = list(figures["level_means"]["rl"])

    def row(name: str, kind: str, how: str = "") -> tuple[str, ...]:
        found = figures[kind][name]
        shares = (_share(found["levels"][str(level)]["pass_1"], 1) for level in levels)
        return f"{NAMES[name]}{how}", str(found["cells"][0]["problems"]), *shares

    rows = [row(name, "once") for name in STAGES]
    rows += [row(name, "served", ", sampled as it is served") for name in figures["served_level_means"]]
    table = _table(("pass@1", "problems of a cell", *(f"level {level}" for level in levels)), rows)
    easy = ", ".join(figures["no_harder_last_level"]["rl"]) or "none"
    return (
        f"## Means of the families\n\nEvery family counts the same.\n\n{table}\n\n"
        f"Families whose last level RL finds no harder than the first: {easy}."
    )


def _gains(figures: dict[str, Any]) -> str:
    few = f", on the {len(figures['gain_on_seed_families']['families'])} families of the other seeds"
    rows = [
        (f"{NAMES[name]} over its cold start{'' if name == 'rl' else few}", *_gain(gain))
        for name, gain in figures["gains"].items()
    ]
    rows.append((f"RL over its cold start{few}", *_gain(figures["gain_on_seed_families"])))
    rows += [
        (f"{NAMES[name]} over the cold start, continued{'' if name == 'rl' else few}", *_gain(gain))
        for name, gain in figures["over_continued"].items()
    ]
    rows.append(("RL over its cold start, both sampled as they are served", *_gain(figures["served_gain"])))
    rows.append(("RL over the cold start, continued, both as served", *_gain(figures["served_over_continued"])))
    rows.append(("RL over its cold start, pass@8", *_gain(figures["pass_8"])))
    rows += [(f"{NAMES[name]} over the base", *_gain(gain)) for name, gain in figures["over_base"].items()]
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
        + "\n\nWhat learning took after the cold start, which was gone on with for as long, to within 1 %, as the"
        " longest of the others took on the same machine.\n\n" + _table(("", "minutes", "machine", "commits"), costs)
    )


def _short(commit: str) -> str:
    return "not recorded" if commit == "None" else commit[:9]


def _families(figures: dict[str, Any]) -> str:
    once, many = figures["gains"]["rl"]["families"], figures["pass_8"]["families"]
    rows = [(name, *_adjusted(once[name]), *_adjusted(many[name])) for name in once]
    heads = ("family", "points", "p, after Holm", "points of pass@8", "p, after Holm")
    return (
        "## RL over its cold start, by family\n\nEach interval is that of one family alone, p-values are of all"
        " together; what is not significantly down may be down all the same. The intervals of pass@1 leave room for a"
        f" loss of {_most_lost(once)}, those of pass@8 for one of {_most_lost(many)}.\n\n" + _table(heads, rows)
    )


def _adjusted(found: dict[str, Any]) -> tuple[str, str]:
    return _points(found["difference"]), f"{found['adjusted']:.4f}"


def _most_lost(families: dict[str, Any]) -> str:
    low, name = min((found["difference"]["low"], name) for name, found in families.items())
    return f"{max(0.0, -100 * low):.1f} points ({name})"


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
    return _points(pooled["difference"]), _p(pooled["p_value"]), str(pooled["difference"]["n"])


def _p(value: float) -> str:
    return f"≤ {1 / FLIPS}" if value <= 1 / FLIPS else f"{value:.4f}"


def _points(interval: dict[str, Any]) -> str:
    return f"{100 * interval['value']:+.1f} ({100 * interval['low']:+.1f} to {100 * interval['high']:+.1f})"


def _share(interval: dict[str, Any], digits: int = 0) -> str:
    value, low, high = (f"{100 * interval[key]:.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} ({low}–{high})"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
