"""Attempts that no verifier may accept, made out of a right one: what a model could stumble on, or learn to exploit.

They know nothing of the family. White space means nothing here; where an answer is JSON, its values are changed.
"""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from random import Random
from typing import Any, Final, Literal, cast

from forethought.model.conversation import Item, Message, Thinking, ToolCall, ToolResult
from forethought.tasks.problem import Transcript

Kind = Literal["empty", "perturbed", "padded", "doubled", "long"]
Wrong = tuple[Kind, Transcript]

LONG: Final = 100_000
"""Characters. Python's own limits (digits of a number, depth of a document) lie far below."""
PADDINGS: Final = (
    "The answer is {0}",
    "{0} is the answer",
    "{0} or 0",
    "= {0}",
    '"{0}"',
    "**{0}**",
    "```\n{0}\n```",
    "{0}\u200b",
    "{0}\x00",
    "{0}\ud800",
)
OTHER_DIGITS: Final = (str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩"), str.maketrans("0123456789", "０１２３４５６７８９"))
"""Digits that `int` reads, and nobody asked for."""


def wrong_attempts(right: Transcript, rng: Random) -> Iterator[Wrong]:
    """Wrong attempts of all kinds. `right` ends with an answer, or with calls."""
    before, said = split_output(right)
    thought = tuple(item for item in said if isinstance(item, Thinking))
    calls = tuple(item for item in said if isinstance(item, ToolCall))
    yield "empty", ()
    yield "empty", (*before, *thought)
    for text in ("", " ", "\n\n"):
        yield "empty", (*before, *thought, Message.of("assistant", text))
    changed = _calls(calls, rng) if calls else _texts(output_text(right), rng)
    for kind, output in changed:
        yield kind, (*before, *thought, *output)


def split_output(transcript: Transcript) -> tuple[Transcript, Transcript]:
    """What came before the last output, and that output."""
    results = [place for place, item in enumerate(transcript) if isinstance(item, ToolResult)]
    begin = results[-1] + 1 if results else 0
    return transcript[:begin], transcript[begin:]


def output_text(transcript: Transcript) -> str:
    """What the last output says."""
    return "".join(item.text for item in split_output(transcript)[1] if isinstance(item, Message))


def _texts(text: str, rng: Random) -> Iterator[tuple[Kind, tuple[Item, ...]]]:
    def say(said: str) -> tuple[Item, ...]:
        return (Message.of("assistant", said),)

    for changed in _changed_document(text, rng) or (_changed_prose if "\n" in text else _changed_text)(text, rng):
        if "".join(changed.split()) != "".join(text.split()):
            yield "perturbed", say(changed)
    for padding in PADDINGS:
        yield "padded", say(padding.format(text))
    yield "padded", (ToolCall("call", "answer", json.dumps({"answer": text})), *say(text))
    for between in (" ", "\n", ", "):
        yield "doubled", say(f"{text}{between}{text}")
    yield "doubled", (*say(text), *say(text))
    for filler in (f" {text}", " x", "9", "[", "\n"):
        yield "long", say(text + filler * (LONG // len(filler)) + text)


def _changed_text(text: str, rng: Random) -> Iterator[str]:
    """Texts that are nearly this one."""
    for place in rng.sample(range(len(text)), min(4, len(text))):
        yield text[:place] + _other(text[place]) + text[place + 1 :]
    yield text[:-1]
    yield text[1:]
    yield text + text[-1]
    yield f"{text}."
    yield text.swapcase()
    for digits in OTHER_DIGITS:
        yield text.translate(digits)
    if text.removeprefix("-").isdecimal():
        yield from (f"+{text}", f"0{text}", f"-{text}", f"{text}.0", f"{text}_0", f"{text}e0")


def _changed_prose(text: str, rng: Random) -> Iterator[str]:
    """The same for a text of several lines, which may be right with another letter in it: half of it, or a word that
    does not belong there."""
    yield from text.splitlines()
    words = re.split(r"( )", text)
    for place in rng.sample(range(0, len(words), 2), min(4, (len(words) + 1) // 2)):
        yield "".join((*words[:place], f"zqx{words[place]}", *words[place + 1 :]))


def _other(character: str) -> str:
    """Another character of the same kind; nothing in place of a mark."""
    for first, count in (("0", 10), ("a", 26), ("A", 26)):
        place = ord(character) - ord(first)
        if 0 <= place < count:
            return chr(ord(first) + (place + 1) % count)
    return ""


def _changed_document(text: str, rng: Random) -> list[str]:
    """The same for an answer that is a JSON object or array; nothing for another one."""
    try:
        document = json.loads(text)
    except ValueError:
        return []
    if not isinstance(document, dict | list):
        return []
    return [json.dumps(changed) for changed in _changed_value(document, rng)] + [text[:-1], f"[{text}]"]


def _changed_value(document: Any, rng: Random) -> Iterator[Any]:
    """Documents in which one value, its type or one name is another."""
    places = list(_places(document))
    for holder, name in rng.sample(places, min(4, len(places))):
        for change in _changed_leaf(_at(document, holder)[name]):
            changed = deepcopy(document)
            _at(changed, holder)[name] = change
            yield changed
        without = deepcopy(document)
        del _at(without, holder)[name]
        yield without
    if isinstance(document, dict):
        yield {**cast(dict[str, Any], document), "another": 1}


def _changed_leaf(value: Any) -> list[Any]:
    match value:
        case bool():
            return [not value, str(value).lower(), int(value)]
        case int() | float():
            return [value + 1, -value - 1, str(value)]
        case str():
            return [f"{value}x", value[1:] if value[1:] != value else "x", None]
        case _:
            return [[value], None if value is not None else 0]


def _places(document: Any, holder: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Where the values are that hold no others: the way to what holds them, and their name there."""
    children: list[tuple[Any, Any]] = []
    if isinstance(document, dict):
        children = list(cast(dict[Any, Any], document).items())
    elif isinstance(document, list):
        children = list(enumerate(cast(list[Any], document)))
    for name, child in children:
        if isinstance(child, dict | list) and child:
            yield from _places(child, (*holder, name))
        else:
            yield holder, name


def _at(document: Any, way: tuple[Any, ...]) -> Any:
    """The part of a document that this way leads to."""
    for name in way:
        document = document[name]
    return document


def _calls(calls: tuple[ToolCall, ...], rng: Random) -> Iterator[tuple[Kind, tuple[Item, ...]]]:
    place = rng.randrange(len(calls))
    one = calls[place]

    def instead(*others: ToolCall) -> tuple[ToolCall, ...]:
        return (*calls[:place], *others, *calls[place + 1 :])

    yield "perturbed", instead(replace(one, name=f"{one.name}x"))
    yield "perturbed", instead(replace(one, custom=not one.custom))
    yield "perturbed", instead(replace(one, arguments=one.arguments[:-1]))
    for arguments in _changed_document(one.arguments, rng):
        yield "perturbed", instead(replace(one, arguments=arguments))
    yield "empty", instead(replace(one, arguments=""))
    yield "empty", instead()
    yield "padded", (Message.of("assistant", "Done."), *calls)
    yield "padded", (*calls, ToolCall("another", "answer", "{}"))
    yield "doubled", (*calls, *(replace(call, call_id=f"{call.call_id}_again") for call in calls))
    yield "doubled", instead(one, replace(one, call_id="again"))
    yield "doubled", instead(replace(one, arguments=one.arguments * 2))
    yield "long", instead(replace(one, name=one.name * (LONG // len(one.name))))
    yield "long", instead(replace(one, arguments="[" * LONG))
    yield "long", instead(replace(one, arguments=f'{{"n":{"9" * LONG}}}'))
    yield "long", tuple(replace(one, call_id=str(number)) for number in range(1000))
