"""The second verdict: thinking is found nowhere but in the encrypted content, which opens with its keyring only.

Each run thinks of a canary of its own. It is looked for in the bytes and headers of all answers, in the texts of a
stream put together, in the logs at info and at debug, for people and for programs, in what is written to the standard
streams, and on the pages about the server. At info, what breaks unexpectedly quotes the canary in its message; at debug
it does not, because there a traceback has messages, as `logs` says.

A summariser that copies may get as far as the check on summaries lets it: there, no run may be longer than its bound,
and the canary, which is longer, never stands whole.
"""

import contextlib
import gc
import json
from collections import Counter, deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from forethought.api.content_keys import ContentKeys, ForeignContent
from forethought.api.served import LOCAL_TENANT, ServedModel
from forethought.model.checkpoint import Checkpoint
from forethought.model.renderer.forethought import Markers
from forethought.reasoning.summary_verbatim import MAX_LETTERS, MAX_TOKENS
from runs.canary import Canary, joined, views
from runs.exposed import Exposed, expose
from runs.house import Houses, open_houses
from runs.maker import PERCENT, Maker
from runs.run import Run, Summariser
from runs.tap import Tap, tapped
from verbatim_oracle import letters, longest_run, plain_tokens

COPYING: tuple[Summariser, ...] = ("quotes", "titles", "spells", "dots", "chops", "shreds", "thinks", "calls")
HIDDEN_PERCENT = PERCENT | {"whole": PERCENT["whole"] - 10, "summary copies": 10}
PAGES = ("/readyz", "/healthz", "/v1/models", "/nowhere")
LONG_PAGES = ("/openapi.json", "/docs")
LATE = 20
"""Runs after which a run may still be spoken of: when the last of its objects are collected."""


def hidden_maker(checkpoint: Checkpoint, seed: int) -> Maker:
    """Makes runs whose noise neither ends a thinking before its time nor opens a call around it: what a model says
    aloud is not hidden."""
    tokenizer = checkpoint.tokenizer
    markers = (Markers().think_close, Markers().call_open)
    ends = {*map(tokenizer.special_id, markers), *checkpoint.renderer.stop_token_ids}
    noise = [token for token in range(tokenizer.vocab_size) if token not in ends]
    return Maker(seed, noise, COPYING, HIDDEN_PERCENT)


def canary_of(seed: int, number: int) -> Canary:
    """What the run with this number thinks of."""
    return Canary.of(Random(f"canary {seed}/{number}"))


@dataclass
class Tally:
    """What was looked at in all runs."""

    characters_searched: int = 0
    summarised: Counter[str] = field(default_factory=Counter[str])
    summary_parts: Counter[str] = field(default_factory=Counter[str])
    longest_tokens: int = 0
    longest_letters: int = 0
    blobs: Counter[str] = field(default_factory=Counter[str])


