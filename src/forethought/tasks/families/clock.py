"""Times of day, added to, subtracted from and compared."""

from random import Random
from typing import Any, Final

from forethought.model.conversation import Effort
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import asked
from forethought.tasks.written import added, taken

DAY: Final = 24 * 60
LATER: Final = (
    "What time is it {span} after {time}? Answer {form}.",
    "It is {time}. What time is it in {span}? Answer {form}.",
    "A film starts at {time} and takes {span}. When does it end? Answer {form}.",
    "What time is it {span} after {time}?",
    "It is {time}. What time is it in {span}?",
    "What is {span} after {time}?",
    "It is {time} now. What time will it be in {span}?",
    "If it is {time}, what time will it be {span} later?",
    "A class begins at {time} and lasts {span}. When is it over?",
    "What time comes {span} after {time}?",
)
EARLIER: Final = (
    "What time is it {span} before {time}? Answer {form}.",
    "It is {time}. What time was it {span} ago? Answer {form}.",
    "A train arrived at {time} after {span}. When did it leave? Answer {form}.",
    "What time is it {span} before {time}?",
    "It is {time}. What time was it {span} ago?",
    "It is {time} now. What time was it {span} ago?",
    "What is {span} before {time}?",
    "I have to be there at {time}, and the way takes {span}. When do I have to leave?",
)
PASSED: Final = (
    "How long is it from {time} to {other}? Answer in hours and minutes, like 3:05.",
    "A trip lasts from {time} until {other}. How long is that? Answer in hours and minutes, like 3:05.",
    "How much time is there between {time} and {other}? Answer like 3:05.",
    "It is {time}. How long is it until {other}? Answer in hours and minutes, like 3:05.",
)
EXAMPLE: Final = 3 * 60 + 5
"""The span that the question shows. Like the times below, it is never the answer."""
FORM_24: Final = "like 08:05"
FORM_12: Final = "like 8:05 am"


class Clock(TextFamily):
    """Sixty minutes an hour, twenty-four hours a day."""

    name = "clock"
    description = "Reckon with times of day."
    levels = (
        "minutes later or earlier, on the 24-hour clock",
        "hours and minutes later or earlier, over midnight too",
        "the same on the 12-hour clock, and from one time to another",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        back = rng.random() < 0.4
        span = rng.randint(5, 59) if level == 1 else rng.randint(1, 9) * 60 + rng.randint(3, 57)
        start = rng.randrange(60, DAY - 60) if level == 1 else rng.randrange(DAY)
        if level == 3 and rng.random() < 0.4:
            span += span == EXAMPLE
            other = (start + span) % DAY
            question = asked(rng, PASSED, time=_half(start), other=_half(other))
            gold = {"start": start, "span": span, "kind": "passed", "answer": f"{span // 60}:{span % 60:02d}"}
            return self.ask(question, gold, key=f"passed {start} {other}")
        written, form = (_half, FORM_12) if level == 3 else (_full, FORM_24)
        end = (start + (-span if back else span)) % DAY
        if form == f"like {written(end)}":
            return self.draw(rng, level)
        wordings = EARLIER if back else LATER
        question = asked(rng, wordings, time=written(start), span=_spoken(span), form=form)
        gold = {"start": start, "span": span, "kind": "before" if back else "after", "answer": written(end)}
        return self.ask(question, gold, key=f"{gold['kind']} {written(start)} {span}")

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        gold: dict[str, Any] = problem.gold
        start, span, short = gold["start"], gold["span"], effort == "low"
        half = problem.level == 3
        if gold["kind"] == "passed":
            end = (start + span) % DAY
            steps = [_on_24(start), _on_24(end), _difference(end, start, short)]
            steps.append(f"{rng.choice(('So', 'It takes'))} {gold['answer']}.")
        else:
            back = gold["kind"] == "before"
            end = (start + (-span if back else span)) % DAY
            steps = [_on_24(start)] if half else []
            steps.append((_difference if back else _sum)(start, span, short))
            steps += [_on_12(end)] if half else []
            last = f"{rng.choice(('So', 'That is'))} {gold['answer']}."
            # On the 12-hour clock the last step is the answer.
            steps += [rng.choice(("", last))] if half and short else [last]
        return self.answer(" ".join(filter(None, steps)), gold["answer"])

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, problem.gold["answer"])


def _sum(time: int, span: int, short: bool) -> str:
    """A span later: minutes, then hours."""
    hours, minutes = divmod(time, 60)
    more_hours, more = divmod(span, 60)
    steps, total = [added(minutes, more)], minutes + more
    if total >= 60:
        steps.append(f"{total}-60={total - 60}")
        steps.append(f"{hours}+1={hours + 1}")
        hours += 1
    if more_hours:
        steps.append(f"{hours}+{more_hours}={hours + more_hours}")
        hours += more_hours
    if hours >= 24:
        steps.append(taken(hours, 24))
    return _told(time, "+", span, steps, (time + span) % DAY, short)


def _difference(time: int, span: int, short: bool) -> str:
    """A span earlier: minutes, then hours."""
    hours, minutes = divmod(time, 60)
    less_hours, less = divmod(span, 60)
    steps: list[str] = []
    if minutes < less:
        steps += [f"{minutes}+60={minutes + 60}", taken(minutes + 60, less)]
        steps += [f"{less_hours}+1={less_hours + 1}"] if less_hours else []
        less_hours += 1
    else:
        steps.append(taken(minutes, less))
    if hours < less_hours:
        steps.append(f"{hours}+24={hours + 24}")
        hours += 24
    if less_hours:
        steps.append(taken(hours, less_hours))
    return _told(time, "-", span, steps, (time - span) % DAY, short)


def _told(time: int, sign: str, span: int, steps: list[str], end: int, short: bool) -> str:
    if short:
        return f"{', '.join(steps)}."
    return f"{_full(time)}{sign}{span // 60}:{span % 60:02d}: {', '.join(steps)}, {_full(end)}."


def _full(time: int) -> str:
    return f"{time // 60:02d}:{time % 60:02d}"


def _half(time: int) -> str:
    return f"{(time // 60 - 1) % 12 + 1}:{time % 60:02d} {'am' if time < DAY // 2 else 'pm'}"


def _on_24(time: int) -> str:
    return f"{_half(time)} is {_full(time)}."


def _on_12(time: int) -> str:
    return f"{_full(time)} is {_half(time)}."


def _spoken(span: int) -> str:
    hours, minutes = divmod(span, 60)
    parts = [f"{hours} hour{'s' if hours > 1 else ''}"] if hours else []
    return " and ".join([*parts, f"{minutes} minutes"])


FAMILY = Clock()
