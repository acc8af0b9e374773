"""Short word problems: a story of one to three steps, with sentences that don't matter."""

from dataclasses import dataclass
from random import Random
from typing import Any, Final

from forethought.model.conversation import Effort
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import addressed
from forethought.tasks.words import NAMES
from forethought.tasks.written import added, divided, taken, times

MOST: Final = 99
"""No number in a story is greater."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a story is about. `{n}` is a number, `{who}` and `{other}` are people, `{thing}` is what is counted."""

    things: tuple[str, ...]
    start: str
    groups: tuple[str, ...]
    gains: tuple[str, ...]
    losses: tuple[str, ...]
    shared: str
    asked: tuple[str, ...]


SETTINGS: Final = (
    Setting(
        ("apples", "books", "cards", "coins", "eggs", "marbles", "pencils", "shells", "stamps", "stickers", "cookies"),
        "{who} has {n} {thing}.",
        ("{who} has {n} bags of {m} {thing} each.", "Each bag holds {m} {thing}. {who} has {n} bags."),
        (
            "{who} buys {n} more {thing}.",
            "{other} gives {who} {n} {thing}.",
            "{who} finds {n} {thing}.",
            "{who} gets {n} more.",
            "Then {who} finds another {n} {thing}.",
        ),
        (
            "{who} gives {n} {thing} to {other}.",
            "{who} loses {n} {thing}.",
            "{who} sells {n} {thing}.",
            "{who} gives away {n}.",
            "{other} takes {n} of them.",
            "Then {who} loses {n} of them.",
        ),
        "{who} shares the {thing} equally among {n} friends. How many {thing} does each friend get?",
        (
            "How many {thing} does {who} have now?",
            "How many {thing} are left for {who}?",
            "How many {thing} has {who} now?",
        ),
    ),
    Setting(
        ("liters of water", "liters of milk", "liters of juice"),
        "A tank holds {n} {thing}.",
        ("{who} fills a tank with {n} cans of {m} {thing} each.",),
        ("{who} pours in {n} liters more.", "{who} adds {n} liters."),
        ("{who} takes out {n} liters.", "{n} liters run out."),
        "All of it is filled into {n} equal bottles. How many liters are in each bottle?",
        ("How many liters are in the tank now?", "How many liters does the tank hold now?"),
    ),
    Setting(
        ("people", "passengers", "children"),
        "A train has {n} {thing} on it.",
        ("A train has {n} cars with {m} {thing} each.", "Each car of a train holds {m} {thing}. It has {n} cars."),
        ("At a station {n} {thing} get on.", "Then {n} more {thing} board it."),
        ("At a station {n} {thing} get off.", "Then {n} {thing} leave it."),
        "At the end all {thing} form {n} equal groups. How many are in each group?",
        ("How many {thing} are on the train now?", "How many {thing} are there now?"),
    ),
    Setting(
        ("dollars", "euros"),
        "{who} has {n} {thing}.",
        ("{who} works {n} hours for {m} {thing} an hour.", "{who} sells {n} pens for {m} {thing} each."),
        ("{who} earns {n} {thing}.", "{who} gets {n} {thing} from {other}."),
        ("{who} spends {n} {thing} on a book.", "{who} pays {n} {thing} for lunch."),
        "{who} saves it in {n} equal parts. How many {thing} is each part?",
        (
            "How many {thing} does {who} have now?",
            "How many {thing} does {who} have left?",
            "How much does {who} have now?",
        ),
    ),
)
DISTRACTORS: Final = (
    "{other} weighs {n} kilos.",
    "{who} is {n} years old.",
    "The walk home takes {n} minutes.",
    "{other} lives at number {n}.",
    "It is {n} degrees outside.",
)
IDLE: Final = ("not needed.", "no matter.")
FORMS: Final = (" Answer with a number.", " Answer with a number.", " Give only the number.", "", "", "")