class HiddenHouses:
    """Houses whose every word is overheard. `open_hidden_houses` makes them."""

    def __init__(self, checkpoint: Checkpoint, houses: Houses, tap: Tap, tally: Tally) -> None:
        self._tokenizer = checkpoint.tokenizer
        self._houses = houses
        self._tap = tap
        self._tally = tally
        self._strangers = ContentKeys.ephemeral()
        self._recent: deque[Canary] = deque(maxlen=LATE)
        self._runs = 0

    def check(self, number: int, run: Run, canary: Canary) -> str:
        """Takes a run and looks for its canary, and for those of the runs before it. How the run ended."""
        debug, as_json = number % 2 == 1, number // 2 % 2 == 1
        self._tap.configure("debug" if debug else "info", as_json=as_json)
        self._recent.appendleft(canary)
        run = replace(run, quotes=not debug)
        with self._houses.of(run) as (house, twins):
            exposed = expose(house, twins, run)
            served = house.models.get(run.body["model"])
            about = [repr(house.engine.metrics())]
        pages = (*PAGES, LONG_PAGES[number % 2]) if number % LATE == 0 else PAGES
        about += [repr(self._houses.main.get(page)) for page in pages]
        self._age()
        for item_id, blob in exposed.blobs:
            assert served is not None
            self._check_blob(served, run, canary, item_id, blob)
        if exposed.prompt is not None:
            self._tally.blobs["handed back"] += 1
            whole = canary.text in self._tokenizer.decode(exposed.prompt)
            self._tally.blobs["handed back with the whole canary"] += whole
        self._check_answers(run, exposed, canary)
        said, records = self._tap.read()
        for text in (*about, said, *joined(records)):
            self._tally.characters_searched += len(text)
            for each in self._recent:
                self._check_absent(each, text)
        assert "request" in said, "what is overheard is the server"
        return exposed.end

    def check_accounts(self) -> None:
        """Nothing is left of any run."""
        self._houses.main.check_accounts()

    def _age(self) -> None:
        """Now and then the keys are changed, and what nobody needs any more is collected."""
        self._runs += 1
        if self._runs % LATE == 0:
            self._houses.main.models["lenient"].keys.rotate()
            gc.collect()

    def _check_answers(self, run: Run, exposed: Exposed, canary: Canary) -> None:
        summarised = "summary" in set(run.features)
        self._tally.summarised[run.summariser] += summarised
        copied = summarised and run.summariser in COPYING
        documents = exposed.without_summaries if copied else exposed.documents
        bodies = [json.dumps(documents, ensure_ascii=False)] if copied else exposed.bodies
        for text in (*exposed.heads, *bodies, *joined(documents)):
            self._tally.characters_searched += len(text)
            for each in list(self._recent)[:2]:
                self._check_absent(each, text)
        for text in (*exposed.bodies, *joined(exposed.documents)):
            assert canary.whole_in(text) == []
        for part in exposed.summaries:
            self._tally.summary_parts[run.summariser] += 1
            self._check_bound(part, run.thoughts)

    def _check_absent(self, canary: Canary, text: str) -> None:
        for view in views(text, self._tokenizer):
            assert canary.parts_in(view) == []
            assert canary.whole_in(view) == []

    def _check_bound(self, part: str, thoughts: Iterable[str]) -> None:
        """No part of a summary has a longer run in common with a thinking than the check on summaries allows."""
        tally, tokenizer = self._tally, self._tokenizer
        for thought in thoughts:
            tokens = longest_run(plain_tokens(tokenizer, part), plain_tokens(tokenizer, thought))
            same = longest_run(letters(part), letters(thought))
            tally.longest_tokens = max(tally.longest_tokens, tokens)
            tally.longest_letters = max(tally.longest_letters, same)
            assert tokens <= MAX_TOKENS
            assert same <= MAX_LETTERS

    def _check_blob(self, served: ServedModel, run: Run, canary: Canary, item_id: str, blob: str) -> None:
        """It opens for its own tenant, model and item, with its own keys, and holds what was thought."""
        bound: dict[str, str] = {"tenant": LOCAL_TENANT, "model": served.digest, "item_id": item_id}
        for name, other in (("tenant", "another"), ("model", served.snapshot), ("item_id", f"{item_id}0")):
            with pytest.raises(ForeignContent):
                served.keys.open(blob, **bound | {name: other})
        with pytest.raises(ForeignContent):
            self._strangers.open(blob, **bound)
        opened = served.keys.open(blob, **bound).reveal()
        self._tally.blobs["sealed"] += 1
        self._tally.blobs["holding the whole canary"] += canary.text in opened
        if run.kind != "noisy":
            # A thinking that is cut off may end inside of a character.
            kept = opened.removesuffix("\ufffd")
            assert any(thought.startswith(kept) for thought in run.thoughts)
            assert canary.text in opened or kept not in run.thoughts


@contextlib.contextmanager
def open_hidden_houses(directory: Path, tally: Tally) -> Generator[HiddenHouses]:
    """Houses for the time of the block, in which nobody else should write to the standard streams."""
    checkpoint = Checkpoint.open(directory)
    with tapped() as tap, open_houses(directory) as houses:
        yield HiddenHouses(checkpoint, houses, tap, tally)


def figures(tally: Tally) -> dict[str, Any]:
    """What was looked at, for the outcome."""
    return {
        "characters_searched": tally.characters_searched,
        "encrypted_contents": dict(tally.blobs),
        "summaries": {
            "bound": {"tokens": MAX_TOKENS, "letters": MAX_LETTERS},
            "longest_run": {"tokens": tally.longest_tokens, "letters": tally.longest_letters},
            "runs": dict(tally.summarised.most_common()),
            "parts_shown": dict(tally.summary_parts.most_common()),
        },
    }
