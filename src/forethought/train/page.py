"""Sample rollouts of a run as one page for people: what was asked, and what the model thought, said and got for it.

It shows thinking: that of our own model on our own problems, never a user's.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

PAGE: Final = "rollouts.html"

HEAD: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sample rollouts</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #8881; padding: .6rem; margin: .3rem 0; }
summary { cursor: pointer; } .right { border-left: 4px solid #2a8; } .wrong { border-left: 4px solid #c54; }
.forced { background: #fc06; } .blamed { background: #c546; }
.small { color: #777; font-size: 85%; }
</style></head><body><h1>Sample rollouts</h1>
<p class="small">Latest first. Text on yellow was written by the engine, to end a thinking, and is not
learned; on red is the token with which an attempt left the worked solutions of its problem, where that is looked
for.</p>
"""


def write_page(directory: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    """Writes the page for the lines of `rollouts.jsonl`."""
    body = "".join(map(_entry, reversed(entries)))
    partial = directory / f".{PAGE}"
    partial.write_text(f"{HEAD}{body}</body></html>\n", encoding="utf-8")
    partial.replace(directory / PAGE)


def _entry(entry: Mapping[str, Any]) -> str:
    budget = f", budget {entry['budget']}" if entry["budget"] is not None else ""
    title = (
        f"{entry['stage']}, step {entry['step']}: {entry['family']}, level {entry['level']}, {entry['effort']}{budget}"
    )
    right = sum(sample["correct"] for sample in entry["samples"])
    count = f"{right} of the {len(entry['samples'])} shown are right ({entry['lesson']})"
    samples = "".join(map(_sample, entry["samples"]))
    return (
        f"<details open><summary>{escape(title)} <span class=small>{escape(count)}</span></summary>"
        f"<pre class=small>{escape(entry['prompt'])}</pre>{samples}</details>\n"
    )


def _sample(sample: Mapping[str, Any]) -> str:
    said = "".join(_piece(text, mark) for text, mark in sample["output"])
    verdict = "right" if sample["correct"] else f"wrong: {sample['why']}"
    advantage = "" if sample["advantage"] is None else f", advantage {sample['advantage']:+.2f}"
    figures = (
        f"{verdict}; reward {sample['reward']:.2f}{advantage}, "
        f"{sample['thinking_tokens']} tokens of thinking, ended by {sample['reason']}"
    )
    kind = "right" if sample["correct"] else "wrong"
    return f"<pre class={kind}>{said}</pre><div class=small>{escape(figures)}</div>"


def _piece(text: str, mark: str) -> str:
    return f"<span class={mark}>{escape(text)}</span>" if mark else escape(text)
