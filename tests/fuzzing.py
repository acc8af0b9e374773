"""Requests that schemathesis makes of /openapi.json, and what it finds wrong with the answers of a running server.

It sends what fits the document and what does not, and holds every answer against the document: its status, its type,
its headers, its body. Two checks are ours: a request is not refused for its form if the document allows it, and what
is streamed is whole.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import schemathesis
from hypothesis.errors import HypothesisWarning
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from asgi_client import Answer
from responses_oracle import check_stream

NAMES = tuple(f"forethought-{kind}" for kind in ("lenient", "default", "lenient", "unthinking", "lenient"))
"""Of the models that are served; the lenient one, which refuses least, more often than others."""
OF_FORM = ("unknown_parameter", "missing_required_parameter", "invalid_json", "no_json")
OF_SIZE = ("_min_value", "_max_value", "_min_length", "_max_length", "_max_properties")
"""Ends of codes. What has such a code, or one of those above, the document could have told."""


@dataclass
class Findings:
    """What was sent and what was wrong."""

    statuses: Counter[str] = field(default_factory=Counter[str])
    operations: Counter[str] = field(default_factory=Counter[str])
    failures: Counter[str] = field(default_factory=Counter[str])
    """By check."""
    examples: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """The first failure of each check and operation."""

    @property
    def requests(self) -> int:
        """How many were sent."""
        return self.statuses.total()

    def __iadd__(self, other: "Findings") -> "Findings":
        """Those of another run as well."""
        self.statuses += other.statuses
        self.operations += other.operations
        self.failures += other.failures
        self.examples += other.examples
        return self

    def add(self, recorder: ScenarioRecorder) -> None:
        """A scenario is over."""
        for interaction in recorder.interactions.values():
            self.operations[recorder.label] += 1
            self.statuses[str(interaction.response.status_code) if interaction.response else "none"] += 1
        for check in (check for checks in recorder.checks.values() for check in checks):
            if check.status is Status.FAILURE and check.failure_info is not None:
                failure = check.failure_info.failure
                self.fail(
                    check.name, recorder.label, f"{failure.title}: {failure.message}", check.failure_info.code_sample
                )

    def fail(self, check: str, operation: str, message: str, request: str = "") -> None:
        """One thing is wrong."""
        self.failures[check] += 1
        if not any((one["check"], one["operation"]) == (check, operation) for one in self.examples):
            self.examples.append({"check": check, "operation": operation, "message": message, "request": request})


def fuzz(url: str, *, examples: int, seed: int, coverage: bool, paths: str = "") -> Findings:
    """Sends the requests.

    Args:
        url: of the server, which serves the models of `NAMES`.
        examples: how many random ones there are for each operation.
        coverage: whether there are also those that go to every border of the document; thousands of them.
        paths: a regular expression for the paths that are asked for; all of them when it is empty.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=_config(examples, seed, coverage))
    findings = Findings()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)  # of large documents, which are none of our making
        for event in from_schema(schema.include(path_regex=paths) if paths else schema).execute():
            match event:
                case events.ScenarioFinished(recorder=recorder):
                    findings.add(recorder)
                case events.NonFatalError(value=error, label=label):
                    findings.fail("schemathesis", label, repr(error))
                case events.FatalError(exception=error):
                    raise error
                case _:
                    pass
    return findings


def _config(examples: int, seed: int, coverage: bool) -> schemathesis.Config:
    return schemathesis.Config.from_dict(
        {
            "seed": seed,
            "continue-on-failure": True,
            "max-stream-events": 10_000,
            "output": {"sanitization": {"enabled": False}},
            "generation": {"max-examples": examples, "database": "none", "no-shrink": True},
            "phases": {"coverage": {"enabled": coverage}, "stateful": {"enabled": False}},
            # What fits together in its parts may still not make sense as a whole, which no schema can tell.
            "checks": {"positive_data_acceptance": {"enabled": False}},
        }
    )


@schemathesis.hook
def before_call(context: HookContext, case: Case, arguments: dict[str, Any]) -> None:
    """Has most requests name a model that is served, for nobody would guess one; and every other one that is right ask
    for a stream."""
    path: Mapping[str, Any] = case.path_parameters or {}
    in_path = next((name for name in ("deployment", "model") if isinstance(path.get(name), str)), None)
    in_body = isinstance(case.body, dict) and isinstance(case.body.get("model"), str)
    choice = crc32(repr((path, case.body)).encode("utf-8", "surrogatepass"))
    if choice % (len(NAMES) + 1) < len(NAMES):
        served = NAMES[choice % (len(NAMES) + 1)]
        if in_path:
            case.path_parameters = {**path, in_path: served}
        if in_body:
            case.body = {**case.body, "model": served}
    if _fits(case) and isinstance(case.body, dict) and not case.operation.path.endswith("/input_tokens"):
        case.body = {**case.body, "stream": choice % 2 == 0}
        if choice % 2:
            case.body.pop("stream_options", None)


@schemathesis.check
def no_refusal_of_form(context: CheckContext, response: Response, case: Case) -> None:
    """What the document allows is understood, if perhaps not done."""
    if _fits(case) and response.status_code == 400:
        code: str = response.json()["error"]["code"]
        assert not code.endswith((*OF_FORM, *OF_SIZE)), f"The document allows it: {response.text}"


@schemathesis.check
def whole_stream(context: CheckContext, response: Response, case: Case) -> None:
    """A stream is what OpenAI's SDK takes it for, to its end."""
    if not _is_stream(response):
        return
    try:
        events = Answer(response.status_code, {}, response.content).events
        if case.operation.path.endswith("/responses"):
            check_stream(events)
        else:
            assert all(reason in ("stop", "length", "tool_calls") for reason in _reasons(events))
    except (ValueError, LookupError, TypeError) as error:
        raise AssertionError(str(error)) from error


def _fits(case: Case) -> bool:
    """Whether the request is one that the document allows."""
    return case.meta is not None and case.meta.generation.mode.is_positive


def _is_stream(response: Response) -> bool:
    return any(value.startswith("text/event-stream") for value in response.headers.get("content-type", ()))


def _reasons(chunks: list[dict[str, Any]]) -> Iterator[str]:
    """Why each choice ended, which its last chunk says."""
    last = {choice["index"]: choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]}
    assert last
    yield from last.values()
