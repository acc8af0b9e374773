"""Draws runs: which kind comes when is fixed, all else is drawn from the seed and the number of the run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final, get_args

from forethought.model.conversation import Item, Message, Thinking, ToolCall
from forethought.model.renderer.forethought import Markers
from runs.asks import Ask, ask_for, long_question, misshapen
from runs.house import PLAIN, UNSEALED
from runs.run import Break, Breakage, Leave, Output, Refusal, Run, Summariser
from runs.texts import essay, sentence

PERCENT: Final[Mapping[str, int]] = {
    "whole": 33,
    "limited": 8,
    "cut off": 7,
    "engine fails": 10,
    "refused": 8,
    "noisy": 9,
    "malformed call": 4,
    "bug": 4,
    "summary fails": 4,
    "client leaves": 9,
    "engine crashes": 2,
    "server closes": 2,
}
"""What runs are about. In "cut off" the engine ends an output early, "bug" is what nobody raises on purpose."""

CUTS: tuple[Breakage, ...] = ("max_tokens", "context", "cancelled", "stops")
FAILURES: tuple[Breakage, ...] = ("engine error", "engine fails", "engine down")
FAILING: tuple[Summariser, ...] = ("is cut off", "fails", "refuses", "says nothing", "has a bug", "hangs")
MARKERS = Markers()
MALFORMED: tuple[tuple[str, ...], ...] = (
    ("unknown\n{}", MARKERS.call_close),
    ("look\n{not json", MARKERS.call_close),
    ("look\n[1]", MARKERS.call_close),
    ('look\n{"a": 1', ""),
    ("no name\n{}", MARKERS.call_close),
    ("look", ""),
    ("", MARKERS.call_close),
    ('look\n{"a":', MARKERS.call_open, "look\n{}", MARKERS.call_close),
)


@dataclass(frozen=True)
class Maker:
    """Makes the runs of one seed.

    Args:
        noise: tokens that may stand where they do not belong.
        copying: what summarisers do besides writing well and failing.
        percent: what the runs are about.
    """

    seed: int
    noise: Sequence[int]
    copying: tuple[Summariser, ...] = ()
    percent: Mapping[str, int] = field(default_factory=lambda: PERCENT)

    def dice(self, number: int) -> Random:
        """All that is random in a run comes from these."""
        return Random(f"{self.seed}/{number}")

    def kind(self, number: int) -> str:
        """What the run with this number is about; the same for every seed."""
        kinds = [kind for kind, share in self.percent.items() for _ in range(share)]
        Random(0).shuffle(kinds)
        return kinds[number % len(kinds)]

    def make(self, number: int, secret: str = "") -> Run:
        """The run with this number. It thinks of the secret whenever it thinks."""
        kind, dice = self.kind(number), self.dice(number)
        ask = ask_for(dice, summarised=kind.startswith("summary"), sealed=kind == "bug")
        outputs = tuple(self._output(dice, ask, secret) for _ in range(ask.choices))
        run = Run(kind, ask.api, ask.path, ask.body, outputs, ask.stream_options, secret=secret)
        return self._broken(run, dice)

    def _output(self, dice: Random, ask: Ask, secret: str) -> Output:
        items = [*([] if ask.model == PLAIN else [self._thinking(dice, ask, secret)]), *_visible(dice, ask)]
        if dice.random() < 0.1 and len(items) > 1:
            # It thinks once more, behind something that it said or called.
            items += [self._thinking(dice, ask, secret), *([] if ask.formatted else [_message(dice)])]
        return Output(tuple(items), split=dice.getrandbits(32))

    def _thinking(self, dice: Random, ask: Ask, secret: str) -> Thinking:
        before, behind = sentence(dice), sentence(dice)
        if ask.summarised:
            before, behind = essay(dice, dice.choice((20, 20, 700, 1500))), essay(dice, dice.choice((0, 300, 800)))
        return Thinking(f"{before} {secret} {behind}" if secret else dice.choice((f"{before} {behind}", before, "")))

    def _broken(self, run: Run, dice: Random) -> Run:
        """The run with what its kind says."""
        match run.kind:
            case "limited":
                name = "max_output_tokens" if run.api == "responses" else "max_completion_tokens"
                return _asking(run, {name: dice.choice((1, 2, 3, 5, 8, 20, 60, 200))})
            case "cut off":
                return _breaking(run, dice, dice.choice(CUTS))
            case "engine fails":
                return _breaking(run, dice, dice.choice(FAILURES))
            case "refused":
                return _refused(run, dice)
            case "noisy":
                return _every(run, lambda output: replace(output, noise=self._drawn_noise(dice)))
            case "malformed call":
                raw = (MARKERS.call_open, *dice.choice((*MALFORMED, (f"{run.secret}\n{{}}", MARKERS.call_close))))
                return _every(run, lambda output: replace(output, raw=tuple(filter(None, raw))))
            case "bug":
                return _buggy(run, dice)
            case "summary fails":
                # A summary that hangs takes its whole time; there are few of them.
                return replace(run, summariser=dice.choices(FAILING, weights=(4, 4, 4, 4, 4, 1))[0])
            case "summary copies":
                return replace(run, summariser=dice.choice(self.copying))
            case "client leaves":
                run = _breaking(run, dice, "hangs") if dice.random() < 0.8 else run
                hangs = run.outputs[0].ends is not None
                return replace(run, leave=Leave(streamed=not hangs or dice.random() < 0.7, events=dice.randint(0, 30)))
            case "engine crashes":
                return _breaking(run, dice, "engine crashes")
            case "server closes":
                return _breaking(run, dice, dice.choice(("engine closes", "server ends")))
            case _:
                return run

    def _drawn_noise(self, dice: Random) -> tuple[tuple[float, tuple[int, ...]], ...]:
        lots = range(dice.randint(1, 3))
        return tuple((dice.random(), tuple(dice.choices(self.noise, k=dice.randint(1, 5)))) for _ in lots)


def _visible(dice: Random, ask: Ask) -> list[Item]:
    """What the model says and calls."""
    if ask.formatted:
        return [Message.of("assistant", json.dumps({"answer": sentence(dice), "n": dice.randint(-9, 9)}))]
    said: list[Item] = [_message(dice)] if not ask.calls or dice.random() < 0.5 else []
    return [*said, *(_call(dice, name) for name in ask.calls)]


def _message(dice: Random) -> Message:
    return Message.of("assistant", sentence(dice, 30))


def _call(dice: Random, name: str) -> ToolCall:
    if name == "write":
        return ToolCall("", name, dice.choice((sentence(dice), "", "\n", essay(dice, 100))), custom=True)
    given: dict[str, Any] = {"a": dice.randint(-9, 9)} if name == "add" else {sentence(dice): [sentence(dice), None]}
    spaced = dice.choice((None, 0, 2))
    return ToolCall(
        "", name, json.dumps(dice.choice((given, given, {})), ensure_ascii=dice.random() < 0.5, indent=spaced)
    )


def _asking(run: Run, parameters: Mapping[str, Any]) -> Run:
    return replace(run, body={**run.body, **parameters})


def _every(run: Run, change: Any) -> Run:
    return replace(run, outputs=tuple(map(change, run.outputs)))


def _breaking(run: Run, dice: Random, how: Breakage) -> Run:
    """One of the outputs breaks; all of them hang."""
    at = dice.choice((0.0, dice.random(), dice.random(), dice.random()))
    broken = dice.randrange(len(run.outputs))
    ends = [how == "hangs" or place == broken for place in range(len(run.outputs))]
    outputs = zip(run.outputs, ends, strict=True)
    return replace(run, outputs=tuple(replace(one, ends=Break(how, at) if end else None) for one, end in outputs))


def _refused(run: Run, dice: Random) -> Run:
    reasons = ("engine", "engine", "late", "misshapen", "misshapen", "too long", "crowded")
    match dice.choice(reasons):
        case "engine":
            return replace(run, refusal=dice.choice([reason for reason in get_args(Refusal) if reason != "bug"]))
        case "late":
            return _every(run, lambda output: replace(output, ends=Break("late refusal", 0.0)))
        case "misshapen":
            return _asking(run, misshapen(dice, run.api))
        case "too long":
            return _asking(run, long_question(run.api))
        case _:
            return replace(run, crowded=True)


def _buggy(run: Run, dice: Random) -> Run:
    if run.body["model"] == UNSEALED:
        return run  # its keys are broken
    if dice.random() < 0.3:
        return replace(run, refusal="bug")
    return _breaking(run, dice, "bug")
