"""What a probe is: a value for a parameter, and the proof that it acted.

A parameter acts when a run with it differs from one without it in the way that its check looks for. One that is taken
and changes nothing needs a reason. A refusal needs neither: the error speaks for itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from conformance.house import Run
from forethought.engine.protocol import Request

Body = Mapping[str, Any]


class Here(dict[str, Any]):
    """The object in a body whose keys are probed."""


@dataclass(frozen=True)
class Check:
    """The proof that a value acted. `holds` is given the run with it, the run without, and the value."""

    label: str
    holds: Callable[[Run, Run, Any], bool]
    by_refusal: bool = False
    """Whether it acts by refusing what does not fit together."""


@dataclass(frozen=True)
class Probe:
    """How a parameter is tried.

    Args:
        check: proves that it acted.
        values: what is tried where the SDK lists nothing.
        given: what else stands in the body, with and without it.
        why: the reason why it is taken and changes nothing.
        deep: whether the parameters of the objects that it takes are tried, too.
    """

    check: Check | None = None
    values: tuple[Any, ...] = ()
    given: Body = field(default_factory=dict[str, Any])
    why: str = ""
    deep: bool = True


def inert(why: str, *values: Any) -> Probe:
    """A parameter that is taken and changes nothing."""
    return Probe(values=values, why=why, deep=False)


def in_prompt(*words: str) -> Check:
    """The model reads it: the words, or all texts in the value, stand in the prompt, and did not without it."""

    def holds(with_: Run, without: Run, value: Any) -> bool:
        expected = words or tuple(texts(value))
        return bool(expected) and all(word in with_.prompt and word not in without.prompt for word in expected)

    return Check("the model reads it", holds)


def echoed(*path: str) -> Check:
    """It comes back in the document, under this path."""

    def holds(with_: Run, without: Run, value: Any) -> bool:
        found: Any = with_.document
        for name in path:
            found = found[int(name)] if name.isdigit() else found[name]
        return found == value

    return Check("echoed", holds)


def engine(label: str, get: Callable[[Request], object]) -> Check:
    """The engine is given the value."""
    return Check(label, lambda with_, without, value: get(with_.request) == value != get(without.request))


def differs(label: str, get: Callable[[Run], object]) -> Check:
    """A part of the run is another one."""
    return Check(label, lambda with_, without, value: get(with_) != get(without))


def both(first: Check, second: Check) -> Check:
    """Two things happen."""

    def holds(with_: Run, without: Run, value: Any) -> bool:
        return first.holds(with_, without, value) and second.holds(with_, without, value)

    return Check(f"{first.label}, {second.label}", holds)


READ = in_prompt()
BINDS = differs("binds the output", lambda run: run.request.grammar)
PAIRS = Check("ties a call to its output", lambda with_, without, value: with_.status == 400, by_refusal=True)
ONLY = "it says what is the case anyway"


def placed(body: Any, key: str, value: Any) -> Any:
    """The body with a key set in its `Here`, or in itself when it has none."""
    return _placed(body, key, value) if here(body) is not None else {**body, key: value}


def without(body: Any, key: str) -> Any:
    """The body without that key."""
    match body:
        case Here():
            return {name: one for name, one in body.items() if name != key}
        case dict() if here(body) is None:
            return {name: one for name, one in body.items() if name != key}
        case dict():
            return {name: one if here(one) is None else without(one, key) for name, one in body.items()}
        case list():
            return [one if here(one) is None else without(one, key) for one in body]
        case _:
            return body


def here(body: Any, path: str = "") -> tuple[str, Here] | None:
    """Where the `Here` of a body is, as errors name it, and what it holds."""
    match body:
        case Here():
            return path, body
        case dict():
            steps = [(f"{path}.{name}" if path else name, value) for name, value in body.items()]
        case list():
            steps = [(f"{path}[{index}]", value) for index, value in enumerate(body)]
        case _:
            steps = []
    return next((found for step, value in steps if (found := here(value, step)) is not None), None)


def texts(value: Any) -> Iterator[str]:
    """All texts in a value."""
    match value:
        case str():
            yield value
        case dict():
            for one in value.values():
                yield from texts(one)
        case list():
            for one in value:
                yield from texts(one)
        case _:
            pass


def _placed(body: Any, key: str, value: Any) -> Any:
    match body:
        case Here():
            return {**body, key: value}
        case dict():
            return {name: _placed(one, key, value) for name, one in body.items()}
        case list():
            return [_placed(one, key, value) for one in body]
        case _:
            return body
