"""How dates are reckoned with, step by step: for the traces of the family `calendar`."""

from calendar import isleap, monthrange
from datetime import date, timedelta
from random import Random
from typing import Final

from forethought.model.conversation import Effort
from forethought.tasks.written import added, taken

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: Final = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
KNOWN_DAYS: Final = 2
"""So many days later or earlier, the weekday is known without counting."""


def weekday_steps(day: int, n: int, effort: Effort, rng: Random) -> str:
    """The weekday `n` days after the weekday `day` (0 is Monday), before it where `n` is negative."""
    left, steps = abs(n), ""
    while left >= 70:
        steps += f"{left}-70={left - 70}. "
        left -= 70
    rest = left % 7
    found = DAYS[(day + (rest if n > 0 else -rest)) % 7]
    if effort == "low":
        known = f"{DAYS[day]}{'+' if n > 0 else '-'}{rest} is {found}"
        way = known if rest <= KNOWN_DAYS else _walk(day, rest if n > 0 else -rest)
        return f"{steps}{left}-{left - rest}={rest}, {way}."
    weeks = rng.choice(("Weeks:", "Whole weeks:"))
    steps += (
        f"{weeks} {left // 7}*7={left - rest}, {left}-{left - rest}={rest}. {_walk(day, rest if n > 0 else -rest)}."
    )
    return steps


def leap_steps(years: list[int], effort: Effort, rng: Random) -> str:
    """Which one of the years is a leap year. With little effort, up to the one."""
    judged: list[str] = []
    for year in years:
        judged.append(leap_step(year, short=effort == "low"))
        if effort == "low" and isleap(year):
            break
    return " ".join(judged)


def leap_step(year: int, *, short: bool = False) -> str:
    """Whether one year is a leap year: four divides its last two digits, at a century the first two."""
    century, ending = divmod(year, 100)
    digits = ending or century
    rest = digits % 4
    verdict = "no" if rest else "leap"
    if short:
        return f"{year}: {digits}-{digits - rest}={rest}, {verdict}."
    where = f"ends in {ending:02d}" if ending else f"a century, {century}"
    return f"{year}: {where}, {digits // 4}*4={digits - rest}, {digits}-{digits - rest}={rest}, {verdict}."


def between_steps(first: date, last: date, effort: Effort, rng: Random) -> str:
    """The days from one date to a later one in the same year: to the end of the month, whole months, the last days."""
    short = effort == "low"
    length = _length(first.year, first.month)
    total = length - first.day
    steps = [_february(first, last, effort), _opened(first.month, length, short) + taken(length, first.day)]
    for number in range(first.month + 1, last.month):
        length = _length(first.year, number)
        steps.append(f"{MONTHS[number - 1]} {'' if short else f'{length}: '}{added(total, length)}")
        total += length
    to = "to" if short else f"To {last.day}"
    steps.append(f"{to} {MONTHS[last.month - 1]}{' ' if short else ': '}{added(total, last.day)}")
    total += last.day
    return (", " if short else ". ").join(filter(None, steps)) + "."


def after_steps(first: date, n: int, effort: Effort, rng: Random) -> str:
    """The date `n` days after another in the same year: month by month."""
    short = effort == "low"
    last = first + timedelta(n)
    length = _length(first.year, first.month)
    rest = length - first.day
    left = n - rest
    steps = [_february(first, last + timedelta(28), effort)]
    steps.append(f"{_opened(first.month, length, short)}{taken(length, first.day)}, {taken(n, rest)}")
    for number in range(first.month + 1, last.month):
        length = _length(first.year, number)
        steps.append(_opened(number, length, short) + taken(left, length))
        left -= length
    has = " " if short else " has "
    steps.append(f"{MONTHS[last.month - 1]}{has}{_length(last.year, last.month)}, {left} fits")
    return (", " if short else ". ").join(filter(None, steps)) + "."


def _opened(month: int, length: int, short: bool) -> str:
    """How the step over a month begins."""
    return f"{MONTHS[month - 1]} " if short else f"{MONTHS[month - 1]} has {length}: "


def _february(first: date, last: date, effort: Effort) -> str:
    """How long February is, where it matters."""
    if not first.month <= 2 < last.month:
        return ""
    step = leap_step(first.year, short=effort == "low").rstrip(".")
    return step if effort == "low" else f"{step}, February has {_length(first.year, 2)}"


def _walk(day: int, steps: int) -> str:
    """The days on the way, counted: "Friday, Saturday 1, Sunday 2"."""
    sign = 1 if steps > 0 else -1
    return ", ".join([DAYS[day], *(f"{DAYS[(day + sign * n) % 7]} {n}" for n in range(1, abs(steps) + 1))])


def _length(year: int, month: int) -> int:
    return monthrange(year, month)[1]
