"""The right answers, found once more: read from the question alone, by brute force where that is possible."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import permutations, product
from typing import Final

MORE: Final = ("taller", "older", "faster", "heavier", "louder", "stronger")
MOST: Final = ("tallest", "oldest", "fastest", "heaviest", "loudest", "strongest")
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def sort_numbers(question: str) -> list[str]:
    down = re.search("largest to smallest|greatest to least|high to low|descending", question)
    numbers = sorted(map(int, re.findall(r"\d+", question)), reverse=down is not None)
    return [", ".join(map(str, numbers))]


def sort_words(question: str) -> list[str]:
    listed = re.search(r"\w+(?:, \w+)+", question.replace("list only, separated", ""))
    assert listed is not None
    return [", ".join(sorted(listed[0].removeprefix("Put ").split(", ")))]


def letter_count(question: str) -> list[str]:
    letter = re.search(r""""(\w)"|\b(\w)'s|letters? (\w)\b|times is (\w)\b""", question)
    words = re.search(r' in ((?:"?\w+"?(?:, | and )?)+)', question)
    assert letter is not None
    assert words is not None
    return [str(words[1].replace(" and ", " ").count(next(filter(None, letter.groups()))))]


def spell_backward(question: str) -> list[str]:
    named = re.search(r"word (\w+)", question) or re.search(r"[sS]pell (\w+)", question)
    words = re.findall(r'"(\w+)"', question) or ([named[1]] if named else [])
    apart = re.search("[sS]pell|letters", question)
    return [", ".join(" ".join(word[::-1]) if apart else word[::-1] for word in words)]


def calendar(question: str) -> list[str]:
    if "leap" in question:
        return [year for year in re.findall(r"\d{4}", question) if _exists(29, "February", year)]
    asked = question.replace("like 5 May", "")
    dates = re.findall(r"(\d+) ([A-Z][a-z]+)", asked)
    year = re.search(r"\d{4}", asked)
    if year is None:
        away = int(re.findall(r"\d+", asked)[0]) * (-1 if "ago" in asked or "earlier" in asked else 1)
        return [DAYS[(_day_in(asked) + away) % 7]]
    days = [datetime.strptime(f"{day} {month} {year[0]}", "%d %B %Y").date() for day, month in dates]
    if "date" in asked:
        away = next(int(n) for n in re.findall(r"(\d+) days", asked))
        later = days[0] + timedelta(away)
        return [f"{later.day} {later:%B}"]
    if any(day in asked for day in DAYS):
        assert days[0].weekday() == _day_in(asked)
        return [DAYS[days[1].weekday()]]
    return [str((days[1] - days[0]).days)]


def clock(question: str) -> list[str]:
    asked = re.sub(r" Answer .*", "", question)
    shown = re.findall(r"(\d+):(\d\d)(?: (am|pm))?", asked)
    times = [_minutes(*found) for found in shown]
    if len(times) == 2:
        passed = (times[1] - times[0]) % 1440
        return [f"{passed // 60}:{passed % 60:02d}"]
    span = sum(int(n) * (60 if unit == "hour" else 1) for n, unit in re.findall(r"(\d+) (hour|minute)", asked))
    back = any(word in asked for word in ("before", "ago", "leave"))
    end = datetime(2000, 1, 5) + timedelta(minutes=times[0] + (-span if back else span))
    if shown[0][2]:
        return [f"{end:%I:%M} {'am' if end.hour < 12 else 'pm'}".removeprefix("0")]
    return [f"{end:%H:%M}"]


def table_lookup(question: str) -> list[str]:
    columns, *rows = [line.split(" | ") for line in question.splitlines() if " | " in line]
    asked = next(line for line in question.splitlines() if "?" in line)
    title = max((title for title in columns[1:] if title in asked), key=len, default="color")
    values = {row[0]: row[columns.index(title)] for row in rows}
    names = [name for name in values if re.search(rf"\b{name}\b", asked)]
    if "more than" in asked:
        border = re.search(r"\d+", asked)
        assert border is not None
        return [str(sum(int(value) > int(border[0]) for value in values.values()))]
    if "with the color" in asked:
        title = next(title for title in columns[1:] if title != "color")
        return [str(sum(int(row[columns.index(title)]) for row in rows if f"color {row[-1]} " in asked))]
    if " most " in asked or " fewest " in asked:
        best = (max if " most " in asked else min)(map(int, values.values()))
        return [name for name, value in values.items() if int(value) == best]
    if len(names) == 1:
        return [values[names[0]]]
    first, second = (int(values[name]) for name in names)
    return [str(first + second if "together" in asked else abs(first - second))]


