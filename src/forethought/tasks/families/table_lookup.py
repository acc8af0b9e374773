"""A small table in the question: find a cell, compare cells, add them up."""

from random import Random
from typing import Any, Final

from forethought.model.conversation import Effort
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.table_steps import table_steps
from forethought.tasks.words import NAMES

ROWS: Final = {1: 3, 2: 4, 3: 5}
COUNTED: Final = ("points", "books", "coins", "cards", "stamps", "games", "songs", "miles", "pages", "cakes")
COLORS: Final = ("red", "blue", "green", "black", "white", "yellow")
LONGEST_SUM: Final = 3


class TableLookup(TextFamily):
    """Reading rows and columns."""

    name = "table_lookup"
    description = "Answer questions about a small table."
    levels = ("one cell", "the most, the least, a difference or a sum", "a total or a count of some rows")

    def draw(self, rng: Random, level: int) -> Draft:
        first, second = rng.sample(COUNTED, 2)
        names = rng.sample(NAMES, ROWS[level])
        numbers = rng.sample(range(1, 60), 2 * len(names))
        colors = _colors(rng, len(names))
        rows = [list(row) for row in zip(names, numbers, numbers[len(names) :], colors, strict=False)]
        columns = ["name", first, second, "color"]
        if level == 3 or rng.random() < 0.5:
            # Two columns of numbers are enough to mistake one for the other; three columns keep the question short.
            dropped = 2 if level == 3 else 3
            columns.pop(dropped)
            for row in rows:
                row.pop(dropped)
        question, gold = (_cell, _compared, _combined)[level - 1](rng, columns, rows)
        table = "\n".join(" | ".join(map(str, row)) for row in (columns, *rows))
        gold |= {"columns": columns, "rows": rows}
        form = rng.choice((" Answer only that.", " Give only the answer.", " Answer with one word or number.", "", ""))
        text = f"{table}\n\n{question}{form}" if rng.random() < 0.5 else f"{question}{form}\n\n{table}"
        return self.ask(text, gold, key=f"{table}/{question}")

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        gold: dict[str, Any] = problem.gold
        steps = table_steps(gold, effort, rng)
        return self.answer(f"{steps} {rng.choice(('So', 'That is'))} {gold['answer']}.", gold["answer"])

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, problem.gold["answer"])


def _colors(rng: Random, count: int) -> list[str]:
    """Two or three rows share the first color."""
    shared, *others = rng.sample(COLORS, len(COLORS))
    same = min(count - 1, rng.randint(2, LONGEST_SUM))
    return rng.sample([shared] * same + others[: count - same], count)


def _cell(rng: Random, columns: list[str], rows: list[list[Any]]) -> tuple[str, dict[str, Any]]:
    column, row = rng.randrange(1, len(columns)), rng.choice(rows)
    gold = {"kind": "cell", "name": row[0], "column": column, "answer": str(row[column])}
    if columns[column] == "color":
        return f"What color does {row[0]} have?", gold
    return rng.choice(("How many {0} does {1} have?", "What is the number of {0} of {1}?")).format(
        columns[column], row[0]
    ), gold


def _compared(rng: Random, columns: list[str], rows: list[list[Any]]) -> tuple[str, dict[str, Any]]:
    column = rng.choice([index for index, title in enumerate(columns) if index and title != "color"])
    title, kind = columns[column], rng.choice(("most", "fewest", "difference", "sum"))
    if kind in ("most", "fewest"):
        best = (max if kind == "most" else min)(rows, key=lambda row: row[column])
        return f"Who has the {kind} {title}?", {"kind": kind, "column": column, "answer": best[0]}
    pair = rng.sample(rows, 2)
    if kind == "difference":
        pair.sort(key=lambda row: -row[column])
    (first, a), (second, b) = ((row[0], row[column]) for row in pair)
    gold = {"kind": kind, "column": column, "names": [first, second], "answer": str(a + b if kind == "sum" else a - b)}
    if kind == "sum":
        return f"How many {title} do {first} and {second} have together?", gold
    return f"How many more {title} does {first} have than {second}?", gold


def _combined(rng: Random, columns: list[str], rows: list[list[Any]]) -> tuple[str, dict[str, Any]]:
    title = columns[1]
    if rng.random() < 0.5:
        border = rng.randint(10, 50)
        gold = {"kind": "count", "column": 1, "border": border, "answer": str(sum(row[1] > border for row in rows))}
        return f"How many people have more than {border} {title}?", gold
    color = next(row[2] for row in rows if sum(row[2] == other[2] for other in rows) > 1)
    total = sum(row[1] for row in rows if row[2] == color)
    gold = {"kind": "total", "column": 1, "color": color, "answer": str(total)}
    return f"How many {title} do the people with the color {color} have together?", gold


FAMILY = TableLookup()
