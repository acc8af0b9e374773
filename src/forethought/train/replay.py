"""The base's own conversations, which training shows again so that the model stays able to chat.

Some answer ordinary prompts that come with the package; the prompts of the others the base makes up itself, which
covers what it was taught better than any list (Magpie, https://arxiv.org/abs/2406.08464). They are sampled once, at
temperature 1, kept as token ids beside what they were made from, and made again only when that has changed; when more
are wanted, only those are added. While they are made, what there is lies in a file of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forethought.engine.protocol import Limits, Request, Sampling
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Message
from forethought.train.seeds import seed_of

if TYPE_CHECKING:
    from forethought.settings import Settings

SCHEMA_VERSION: Final = 3
PROMPT_TOKENS: Final = 64
"""The most of a prompt that the base makes up."""
PIECE: Final = 1024
"""What is sampled between two times that it is kept."""

Progress = Callable[[int, int], None]
"""Told how many of how many are there; may raise `Halted`."""


class Halted(Exception):
    """No more shall be sampled for now."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A prompt and the ids of the base's answer, its stop token included unless it was cut off."""

    prompt: str
    token_ids: tuple[int, ...]


def ordinary_prompts() -> tuple[str, ...]:
    """Those that come with the package."""
    return tuple((files("forethought.train") / "prompts.txt").read_text(encoding="utf-8").splitlines())


def replay_answers(
    base: Checkpoint,
    settings: Settings,
    path: Path,
    *,
    made_up: int,
    tokens: int,
    seed: int,
    progress: Progress = lambda done, wanted: None,
) -> list[Answer]:
    """The answers of a base to the ordinary prompts and to about so many that it makes up, of at most
    `tokens` tokens each: from the file at `path` as far as it fits, the others sampled with an engine of its own and
    written there. A file with more, or with other ones, is made anew.

    Raises:
        CheckpointError: the base cannot be read.
        EngineError: it cannot be run.
        Halted: `progress` said so; what was sampled is kept.
    """
    prompts = ordinary_prompts()
    wording = hashlib.sha256("\n".join(prompts).encode()).hexdigest()
    head = {
        "schema_version": SCHEMA_VERSION,
        "base": base.digest(),
        "prompts": wording,
        "made_up": made_up,
        "tokens": tokens,
        "seed": seed,
    }
    before, kept = _read(path, head)
    if before != made_up:
        keep = Keep(path.with_name(f".{path.name}.drawn"), head, progress)
        drawn = made_up_prompts(base, settings, made_up, seed=seed, first=before or 0, keep=keep)
        known = {answer.prompt for answer in kept}
        fresh = [prompt for prompt in drawn if prompt not in known]
        fresh = fresh if before is not None else [*prompts, *fresh]
        kept += sampled_answers(base, settings, fresh, tokens=tokens, seed=seed, keep=keep)
        partial = path.with_name(f".{path.name}.partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        lines = [head, *({"prompt": answer.prompt, "token_ids": answer.token_ids} for answer in kept)]
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        partial.rename(path)
        keep.forget()
    return kept


def _read(path: Path, head: dict[str, Any]) -> tuple[int | None, list[Answer]]:
    """The answers in the file, and how many prompts were to be made up for them; None when they do not fit, or are more
    than are wanted."""
    if not path.exists():
        return None, []
    first, *others = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    if first | {"made_up": head["made_up"]} != head or first["made_up"] > head["made_up"]:
        return None, []
    return first["made_up"], [Answer(line["prompt"], tuple(line["token_ids"])) for line in others]


class Keep:
    """Completions on their way to a file of answers, by their seeds, in a file that begins with what they are made
    from."""

    def __init__(self, path: Path, head: dict[str, Any], progress: Progress) -> None:
        self.progress = progress
        self._path = path
        self._drawn: dict[int, Drawn] = {}
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        if lines and json.loads(lines[0]) == head:
            self._drawn = {seed: Drawn(tuple(ids), reason) for seed, ids, reason in map(json.loads, lines[1:])}
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(head) + "\n", encoding="utf-8")

    def get(self, seed: int) -> Drawn | None:
        """What was drawn from a seed, if it was."""
        return self._drawn.get(seed)

    def add(self, drawn: Mapping[int, Drawn]) -> None:
        """Keeps more."""
        self._drawn |= drawn
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps([seed, each.token_ids, each.reason]) + "\n" for seed, each in drawn.items())

    def forget(self) -> None:
        """All of it is where it belongs."""
        self._path.unlink()


