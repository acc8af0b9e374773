"""How many ones a string of bits has, or the binary form of a number."""

from itertools import accumulate
from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.columns import told
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import asked

SIZES = {1: ((8, 11), (16, 255)), 2: ((12, 16), (256, 1023)), 3: ((17, 24), (1024, 4095))}
"""Level: how many bits a string has, and between which numbers a number lies."""

WORDINGS = {
    "bits": (
        "How many ones are in {it}?",
        "Count the 1s in the bit string {it}.",
        "How often does 1 occur in {it}?",
        "How many 1s are in {it}?",
        "Count the ones in {it}.",
        "How many 1s does {it} have?",
        "What is the number of ones in {it}?",
        "How many times does 1 occur in {it}?",
    ),
    "number": (
        "How many ones are in the binary form of {it}?",
        "Write {it} in binary: how many 1s are there?",
        "How many bits are set in the number {it}?",
        "How many 1s does {it} have in binary?",
        "Count the ones in the binary form of {it}.",
        "How many ones has {it} in binary?",
    ),
}

CHUNK = 4
"""So many bits are looked at together."""


class BitCount(TextFamily):
    """Population count."""

    name = "bit_count"
    description = "Count the ones in a string of bits or in the binary form of a number."
    levels = (
        "8 to 11 bits, or a number up to 255",
        "12 to 16 bits, or a number up to 1023",
        "17 to 24 bits, or a number up to 4095",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        (fewest, most), numbers = SIZES[level]
        kind = rng.choice(("bits", "number"))
        if kind == "bits":
            shown = "".join(rng.choice("01") for _ in range(rng.randint(fewest, most)))
        else:
            shown = str(rng.randint(*numbers))
        return self.ask(asked(rng, WORDINGS[kind], it=shown), [kind, shown], key=f"{kind} {shown}")

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        kind, shown = problem.gold
        lines = _counted_bits(shown, effort) if kind == "bits" else _counted_halves(int(shown), effort)
        if effort != "low":
            lines.insert(0, rng.choice(("Count on", "One by one") if kind == "bits" else ("Halve", "Odd is one")))
        return self.answer(told(rng, lines), _solved(problem))

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, str(_solved(problem)))


def _solved(problem: Problem) -> int:
    kind, shown = problem.gold
    return (shown if kind == "bits" else f"{int(shown):b}").count("1")


def _chunks(bits: str) -> list[str]:
    return [bits[start : start + CHUNK] for start in range(0, len(bits), CHUNK)]


def _added(bits: str) -> list[str]:
    """Chunk by chunk, the count so far and the chunk's: 1101:3 and 0011:3+2=5."""
    lines: list[str] = []
    total = 0
    for chunk in _chunks(bits):
        more = chunk.count("1")
        lines.append(f"{chunk}:{total}+{more}={total + more}" if lines else f"{chunk}:{more}")
        total += more
    return lines


def _counted_bits(bits: str, effort: Effort) -> list[str]:
    """The count after each chunk, or after each bit."""
    if effort == "low":
        return _added(bits)
    counts = list(accumulate(map(int, bits)))
    spans = [counts[start : start + CHUNK] for start in range(0, len(bits), CHUNK)]
    return [f"{chunk}:{','.join(map(str, span))}" for chunk, span in zip(_chunks(bits), spans, strict=True)]


def _counted_halves(number: int, effort: Effort) -> list[str]:
    """The number halved down to 1, and how many of the halves so far were odd: those are the ones."""
    lines: list[str] = []
    odd = 0
    while number:
        odd += number % 2
        if effort == "low":
            lines.append(f"{number}:{odd}" if number % 2 else str(number))
        else:
            lines.append(f"{number} {'odd' if number % 2 else 'even'} {odd}")
        number //= 2
    return lines


FAMILY = BitCount()