def ordering(question: str) -> list[str]:
    facts = re.findall(r"(\w+) is (\w+) than (\w+)\.", question)
    higher = [(a, b) if word in MORE else (b, a) for a, word, b in facts]
    people = sorted({name for pair in higher for name in pair})
    orders = [
        order for order in permutations(people) if all(order.index(high) < order.index(low) for high, low in higher)
    ]
    return sorted({_place(order, question) for order in orders})


def knights_knaves(question: str) -> list[str]:
    spoken = re.findall(r'(\w+) says: "(.*?)"', question)
    people = [who for who, _ in spoken]
    fitting: list[str] = []
    for kinds in product((True, False), repeat=len(people)):
        knight = dict(zip(people, kinds, strict=True))
        if all(_holds(said, knight) == knight[who] for who, said in spoken):
            fitting.append(", ".join(who for who in people if knight[who]) or "none")
    return fitting


def word_problems(question: str) -> list[str]:
    value: int | None = None
    for sentence in re.split(r"(?<=[.?]) ", question):
        numbers = [int(n) for n in re.findall(r"\d+", sentence)]
        if not numbers or re.search(r"kilos|years old|walk home|lives at|degrees", sentence):
            continue
        if len(numbers) == 2:
            value = numbers[0] * numbers[1]
        elif value is not None and re.search("has .* (bags|cars)", sentence):
            value *= numbers[0]
        elif value is None:
            value = numbers[0]
        elif "equal" in sentence:
            assert value % numbers[0] == 0
            value //= numbers[0]
        else:
            gained = re.search(r"more|finds|gives (?!away)\w+ \d|adds|get on|earns|gets", sentence)
            value += numbers[0] if gained else -numbers[0]
    return [str(value)]


ORACLES: Final[dict[str, Callable[[str], Iterable[str]]]] = {
    solve.__name__: solve
    for solve in (
        sort_numbers,
        sort_words,
        letter_count,
        spell_backward,
        calendar,
        clock,
        table_lookup,
        ordering,
        knights_knaves,
        word_problems,
    )
}
"""By family: every answer that fits a question. There should be one."""


def _exists(day: int, month: str, year: str) -> bool:
    try:
        datetime.strptime(f"{day} {month} {year}", "%d %B %Y")
    except ValueError:
        return False
    return True


def _day_in(text: str) -> int:
    return next(index for index, day in enumerate(DAYS) if day in text)


def _minutes(hours: str, minutes: str, half: str) -> int:
    hour = int(hours) % 12 + 12 * (half == "pm") if half else int(hours)
    return hour * 60 + int(minutes)


def _place(order: tuple[str, ...], question: str) -> str:
    asked = question.rpartition(". Who")[2]
    if "middle" in asked:
        return order[len(order) // 2]
    if between := re.search(r"between (\w+) and (\w+)", asked):
        low, high = sorted((order.index(between[1]), order.index(between[2])))
        assert high - low == 2
        return order[low + 1]
    found = re.search(r"the (second |third )?(\w+)", asked)
    assert found is not None
    place = {None: 0, "second ": 1, "third ": 2}[found[1]]
    return order[place] if found[2] in MOST else order[-1 - place]


def _holds(said: str, knight: dict[str, bool]) -> bool:
    named = [name for name in knight if re.search(rf"\b{name}\b", said)]
    knights = sum(knight.values())
    if "At least one of us is a knave" in said:
        return knights < len(knight)
    if "None of us" in said:
        return knights == 0
    if counted := re.match(r"Exactly (one|two)", said):
        return knights == {"one": 1, "two": 2}[counted[1]]
    if both := re.search(r"both (knights|knaves)", said):
        return {knight[name] for name in named} == {both[1] == "knights"}
    if "kind" in said:
        return (knight[named[0]] == knight[named[1]]) == ("same" in said)
    return knight[named[0]] == ("knight" in said)
