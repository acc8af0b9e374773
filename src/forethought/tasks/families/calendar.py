"""Weekdays, dates and leap years."""

from calendar import monthrange
from datetime import date, timedelta
from random import Random
from typing import Any, Final

from forethought.model.conversation import Effort
from forethought.tasks.calendar_steps import DAYS, MONTHS, after_steps, between_steps, leap_steps, weekday_steps
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import asked

LEAP: Final = (
    "Which of these years is a leap year: {years}? Answer with the year.",
    "One of the years {years} is a leap year. Which? Answer with the year only.",
    "Which of {years} is a leap year?",
    "Which year is a leap year: {years}?",
    "Find the leap year: {years}.",
    "Only one of {years} is a leap year. Which one?",
)
LATER: Final = (
    "Today is {day}. What day of the week is it in {n} days? Answer with the day only.",
    "It is {day}. Which weekday comes {n} days later? Answer with one word.",
    "Today is {day}. What day is it in {n} days?",
    "If today is {day}, what day is it in {n} days?",
    "What day of the week comes {n} days after {day}?",
    "It's {day}. What day will it be {n} days from now?",
    "Today is {day}. Which day of the week will it be in {n} days?",
)
EARLIER: Final = (
    "Today is {day}. What day of the week was it {n} days ago? Answer with the day only.",
    "It is {day}. Which weekday was {n} days earlier? Answer with one word.",
    "Today is {day}. What day was it {n} days ago?",
    "If today is {day}, what day was it {n} days ago?",
    "Which day of the week was {n} days earlier than {day}?",
    "It's {day}. Which day of the week was it {n} days ago?",
)
BETWEEN: Final = (
    "How many days later than {first} {year} is {last}? Answer with a number.",
    "In {year}, how many days after {first} is {last}? Answer with the number only.",
    "How many days are there from {first} to {last} {year}?",
    "How many days is it from {first} to {last} in {year}?",
    "How many days after {first} {year} is {last}?",
    "It is {first} {year}. In how many days is {last}?",
)
AFTER: Final = (
    "What date is {n} days after {first} {year}? Answer like 5 May.",
    "In {year}, which date comes {n} days after {first}? Answer with day and month, like 5 May.",
    "It is {first} {year}. What date is it in {n} days? Answer like 5 May.",
    "What date is {n} days after {first} {year}?",
    "Which date is {n} days later than {first} {year}?",
)
WEEKDAY: Final = (
    "In {year}, {first} is a {day}. What day of the week is {last}? Answer with the day only.",
    "{first} {year} is a {day}. Which weekday is {last} of that year? Answer with one word.",
    "In {year}, {first} is a {day}. What day is {last}?",
    "{first} {year} is a {day}. What day of the week is {last}?",
    "If {first} {year} is a {day}, which day of the week is {last} of that year?",
)
LEAP_CENTURIES: Final = (1600, 2000, 2400)
COMMON_CENTURIES: Final = (1700, 1800, 1900, 2100)


class Calendar(TextFamily):
    """Counting in sevens, and in months of different lengths."""

    name = "calendar"
    description = "Reckon with weekdays, dates and leap years."
    levels = (
        "the weekday up to 60 days away; leap years",
        "days between dates up to two months apart; the date some weeks later; leap years at centuries",
        "days between dates months apart; the weekday of a date",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        if level == 1:
            return self._weekday(rng) if rng.random() < 0.7 else self._leap(rng, at_century=False)
        if level == 2:
            kind = rng.random()
            if kind < 0.2:
                return self._leap(rng, at_century=True)
            return self._between(rng, rng.randint(1, 2)) if kind < 0.6 else self._after(rng)
        weekday = rng.random() < 0.5
        return self._between(rng, rng.randint(2, 3) if weekday else rng.randint(3, 4), weekday)

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        gold: dict[str, Any] = problem.gold
        match gold["kind"]:
            case "leap":
                steps = leap_steps(gold["years"], effort, rng)
            case "weekday":
                steps = weekday_steps(gold["day"], gold["n"], effort, rng)
            case "between":
                steps = between_steps(_date(gold["first"]), _date(gold["last"]), effort, rng)
            case "after":
                steps = after_steps(_date(gold["first"]), gold["n"], effort, rng)
            case _:
                first, last = _date(gold["first"]), _date(gold["last"])
                steps = between_steps(first, last, effort, rng)
                steps += " " + weekday_steps(first.weekday(), (last - first).days, effort, rng)
        return self.answer(f"{steps} {rng.choice(('So', 'That is'))} {gold['answer']}.", gold["answer"])

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, problem.gold["answer"])

    def _leap(self, rng: Random, at_century: bool) -> Draft:
        leap = [year for year in range(1804, 2100, 4) if year % 100]
        common = [year for year in range(1801, 2100) if year % 4]
        right = rng.choice(leap)
        years = [right, *rng.sample(common, 2)]
        if at_century:
            years = [rng.choice((right, rng.choice(LEAP_CENTURIES))), rng.choice(COMMON_CENTURIES), rng.choice(common)]
        years = rng.sample(years, 3)
        answer = next(year for year in years if year % 4 == 0 and year not in COMMON_CENTURIES)
        question = asked(rng, LEAP, years=", ".join(map(str, years)))
        return self.ask(question, {"kind": "leap", "years": years, "answer": str(answer)}, key=f"leap {sorted(years)}")

    def _weekday(self, rng: Random) -> Draft:
        day, n = rng.randrange(7), rng.randint(3, 60) * rng.choice((1, 1, -1))
        question = asked(rng, LATER if n > 0 else EARLIER, day=DAYS[day], n=abs(n))
        gold = {"kind": "weekday", "day": day, "n": n, "answer": DAYS[(day + n) % 7]}
        return self.ask(question, gold, key=f"weekday {day} {n}")

    def _between(self, rng: Random, months: int, weekday: bool = False) -> Draft:
        year, month = rng.randint(1990, 2040), rng.randint(1, 12 - months)
        first, last = _some_day(rng, year, month), _some_day(rng, year, month + months)
        day, answer = DAYS[first.weekday()], str((last - first).days)
        kind, wordings = ("date", WEEKDAY) if weekday else ("between", BETWEEN)
        question = asked(rng, wordings, first=_named(first), last=_named(last), year=year, day=day)
        gold = {"kind": kind, "first": first.isoformat(), "last": last.isoformat()}
        gold["answer"] = DAYS[last.weekday()] if weekday else answer
        return self.ask(question, gold, key=f"{kind} {_named(first)} {_named(last)} {answer} {day if weekday else ''}")

    def _after(self, rng: Random) -> Draft:
        first = _some_day(rng, rng.randint(1990, 2040), rng.randint(1, 10))
        n = rng.randint(15, 60)
        last = first + timedelta(n)
        # The question shows 5 May as an example.
        if last.month == first.month or last.year != first.year or _named(last) == "5 May":
            return self._after(rng)
        question = asked(rng, AFTER, first=_named(first), n=n, year=first.year)
        gold = {"kind": "after", "first": first.isoformat(), "n": n, "answer": _named(last)}
        return self.ask(question, gold, key=f"after {_named(first)} {n} {_named(last)}")


def _date(text: str) -> date:
    return date.fromisoformat(text)


def _named(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]}"


def _some_day(rng: Random, year: int, month: int) -> date:
    return date(year, month, rng.randint(1, monthrange(year, month)[1]))


FAMILY = Calendar()
