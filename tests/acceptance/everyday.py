"""Acceptance: what the families teach helps with questions in words that none of them has.

    python tests/acceptance/everyday.py [--model forethought-mini] [--output docs/results/everyday.json]

Seventy-five questions of eighteen families as people might put them, written before anything was measured on them and
used for no choice, each four times: by the model at every effort, by the base as it is. An answer is right whatever
sentence and form it has, as long as it comes to nothing else and to an end. Takes a quarter of an hour.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from outcome import write_outcome
from trained import Subject

from forethought.model.conversation import Conversation, Effort, Message
from forethought.model.registry import resolve
from forethought.reasoning.events import TextDelta, TurnDone
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings
from forethought.statistics import bootstrap_mean, paired_difference

NUMBER = r"\d+ \d+/\d+|\d[\da-fx]*(?:[.:/]\d+)*"
"""Also of base sixteen, a fraction, or a time."""
QUESTIONS = Path(__file__).with_name("everyday.txt")
TIMES, AT_ONCE = 4, 32
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
BASE = "base"
CUT_OFF = "\N{HORIZONTAL ELLIPSIS} (cut off)"


@dataclass(frozen=True)
class Question:
    """A question, the family that it belongs to, the answers that are right, and other words that one might answer."""

    family: str
    text: str
    answers: tuple[str, ...]
    others: tuple[str, ...] = ()

    @classmethod
    def all(cls) -> tuple["Question", ...]:
        """Each is a line: family, question, and one or two lists."""
        lines = (line.split("\t") for line in QUESTIONS.read_text(encoding="utf-8").splitlines())
        return tuple(
            cls(name, text.replace("\\n", "\n"), *(tuple(each.split("|")) for each in lists))
            for name, text, *lists in lines
        )

    def accepts(self, answer: str) -> bool:
        """Whether that is the answer, in whatever form and sentence."""
        if answer.endswith(CUT_OFF):
            return False
        said = re.sub(r"[*$\"`]|(?<=\d) ?[ap]\.?m\b", "", answer.lower())
        return any(self._says(said, right) for right in self.answers)

    def _says(self, said: str, right: str) -> bool:
        """Whether a text in small letters comes to this answer."""
        if right in ("yes", "no"):
            words = re.findall(r"\b(?:yes|no)\b", said)
            stated = [
                "no" if denied else "yes" for denied in re.findall(r"\bis (not )?(?:indeed )?(?:a )?prime\b", said)
            ]
            return (words or stated)[:1] == [right]
        if ", " in right:
            wanted = right.split(", ")
            items = NUMBER if wanted[0].isdecimal() else rf"\b(?:{'|'.join(wanted)})\b"
            return re.findall(items, said) == wanted
        if right[0].isdecimal():
            numbers, known = (re.findall(NUMBER, text) for text in (said, self.text.lower()))
            return numbers[-1:] == [right] or [number for number in numbers if number not in known] == [right]
        last = re.split(r"[.!?\n]+", said.rstrip(".!? \n"))[-1]
        named = re.findall(rf"\b(?:{'|'.join((right, *self.others))})\b", last)
        return set(named) == {right}


async def tried(reasoner: Reasoner, effort: Effort | None) -> list[list[str]]:
    """The answers to every question; one that came to no end, but to the limit of tokens, is followed by `CUT_OFF`."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(question: Question, seed: int) -> str:
        async with places:
            turn = reasoner.turn(
                Conversation((Message.of("user", question.text),)),
                effort=effort,
                think=effort is not None,
                max_output_tokens=4096 if effort else 256,
                seed=seed,
            )
            async with turn:
                events = [event async for event in turn if isinstance(event, TextDelta | TurnDone)]
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        *_, done = events
        return text if isinstance(done, TurnDone) and done.status == "completed" else text + CUT_OFF

    async def every(question: Question) -> list[str]:
        return await asyncio.gather(*(one(question, seed) for seed in range(TIMES)))

    return await asyncio.gather(*map(every, Question.all()))


def by_family(shares: Sequence[float]) -> dict[str, float]:
    """The mean of each family's questions."""
    kept: dict[str, list[float]] = {}
    for question, share in zip(Question.all(), shares, strict=True):
        kept.setdefault(question.family, []).append(share)
    return {name: fmean(each) for name, each in kept.items()}


async def run(options: argparse.Namespace) -> None:
    questions, settings = Question.all(), load_settings()
    model = resolve(options.model, settings)
    answers: dict[str, list[list[str]]] = {}
    async with Subject("model", model, settings) as subject:
        for effort in EFFORTS:
            answers[effort] = await tried(await subject.reasoner(), effort)
    async with Subject(BASE, resolve("smollm2-135m-instruct", settings), settings) as subject:
        answers[BASE] = await tried(await subject.reasoner(), None)
    right = {
        name: [
            [float(question.accepts(each)) for each in said] for question, said in zip(questions, given, strict=True)
        ]
        for name, given in answers.items()
    }
    shares = {name: [fmean(each) for each in tries] for name, tries in right.items()}
    over = {effort: paired_difference(shares[BASE], shares[effort]) for effort in EFFORTS}
    figures: dict[str, Any] = {
        "digest": model.digest(),
        "questions": len(questions),
        "times": TIMES,
        "right": {name: asdict(bootstrap_mean(tries)) for name, tries in right.items()},
        "over_base": {effort: asdict(gain) for effort, gain in over.items()},
        "families": {name: by_family(each) for name, each in shares.items()},
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with options.output.with_suffix(".jsonl").open("w", encoding="utf-8") as file:
        for number, question in enumerate(questions):
            line = asdict(question) | {name: given[number] for name, given in answers.items()}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    verdict = {f"effort {effort}: more right than the base": over[effort].difference.low > 0 for effort in EFFORTS}
    write_outcome(options.output, verdict, figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="forethought-mini")
    parser.add_argument("--output", type=Path, default=Path("docs/results/everyday.json"))
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
