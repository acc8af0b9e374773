"""How a small table is read, step by step: for the traces of the family `table_lookup`."""

from random import Random
from typing import Any, Final

from forethought.model.conversation import Effort
from forethought.tasks.written import added, taken


def table_steps(gold: dict[str, Any], effort: Effort, rng: Random) -> str:
    """The thinking that answers one question."""
    return _STEPS[gold["kind"]](gold, effort, rng)


def _cell_steps(gold: dict[str, Any], effort: Effort, rng: Random) -> str:
    column, columns = gold["column"], gold["columns"]
    row = next(row for row in gold["rows"] if row[0] == gold["name"])
    if effort == "low":
        return f"{gold['name']}, {columns[column]}: {row[column]}."
    numbered = ", ".join(f"{place} {title}" for place, title in enumerate(columns, 1))
    found = ", ".join(f"{place} {value}" for place, value in enumerate(row, 1))
    return f"{rng.choice(('Columns', 'Titles'))}: {numbered}. {row[0]}: {found}. {columns[column]} is {column + 1}."


def _best_steps(gold: dict[str, Any], effort: Effort, rng: Random) -> str:
    column, rows, sign = gold["column"], gold["rows"], 1 if gold["kind"] == "most" else -1
    ordered = sorted(rows, key=lambda row: -sign * row[column])
    best = ordered[0]
    if effort == "low":
        return f"{_column(gold)}. {gold['kind']} {best[column]}."
    steps, leader = (
        f"{gold['columns'][column]}: {_column(gold)}. {rng.choice(('Start', 'First'))} {rows[0][0]}.",
        rows[0],
    )
    for row in rows[1:]:
        compare = ">" if row[column] > leader[column] else "<"
        steps += f" {row[column]}{compare}{leader[column]}: "
        leader = row if (row[column] - leader[column]) * sign > 0 else leader
        steps += f"{leader[0]}."
    return steps


def _pair_steps(gold: dict[str, Any], effort: Effort, rng: Random) -> str:
    column = gold["column"]
    a, b = (next(row[column] for row in gold["rows"] if row[0] == name) for name in gold["names"])
    plus = gold["kind"] == "sum"
    worked = (added if plus else taken)(a, b)
    if effort == "low":
        return f"{worked}."
    return f"{gold['columns'][column]}: {gold['names'][0]} {a}, {gold['names'][1]} {b}. {worked}."


def _count_steps(gold: dict[str, Any], effort: Effort, rng: Random) -> str:
    border, steps, count = gold["border"], list[str](), 0
    for row in gold["rows"]:
        count += row[1] > border
        if effort == "low":
            steps.append(f"{row[1]} {'yes' if row[1] > border else 'no'}")
        else:
            steps.append(f"{row[0]} {row[1]}{'>' if row[1] > border else '<='}{border} {count}")
    return ", ".join(steps) + "."


def _total_steps(gold: dict[str, Any], effort: Effort, rng: Random) -> str:
    chosen = [row for row in gold["rows"] if row[2] == gold["color"]]
    listed = ", ".join(f"{row[0]} {row[1]}" for row in chosen)
    steps, total = list[str](), chosen[0][1]
    for row in chosen[1:]:
        steps.append(added(total, row[1]))
        total += row[1]
    if effort == "low":
        return f"{', '.join(str(row[1]) for row in chosen)}: {', '.join(steps)}."
    colors = ", ".join(f"{row[0]} {row[2]}" for row in gold["rows"])
    return f"{colors}. {gold['color']}: {listed}. {', '.join(steps)}."


def _column(gold: dict[str, Any]) -> str:
    return ", ".join(f"{row[0]} {row[gold['column']]}" for row in gold["rows"])


_STEPS: Final = {
    "cell": _cell_steps,
    "most": _best_steps,
    "fewest": _best_steps,
    "difference": _pair_steps,
    "sum": _pair_steps,
    "count": _count_steps,
    "total": _total_steps,
}
