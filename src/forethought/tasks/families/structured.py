"""A JSON document filled from a short text."""

from dataclasses import dataclass
from random import Random
from typing import Any, cast

from forethought.model.conversation import Conversation, Effort, Message
from forethought.reasoning.format import JsonSchema
from forethought.tasks.family import TextFamily
from forethought.tasks.json_values import read_json, same_value, write_json
from forethought.tasks.parameters import ALL, PLAIN, TEXT, Parameter, assignment
from forethought.tasks.pools import drawn_apart, pool
from forethought.tasks.problem import CORRECT, Draft, Problem, Split, Transcript, Verdict, wrong
from forethought.tasks.words import THINGS

WORDINGS = (
    "Text: {text}\nFill in this JSON schema: {schema}",
    "{text}\n\nWrite that as JSON with this schema: {schema}",
    "Schema: {schema}\nText: {text}\nGive the JSON only.",
)
TEXTS = ("We need the {thing} {said}.", "This is about the {thing} {said}.", "The {thing} {said} is next.")


@dataclass(frozen=True, slots=True)
class Record:
    """What a text tells: the value, its schema, and for each field of it the words that say it."""

    text: str
    schema: dict[str, Any]
    value: dict[str, Any]
    notes: tuple[tuple[str, str], ...]
    """The words of the text, and the assignment that they come to."""


class Structured(TextFamily):
    """Filling in a schema."""

    name = "structured"
    description = "Fill in a JSON schema from a short text."
    levels = (
        "two or three fields: strings and whole numbers",
        "three or four fields of all types, lists and choices",
        "an object within the object, or a list of two objects",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        return drawn_apart(self.name, rng, lambda split: self._draw(rng, level, split))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        gold: Record = problem.gold
        if effort == "low":
            return self.answer(", ".join(note for _, note in gold.notes), write_json(gold.value))
        found = rng.choice(('"{}": {}.', "{}: {}."))
        steps = [found.format(words, note) for words, note in gold.notes]
        return self.answer("\n".join(steps), write_json(gold.value))

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return CORRECT if same_value(read_json(answer), problem.gold.value) else wrong("not the document")

    def _draw(self, rng: Random, level: int, split: Split) -> Draft:
        match level:
            case 1:
                record = _flat(rng, split, rng.sample(PLAIN, rng.randint(1, 2)))
            case 2:
                record = _flat(rng, split, rng.sample(ALL, rng.randint(2, 3)))
            case _:
                record = rng.choice((_nested, _listed))(rng, split)
        shown = write_json(_shown(record.schema)["properties"])
        question = rng.choice(WORDINGS).format(text=record.text, schema=shown)
        conversation = Conversation((Message.of("user", question),))
        return Draft(conversation, record, write_json(record.value), JsonSchema(record.schema))


def _flat(rng: Random, split: Split, kinds: list[str]) -> Record:
    """A thing and what is said of it."""
    parameters = [Parameter.draw(rng, split, kind) for kind in kinds]
    return _record(rng, split, parameters)


def _record(rng: Random, split: Split, parameters: list[Parameter]) -> Record:
    thing = rng.choice(pool(THINGS, split))
    value: dict[str, Any] = {"item": thing}
    notes = [(thing, assignment("item", thing))]
    for parameter in parameters:
        value[parameter.name] = parameter.value(rng, split)
        phrase = parameter.phrase(value[parameter.name])
        notes.append((phrase, assignment(parameter.name, value[parameter.name])))
    said = " ".join(words for words, _ in rng.sample(notes[1:], len(notes) - 1))
    text = rng.choice(TEXTS).format(thing=thing, said=said)
    return Record(text, _object({"item": TEXT, **{p.name: p.schema for p in parameters}}), value, tuple(notes))


def _nested(rng: Random, split: Split) -> Record:
    """A thing with a maker, who has fields of its own."""
    outer = _flat(rng, split, rng.sample([kind for kind in ALL if kind not in ("person", "city")], 1))
    role = rng.choice(("buyer", "seller", "maker", "owner"))
    parameters = [Parameter("name", "person", TEXT), Parameter.draw(rng, split, rng.choice(("city", "date")))]
    inner = {parameter.name: parameter.value(rng, split) for parameter in parameters}
    name, other = inner["name"], parameters[1]
    phrase = other.phrase(inner[other.name])
    schema = _object({**outer.schema["properties"], role: _object({p.name: p.schema for p in parameters})})
    notes = (*outer.notes, (f"{role} {name} {phrase}", assignment(role, inner)))
    text = f"{outer.text} The {role} is {name} {phrase}."
    return Record(text, schema, {**outer.value, role: inner}, notes)


def _listed(rng: Random, split: Split) -> Record:
    """Two things of which the same is said."""
    parameters = [Parameter.draw(rng, split, kind) for kind in rng.sample(ALL, rng.randint(1, 2))]
    records = [_record(rng, split, parameters) for _ in range(2)]
    name = rng.choice(("items", "orders", "list"))
    value = {name: [record.value for record in records]}
    schema = _object({name: {"type": "array", "items": records[0].schema}})
    notes = tuple((" ".join(words for words, _ in one.notes), write_json(one.value)) for one in records)
    return Record(" ".join(record.text for record in records), schema, value, notes)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _shown(schema: Any) -> Any:
    """The schema without what goes without saying: nothing is optional, and nothing may be added."""
    if not isinstance(schema, dict):
        return schema
    named = cast(dict[str, Any], schema)
    return {name: _shown(part) for name, part in named.items() if name not in ("required", "additionalProperties")}


FAMILY = Structured()
