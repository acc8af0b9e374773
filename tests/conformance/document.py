"""The report as a document for people."""

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version

from conformance.answers import Fields, Values
from conformance.report import Report, Surveyed
from conformance.routes import Route
from conformance.survey import Acts, Attempt, Outcome, Refused, Same

HEAD = """# Conformance with OpenAI's APIs

Written by `make conformance`; the tests fail when it is out of date. OpenAI's side is read from the types of the
`openai` SDK {version}. Ours was seen in the answers of the application: each parameter was sent in a request, and what
is said to act was proved by what the engine was given or by what came back.

- **acts**: the value changed what it should. Of several values one may be **the default**: as if it were left out.
- **changes nothing**: it is taken, for the reason given.
- A status with a code and a message is the refusal of the request; `…` stands for what it names. What is refused as a
  whole is not followed further.
- `tools[function].name` is a field of those entries of `tools` whose type is `function`; `text.format(json_schema)` is
  a `text.format` of that type. Objects that have no type of their own go by their name in the SDK.
- Where a model that is served *lenient*, or one that does *not think*, does otherwise than others, it says so.
- A parameter that OpenAI lets be null may be null here, unless it is refused.

What the tables cannot say:

- A function of Responses that leaves out `strict` is strict, if its schema is one that can bind the arguments; else it
  is not. The response echoes which. One of Chat Completions is strict only if it says so.
- A turn that a limit ended is `incomplete`, and in Chat Completions has the `finish_reason` `length`. One that brought
  no answer for another reason (the engine failed, the model stopped while it thought, or wrote a tool call that is
  none) has failed: for who waits, an HTTP error of 500 or above; in a stream, `response.failed`, or in Chat Completions
  an object with an `error`.
"""
KINDS = {"lenient": "lenient: ", "unthinking": "not thinking: "}
TITLES = ("`POST /v1/responses`", "`POST /v1/responses/input_tokens`", "`POST /v1/chat/completions`")
OBJECTS = ("always", "at times", "null", "not sent", "not in the SDK")


def render(report: Report) -> str:
    """The document."""
    responses, counts, chat = (_parameters(surveyed) for surveyed in report.surveys)
    sections = [
        HEAD.format(version=version("openai")),
        "## Routes\n",
        _routes(report.routes),
        f"## {TITLES[0]}: parameters\n",
        responses,
        f"## {TITLES[0]}: events\n",
        _table(("event", *OBJECTS), [_fields(one) for one in report.events]),
        f"Not sent: {_names(report.silent)}.\n",
        f"## {TITLES[0]}: the response\n",
        _objects("Response", report.response),
        f"## {TITLES[1]}: parameters\n",
        counts,
        f"## {TITLES[2]}: parameters\n",
        chat,
        f"## {TITLES[2]}: the completion\n",
        _objects("ChatCompletion", report.completion),
        f"## {TITLES[2]}: chunks\n",
        _objects("ChatCompletionChunk", report.chunk),
    ]
    return "\n".join(sections)


def _routes(routes: Iterable[Route]) -> str:
    """Routes with the same answer share a row."""
    rows: dict[str, list[str]] = {}
    for route in routes:
        ours = "answers" if route.status == 200 else _refusal(route.status, route.code, route.message)
        rows.setdefault(ours, []).append(f"{route.method} {route.path}")
    return _table(("route", "ours"), [(_names(named), ours) for ours, named in rows.items()])


def _parameters(surveyed: Surveyed) -> str:
    """A row for each parameter and what became of it. Values with the same fate share one, and so do parameters that
    are refused in the same words."""
    fates: dict[tuple[str, str], list[str]] = {}
    for attempt in sorted(surveyed.attempts, key=lambda attempt: attempt.path.replace("[]", "[")):
        values = fates.setdefault((attempt.path, _fate(attempt)), [])
        if attempt.shown and attempt.shown not in values:
            values.append(attempt.shown)
    rows: dict[tuple[str, ...], list[str]] = {}
    for (path, fate), values in fates.items():
        alone = "" if fate[0].isdigit() else path
        rows.setdefault((_names(values), fate, alone), []).append(path)
    return _table(
        ("parameter", "values", "ours"), [(_names(paths), values, fate) for (values, fate, _), paths in rows.items()]
    )


def _fate(attempt: Attempt) -> str:
    default = attempt.outcomes["default"]
    told = [_outcome(default)]
    for kind, outcome in attempt.outcomes.items():
        if outcome != default:
            nothing = isinstance(default, Acts) and isinstance(outcome, Same)
            told.append(KINDS[kind] + ("changes nothing" if nothing else _outcome(outcome)))
    return "<br>".join(told)


def _outcome(outcome: Outcome) -> str:
    match outcome:
        case Refused(status, code, message):
            return _refusal(status, code, message)
        case Acts(label):
            return f"acts: {label}"
        case Same(why):
            return f"changes nothing: {why}" if why else "the default"


def _refusal(status: int, code: str | None, message: str) -> str:
    return f"{status} `{code}`: {message}"


def _objects(name: str, found: Iterable[Fields | Values]) -> str:
    """The fields of all objects, and the values of those fields that have a choice."""
    found = list(found)
    objects = [_fields(one, name) for one in found if isinstance(one, Fields)]
    values = [(f"`{one.path}`", _names(one.seen), _names(one.unseen)) for one in found if isinstance(one, Values)]
    return f"{_table(('object', *OBJECTS), objects)}\n{_table(('field', 'has been', 'never is'), values)}"


def _fields(one: Fields, name: str = "") -> tuple[str, ...]:
    groups = (one.always, one.at_times, one.null, one.never, one.beyond)
    return f"`{one.path or name}`", *(_names(group) for group in groups)


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(_lines(head, rows))


def _lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{' --- |' * len(head)}\n"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in row)} |\n"