@dataclass(frozen=True, slots=True)
class Drawn:
    """The tokens of a completion, and why it ended."""

    token_ids: tuple[int, ...]
    reason: str


def made_up_prompts(
    base: Checkpoint, settings: Settings, count: int, *, seed: int, first: int = 0, keep: Keep | None = None
) -> list[str]:
    """What a checkpoint itself would be asked: it goes on where a user's text begins. Asked for `count` times, without
    the `first` of them; what does not end, is empty, holds a special token or came before is left out."""
    if count <= first:
        return []
    renderer, tokenizer = base.renderer, base.tokenizer
    begun = [renderer.render(Conversation((Message.of("user", text),)), think=False).token_ids for text in "AB"]
    start = tuple(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(*begun, strict=False)))
    asked = dict.fromkeys(range(first, count), start)
    drawn = _sampled(base, settings, asked, tokens=PROMPT_TOKENS, place=(seed, "prompt"), keep=keep)
    ended = (one.token_ids[:-1] for one in drawn if one.reason == "stop_token")
    texts = (tokenizer.decode(ids).strip() for ids in ended if tokenizer.special_ids.isdisjoint(ids))
    return list(dict.fromkeys(filter(None, texts)))


def sampled_answers(
    base: Checkpoint,
    settings: Settings,
    prompts: Sequence[str],
    *,
    tokens: int,
    seed: int,
    keep: Keep | None = None,
) -> list[Answer]:
    """What a checkpoint says to each prompt, in at most `tokens` tokens, at temperature 1; empty answers left out."""
    asked = {
        prompt: base.renderer.render(Conversation((Message.of("user", prompt),)), think=False).token_ids
        for prompt in prompts
    }
    drawn = _sampled(base, settings, asked, tokens=tokens, place=(seed, "replay"), keep=keep)
    pairs = zip(asked, drawn, strict=True)
    return [Answer(prompt, one.token_ids) for prompt, one in pairs if one.token_ids and one.reason != "error"]


def _sampled(
    base: Checkpoint,
    settings: Settings,
    prompts: Mapping[Any, tuple[int, ...]],
    *,
    tokens: int,
    place: tuple[object, ...],
    keep: Keep | None,
) -> list[Drawn]:
    """How the base goes on behind each prompt; the keys tell the seeds."""
    from forethought.engine.native import NativeEngine

    seeds = {key: seed_of(*place, key) for key in prompts}
    found = {} if keep is None else {key: kept for key, seed in seeds.items() if (kept := keep.get(seed)) is not None}
    missing = [key for key in prompts if key not in found]
    if not missing:
        return [found[key] for key in prompts]
    with NativeEngine(base, settings) as engine:
        for start in range(0, len(missing), PIECE):
            keys = missing[start : start + PIECE]
            requests = [
                Request(
                    id=str(index),
                    prompt_ids=prompts[key],
                    limits=Limits(tokens, base.renderer.stop_token_ids),
                    sampling=Sampling(seed=seeds[key]),
                )
                for index, key in enumerate(keys)
            ]
            made = (Drawn(tuple(one.token_ids), one.finished.reason) for one in engine.generate(requests))
            piece = dict(zip(keys, made, strict=True))
            found |= piece
            if keep is not None:
                keep.add({seeds[key]: one for key, one in piece.items()})
                keep.progress(len(found), len(prompts))
    return [found[key] for key in prompts]
