"""Binary and hexadecimal numbers to decimal, and back.

Binary goes by doubling and halving, hexadecimal by place values: to double or halve a number looks at two neighbouring
digits at a time, and the multiples of 16 and 256 are a short table.
"""

from itertools import accumulate
from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.columns import briefly, statement, steps, told
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import asked

SIZES = {1: (16, 860), 2: (861, 1720), 3: (1721, 4095)}
"""Level: between which numbers."""

WORDINGS = {
    "from binary": (
        "What is binary {it} in decimal?",
        "Convert {it} from binary to decimal.",
        "{it} (base 2) = ? (base 10)",
        "Convert the binary number {it} to decimal.",
        "What decimal number is binary {it}?",
        "Write the binary number {it} in decimal.",
        "binary {it} in decimal",
        "What is 0b{it} in decimal?",
    ),
    "to binary": (
        "What is {it} in binary? Digits only.",
        "Convert {it} from decimal to binary.",
        "{it} (base 10) = ? (base 2)",
        "What is {it} in binary?",
        "Convert {it} to binary.",
        "{it} in binary",
        "Write {it} in binary.",
        "Write {it} as a binary number.",
        "What's {it} in binary?",
    ),
    "from hex": (
        "What is hexadecimal {it} in decimal?",
        "Convert {it} from hexadecimal to decimal.",
        "{it} (base 16) = ? (base 10)",
        "Convert the hexadecimal number {it} to decimal.",
        "Convert the hex number {it} to decimal.",
        "What is hex {it} in decimal?",
        "hex {it} in decimal",
        "Write the hexadecimal number {it} in decimal.",
        "What is 0x{it} in decimal?",
    ),
    "to hex": (
        "What is {it} in hexadecimal? Digits only, small letters.",
        "What is {it} in hexadecimal?",
        "Convert {it} from decimal to hexadecimal, small letters.",
        "Convert {it} to hexadecimal.",
        "{it} (base 10) = ? (base 16, small letters)",
        "Write {it} in hexadecimal, with small letters.",
        "Convert {it} to hex.",
        "What is {it} in hex?",
        "{it} in hex",
    ),
}

OPENINGS = {
    "from binary": ("Bit by bit", "Double and add"),
    "to binary": ("Halve", "From the last bit"),
    "from hex": ("Place values", "Digit by digit"),
    "to hex": ("Place values", "Largest place first"),
}


class BaseConversion(TextFamily):
    """Positional notation."""

    name = "base_conversion"
    description = "Convert a number between decimal and binary or hexadecimal."
    levels = ("numbers up to 860", "numbers up to 1720", "numbers up to 4095")

    def draw(self, rng: Random, level: int) -> Draft:
        number, kind = rng.randint(*SIZES[level]), rng.choice(sorted(WORDINGS))
        shown = {"from binary": f"{number:b}", "from hex": f"{number:x}"}.get(kind, str(number))
        # Both ways are one problem: whoever has seen the one has read the other's answer.
        key = f"{kind.split()[-1]} {number}"
        return self.ask(asked(rng, WORDINGS[kind], it=shown), [kind, number], key=key)

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        kind, number = problem.gold
        lines = METHODS[kind](number, effort)
        if effort != "low":
            lines.insert(0, rng.choice(OPENINGS[kind]))
        return self.answer(told(rng, lines), _solved(problem))

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, _solved(problem))


def _solved(problem: Problem) -> str:
    kind, number = problem.gold
    return {"to binary": f"{number:b}", "to hex": f"{number:x}"}.get(kind, str(number))


def _doubled(number: int, effort: Effort) -> list[str]:
    """What each beginning of the binary number is worth: twice the one before, and the next bit."""
    bits = f"{number:b}"
    values = [int(bits[:length], 2) for length in range(1, len(bits) + 1)]
    if effort == "low":
        return [",".join(map(str, values)), str(number)]
    return [f"{bits[:length]}:{value}" for length, value in enumerate(values, 1)]


def _halved(number: int, effort: Effort) -> list[str]:
    """The number halved down to 1: the odd ones give the bits, from the last one on."""
    bits = f"{number:b}"
    halves = [number >> place for place in range(len(bits))]
    if effort == "low":
        return [",".join(map(str, halves)), bits]
    ends = [bits[len(bits) - place :] for place in range(1, len(bits) + 1)]
    return [f"{half}:{end}" for half, end in zip(halves, ends, strict=True)]


def _figures(number: int) -> list[tuple[int, int]]:
    """What the hexadecimal digits are worth, and their places."""
    return [(int(figure, 16), 16**place) for place, figure in reversed(list(enumerate(f"{number:x}"[::-1])))]


def _names(number: int) -> list[str]:
    """The letters among the digits and what they stand for."""
    return [f"{figure} is {int(figure, 16)}" for figure in f"{number:x}" if figure.isalpha()]


def _places(number: int, effort: Effort) -> list[str]:
    """Each hexadecimal digit times its place, added up."""
    values = [figure * place for figure, place in _figures(number)]
    lines = [] if effort == "low" else _names(number)
    lines += [statement(figure, "*", place) for figure, place in _figures(number)[:-1]]
    for total, value in zip(accumulate(values), values[1:], strict=False):
        if effort == "low":
            lines += briefly(total, "+", value)
        else:
            lines += [*steps(total, "+", value), statement(total, "+", value)]
    return lines


def _taken(number: int, effort: Effort) -> list[str]:
    """The largest places first, as often as they go, taken away."""
    lines: list[str] = []
    rest = number
    for figure, place in _figures(number)[:-1]:
        lines.append(statement(figure, "*", place))
        lines += [*([] if effort == "low" else steps(rest, "-", figure * place)), statement(rest, "-", figure * place)]
        rest -= figure * place
    return [*lines, *_names(number), f"{number:x}"]


METHODS = {
    "from binary": _doubled,
    "to binary": _halved,
    "from hex": _places,
    "to hex": _taken,
}
"""How each is worked out."""

FAMILY = BaseConversion()
