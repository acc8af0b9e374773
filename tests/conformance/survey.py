"""Tries every parameter that the SDK knows, on a model of each kind, and tells what became of it.

It goes as deep as the server follows: what is refused as a whole has no parts to speak of. Whatever cannot be told is
an error here: a parameter that is taken without a probe, a probe whose check fails, a refusal that names another
parameter, and one in which the server does not know the parameter, for then nobody has decided about it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from conformance.house import KINDS, House, Run
from conformance.probe import Body, Probe, here, placed, without
from conformance.sdk import Options, Shape, parameters


class Unproven(AssertionError):
    """The document cannot say what becomes of a parameter."""


@dataclass(frozen=True)
class Refused:
    """The answer was an error. In its message `…` stands for the parameter, and for the value if there was a choice."""

    status: int
    code: str | None
    message: str


@dataclass(frozen=True)
class Acts:
    """A check holds."""

    label: str


@dataclass(frozen=True)
class Same:
    """Nothing differs. Without a reason, the value says what is the case without it."""

    why: str = ""


Outcome = Refused | Acts | Same


@dataclass(frozen=True)
class Attempt:
    """A parameter with a value (`shown` is empty when any would do), and what the model of each kind made of it."""

    path: str
    shown: str
    outcomes: Mapping[str, Outcome]


@dataclass(frozen=True)
class Endpoint:
    """A route that takes a body: what the SDK says of the body, and how its parts are tried.

    `bases` has a body for each object that is followed, in which that object is a `Here`.
    """

    path: str
    kind: Any
    bases: Mapping[str, Body]
    probes: Mapping[str, Probe]


@dataclass(frozen=True)
class Trial:
    """One value of a parameter. For an object, `inner` is the path of its parts; an `only` one is all that fits."""

    path: str
    shown: str
    value: Any
    shape: Shape | None = None
    inner: str = ""
    only: bool = False


class Survey:
    """Tries the parameters of one endpoint."""

    def __init__(self, house: House, endpoint: Endpoint) -> None:
        self._house = house
        self._endpoint = endpoint
        self._runs: dict[str, Run] = {}
        self._unused = set(endpoint.probes)
        self._unproven: list[str] = []
        self.attempts: list[Attempt] = []
        self.nulls: list[str] = []
        """Parameters that the SDK lets be null, and the server does not take as left out."""

    async def run(self) -> Sequence[Attempt]:
        """All of them. Raises `Unproven`."""
        await self._object("", self._endpoint.kind)
        self._unproven += [f"{path} has a probe, and is not there." for path in sorted(self._unused)]
        if self._unproven:
            raise Unproven("\n".join(self._unproven))
        return self.attempts

    async def _object(self, path: str, kind: Any) -> None:
        base = self._endpoint.bases.get(path)
        if base is None:
            raise Unproven(f"{path} is taken, and there is no body to try its parts in.")
        for name, options in sorted(parameters(kind).items()):
            try:
                await self._parameter(f"{path}.{name}" if path else name, name, options, base)
            except Unproven as unproven:
                self._unproven.append(str(unproven))

    async def _parameter(self, path: str, name: str, options: Options, base: Body) -> None:
        probe = self._probe(path)
        trials = [self._filled(trial) for trial in _trials(path, options, probe)]
        found = [{kind: await self._outcome(kind, trial, name, probe, base) for kind in KINDS} for trial in trials]
        _settle(path, trials, found, probe)
        for trial, outcomes in zip(trials, found, strict=True):
            taken = not isinstance(outcomes["default"], Refused)
            if not (taken and trial.only):
                self.attempts.append(Attempt(trial.path, trial.shown, outcomes))
            if taken and probe.deep and trial.shape is not None:
                await self._object(trial.inner, trial.shape.kind)
        if options.nullable and name != "model":  # without a model, there is nothing to ask
            await self._null(path, name, {**base, **probe.given})

    def _probe(self, path: str) -> Probe:
        self._unused.discard(path)
        return self._endpoint.probes.get(path, Probe())

    def _filled(self, trial: Trial) -> Trial:
        """An object is tried as the body has it in which its parts will be."""
        holder = here(self._endpoint.bases.get(trial.inner)) if trial.shape else None
        return replace(trial, value=dict(holder[1])) if holder else trial

    async def _outcome(self, kind: str, trial: Trial, name: str, probe: Probe, base: Body) -> Outcome:
        for given in (probe.given, {}):
            plain = {**base, **given}
            made = self._endpoint.bases.get(trial.inner) if trial.shape else None
            body = {**(made or placed(plain, name, trial.value)), **given}
            before = await self._run(kind, plain)
            if before.status == 200:
                break
        else:
            raise Unproven(f"{trial.path}: the body to try it in is refused by the {kind} model: {before.error}")
        after = await self._run(kind, body)
        check = self._probe(trial.inner).check or probe.check
        if after.status != 200 and not (check and check.by_refusal):
            return _refused(trial, name, plain, after)
        if before.likeness == after.likeness:
            holder = here(plain)
            own = (holder[1] if holder else plain).get(name) == trial.value
            return Acts("") if own and check else Same(probe.why)
        if check is None and trial.only:
            return Same()
        if check is None or not check.holds(after, before, trial.value):
            proof = "no probe says how it acts" if check is None else f"not seen: {check.label}"
            raise Unproven(f"{trial.path} = {trial.value!r} changes a run of the {kind} model, and {proof}.")
        return Acts(check.label)

    async def _null(self, path: str, name: str, base: Body) -> None:
        left_out = await self._run("default", without(base, name))
        null = await self._run("default", placed(base, name, None))
        if left_out.status == 200 and left_out.likeness != null.likeness:
            self.nulls.append(path)

    async def _run(self, kind: str, body: Body) -> Run:
        key = json.dumps([kind, body], default=repr)
        if key not in self._runs:
            self._runs[key] = await self._house.post(self._endpoint.path, kind, body)
        return self._runs[key]


def _trials(path: str, options: Options, probe: Probe) -> Iterator[Trial]:
    """Each value that is listed, each object, and a value of those that are not listed."""
    yield from (Trial(path, json.dumps(value), value) for value in options.values)
    plain = probe.values or tuple(options.plain and [Options(plain=options.plain).sample])
    yield from (Trial(path, json.dumps(value) if len(plain) > 1 else "", value) for value in plain)
    if probe.values and not probe.deep:
        return
    alone = len(options.shapes) == 1 and not (options.values or options.plain or options.elements)
    yield from (_object_trial(path, shape, alone) for shape in options.shapes)
    if options.elements is not None:
        inside = options.elements
        yield from (Trial(f"{path}[]", json.dumps(value), [value]) for value in inside.values)
        if inside.plain and not probe.values:
            yield Trial(f"{path}[]", "", [Options(plain=inside.plain).sample])
        for shape in inside.shapes:
            yield Trial(f"{path}[]", shape.label if shape.tag else "", [shape.sample], shape, f"{path}[{shape.label}]")


def _object_trial(path: str, shape: Shape, alone: bool) -> Trial:
    shown = shape.label if shape.tag else ""
    inner = path if alone and not shape.tag else f"{path}({shape.label})"
    return Trial(path, shown, shape.sample, shape, inner, inner == path)


def _refused(trial: Trial, name: str, base: Body, run: Run) -> Refused:
    error = run.error
    holder = here(base)
    place = f"{holder[0]}.{name}" if holder and holder[0] else name
    if not (_within(place, error["param"]) or _within(error["param"], place)):
        raise Unproven(f"{trial.path} = {trial.value!r} is refused for something else: {error}")
    if error["code"] == "unknown_parameter":
        raise Unproven(f"OpenAI has {trial.path}, and the server does not know it: {error['message']}")
    message: str = error["message"].replace(f"'{place}'", "'…'")
    value = trial.shown.strip('"')
    return Refused(run.status, error["code"], message.replace(f"'{value}'", "'…'") if value else message)


def _within(place: str | None, inner: str | None) -> bool:
    """Whether one place in a body is another one, or in it."""
    return bool(place and inner) and (inner == place or inner.startswith((f"{place}.", f"{place}[")))


def _settle(path: str, trials: Sequence[Trial], found: Sequence[dict[str, Outcome]], probe: Probe) -> None:
    """What is taken must act for one of its values at least, or have a reason why it does not.

    Where the default model takes a value and it acts, another one may be indifferent to it.
    """
    for kind in KINDS:
        outcomes = [each[kind] for each in found]
        label = next((outcome.label for outcome in outcomes if isinstance(outcome, Acts) and outcome.label), "")
        for each in found:
            if each[kind] == Acts(""):
                each[kind] = Acts(label) if label else Same(probe.why)
        taken = [trial for trial, outcome in zip(trials, outcomes, strict=True) if not isinstance(outcome, Refused)]
        acts = any(isinstance(each[kind], Acts) for each in found)
        proved = acts or any(isinstance(each["default"], Acts) for each in found)
        if taken and not (proved or probe.why or all(trial.only for trial in taken)):
            raise Unproven(f"{path} is taken by the {kind} model, and nothing shows that it acts.")
        if acts and probe.why:
            raise Unproven(f"{path} acts on the {kind} model, and its probe says that it does not.")