class WordProblems(TextFamily):
    """Finding the arithmetic in a story."""

    name = "word_problems"
    description = "Solve short word problems."
    levels = ("one step", "two steps, sometimes with an idle sentence", "three steps with an idle sentence")

    def draw(self, rng: Random, level: int) -> Draft:
        setting = rng.choice(SETTINGS)
        who, other = rng.sample(NAMES, 2)
        names = {"who": who, "other": other, "thing": rng.choice(setting.things)}
        start, steps = _steps(rng, level)
        sentences = [setting.start.format(n=start, **names)]
        for operator, n in steps:
            match operator:
                case "*":
                    sentences = [rng.choice(setting.groups).format(n=n, m=start, **names)]
                case "/":
                    sentences.append(setting.shared.format(n=n, **names))
                case _:
                    sentences.append(
                        rng.choice(setting.gains if operator == "+" else setting.losses).format(n=n, **names)
                    )
        worked = [list(step) for step in steps]
        told: list[list[Any]] = [[None, sentences[0]]] if steps[0][0] != "*" else []
        told += [[step, sentence] for step, sentence in zip(worked, sentences[len(told) :], strict=True)]
        if level == 3 or (level == 2 and rng.random() < 0.5):
            idle = rng.choice(DISTRACTORS).format(n=rng.randint(2, 60), **names)
            told.insert(rng.randint(1, max(1, len(told) - 1)), ["idle", idle])
        question = " ".join(str(sentence) for _, sentence in told)
        if steps[-1][0] != "/":
            question += " " + rng.choice(setting.asked).format(**names)
        gold = {"start": start, "steps": worked, "told": told}
        key = f"{start}{''.join(f'{operator}{n}' for operator, n in steps)}"
        return self.ask(addressed(rng, question + rng.choice(FORMS)), gold, key=key)

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        start: int = problem.gold["start"]
        steps: list[tuple[str, int]] = problem.gold["steps"]
        values = _values(start, steps)
        if effort == "low":
            written = ", ".join(_worked(a, operator, n) for a, (operator, n) in zip(values, steps, strict=False))
            return self.answer(f"{written}.{rng.choice(('', f' So {values[-1]}.'))}", values[-1])
        lines: list[str] = []
        idle, at = rng.choice(IDLE), iter(values)
        told: list[list[Any]] = problem.gold["told"]
        for step, sentence in told:
            short = sentence.partition(". How")[0].rstrip(".")
            result = f"{start}." if step is None else idle
            if step is not None and step != "idle":
                result = f"{_worked(next(at), step[0], step[1])}."
            lines.append(f"{short}: {result}")
        lines.append(f"{rng.choice(('So', 'That is', 'Answer'))} {values[-1]}.")
        return self.answer(" ".join(lines), values[-1])

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, str(_values(problem.gold["start"], problem.gold["steps"])[-1]))


def _steps(rng: Random, count: int) -> tuple[int, list[tuple[str, int]]]:
    """A number to start with and what happens to it. Groups can only come first, sharing only last."""
    while True:
        start, steps = rng.randint(5, 60), list[tuple[str, int]]()
        for place in range(count):
            value = _values(start, steps)[-1]
            operator = rng.choice("++--" + "*" * (place == 0) + "/" * (place == count - 1))
            if operator == "*":
                start = rng.randint(3, 20)
                steps.append(("*", rng.randint(2, 5)))
            elif operator == "/":
                steps.append(("/", rng.randint(2, 6)))
            else:
                steps.append((operator, rng.randint(2, max(2, min(40, value - 1)))))
        values = _values(start, steps)
        shares = steps[-1][0] != "/" or values[-1] * steps[-1][1] == values[-2]
        if shares and all(1 < value <= MOST for value in values):
            return start, steps


def _values(start: int, steps: list[tuple[str, int]]) -> list[int]:
    """The number after every step, the first one in front."""
    values = [start]
    for operator, n in steps:
        a = values[-1]
        values.append({"+": a + n, "-": a - n, "*": a * n, "/": a // n}[operator])
    return values


def _worked(a: int, operator: str, n: int) -> str:
    match operator:
        case "+":
            return added(a, n)
        case "-":
            return taken(a, n)
        case "*":
            return times(a, n)
        case _:
            return divided(a, n)


FAMILY = WordProblems()
