"""One attempt at a problem: the turns of the model, the answers of its tools, and the verdict.

Measuring and learning use the same attempts. Learning needs what a `Turn` does not give (token ids, their
log-probabilities, which of them were forced), so the engine's stream is read here. What goes wrong in an attempt
becomes data: it is a declared boundary.
"""

from __future__ import annotations

import hashlib
import uuid
from contextlib import aclosing
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import lru_cache
from itertools import chain, islice
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal

from forethought.engine.protocol import Finished, StopReason, ThinkingClosed, TokenEvent
from forethought.errors import EngineError, ForethoughtError, TaskError
from forethought.logs import get_logger
from forethought.model.conversation import Effort, Message, Thinking, ToolCall
from forethought.reasoning.answer import Answer
from forethought.reasoning.effort import answer_reserve, output_room, thinking_budget
from forethought.reasoning.events import Event, TurnDone, TurnError
from forethought.tasks import registry
from forethought.tasks.distinct import distinct_problems
from forethought.tasks.judging import judge
from forethought.tasks.problem import Problem, Transcript, Verdict, wrong

if TYPE_CHECKING:
    from forethought.engine.protocol import Request
    from forethought.reasoning.reasoner import Reasoner
    from forethought.reasoning.turn import PreparedTurn
    from forethought.reasoning.turn_options import SamplingOverrides
    from forethought.tasks.family import Family

log = get_logger(__name__)

ANSWER_TOKENS: Final = 256
"""Tokens that an answer may have, behind the thinking. The longest that families ask for are about half of that."""
SEARCHED: Final = 3
"""Problems that are looked at for each example."""
ANSWER: Final = "Answer:"
"""What stands in front of the answer where examples show their working."""
MOST_TURNS: Final = 4
"""Turns of one attempt. Whoever still calls tools then has no answer."""

Reason = StopReason | Literal["malformed"]
"""Why a turn ended: what the engine says, or that it wrote a tool call that is none."""
ENDS: Final = ("stop_token", "stop_string", "grammar")
"""Reasons of turns that the model ended itself."""


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """What was sampled in one turn. The ids spell hidden thinking, so they do not print.

    `logprobs` are the model's own (temperature 1, no grammar), one for each token of the output, or none at all.
    `forced` tells which tokens the engine wrote instead of the model; `thinking_tokens` counts those that were sampled
    inside the thinking.
    """

    prompt_ids: tuple[int, ...] = field(repr=False)
    output_ids: tuple[int, ...] = field(repr=False)
    logprobs: tuple[float, ...] = field(repr=False)
    forced: tuple[bool, ...] = field(repr=False)
    reason: Reason
    thinking_tokens: int
    thinking_closed: ThinkingClosed | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at a problem. `error` says what broke, if something did that is not the model's fault.
    `verify_seconds` is what the verdict took."""

    problem: Problem
    transcript: Transcript
    turns: tuple[TurnRecord, ...]
    verdict: Verdict
    error: str | None = None
    verify_seconds: float = field(default=0.0, compare=False)

    @property
    def reason(self) -> Reason:
        """Why the last turn ended."""
        return "error" if self.error is not None or not self.turns else self.turns[-1].reason

    @property
    def thinking_tokens(self) -> int:
        """Of all turns."""
        return sum(turn.thinking_tokens for turn in self.turns)

    @property
    def capped(self) -> bool:
        """Whether a thinking was ended because there was no more room for it."""
        return any(turn.thinking_closed in ("budget", "limit") for turn in self.turns)

    @property
    def answered(self) -> bool:
        """Whether it came to an end of its own with something in it: a text, or a call."""
        if self.reason not in ENDS:
            return False
        last = next((item for item in reversed(self.transcript) if not isinstance(item, Thinking)), None)
        return isinstance(last, ToolCall) or (isinstance(last, Message) and bool(last.text.strip()))


async def attempt(
    reasoner: Reasoner,
    problem: Problem,
    *,
    effort: Effort | None,
    budget: int | None = None,
    most_thinking: int | None = None,
    seed: int,
    sampling: SamplingOverrides | None = None,
    logprobs: bool = False,
    bound: bool = True,
    examples: int = 0,
    worked: bool = False,
    must_call: bool = False,
) -> Attempt:
    """Lets the model try a problem. Raises nothing but a cancellation.

    Args:
        effort: how much to think, where the problem is one to think about; None lets a model answer that does not.
        budget: thinking tokens of a turn; None takes what the effort stands for.
        most_thinking: thinking is ended after so many tokens even if the budget, which the model is told, is larger.
        seed: makes the attempt reproducible.
        sampling: what differs from the checkpoint's generation defaults.
        logprobs: keep the log-probabilities of what is sampled.
        bound: False drops the grammar that holds calls and formatted answers to their form, so that what is learned
            from is what the model samples by itself.
        examples: so many solved problems of the training split stand in front, without their thinking. A problem that
            comes with orders of a developer has others that do, and one without them has none that do.
        worked: they are answered as one does who thinks aloud, with a last line for the answer itself; of the attempt
            too only that line is judged. For a model that does not think by itself, and answers that are plain text.
        must_call: where there are tools, the first turn is held to a call. For a model that was never taught how one
            begins.
    """
    run = _Run(
        reasoner,
        problem,
        effort=effort,
        budget=budget,
        most_thinking=most_thinking,
        seed=seed,
        sampling=sampling,
        logprobs=logprobs,
        bound=bound,
        examples=examples,
        worked=worked,
        must_call=must_call,
    )
    try:
        return run.attempt(await run.verdict())
    except ForethoughtError as error:
        return run.attempt(wrong("it broke"), f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 (the boundary of an attempt: what breaks becomes data)
        log.error("attempt broke", error=error, family=problem.family, level=problem.level, seed=problem.seed)
        return run.attempt(wrong("it broke"), f"{type(error).__name__} in a part of Forethought; the log says where.")


@dataclass(slots=True)
class _Run:
    """An attempt while it happens."""

    reasoner: Reasoner
    problem: Problem
    _: KW_ONLY
    effort: Effort | None
    budget: int | None
    most_thinking: int | None
    seed: int
    sampling: SamplingOverrides | None
    logprobs: bool
    bound: bool
    examples: int
    worked: bool
    must_call: bool
    transcript: Transcript = ()
    turns: list[TurnRecord] = field(default_factory=list[TurnRecord])
    verify_seconds: float = 0.0

    def attempt(self, verdict: Verdict, error: str | None = None) -> Attempt:
        return Attempt(self.problem, self.transcript, tuple(self.turns), verdict, error, self.verify_seconds)

    async def verdict(self) -> Verdict:
        """Takes the turns and judges them."""
        family = registry.family(self.problem.family)
        shown = _solved(family, self.problem, self.examples, self.worked)
        for number in range(MOST_TURNS):
            done = await self._turn(self._prepared(shown, number))
            if done.status != "completed":
                return wrong(_unfinished(done))
            results = family.respond(self.problem, self.transcript)
            if not results:
                began = perf_counter()
                verdict = judge(family, self.problem, _stated(self.transcript) if self.worked else self.transcript)
                self.verify_seconds = perf_counter() - began
                return verdict
            self.transcript += results
        return wrong("too many turns")

    def _prepared(self, shown: Transcript, number: int) -> PreparedTurn:
        """The next turn, with room for all thinking that is allowed and for an answer."""
        asked = self.problem.conversation
        # A summary, say, is written without thinking, whatever the effort.
        effort = self.effort if self.problem.thinks else None
        budget, room = self.budget if self.problem.thinks else None, ANSWER_TOKENS
        if effort is not None:
            if budget is None:
                budget = thinking_budget(effort, self.reasoner.context_length)
            markers = self.reasoner.checkpoint.renderer.thinking
            room = output_room(budget, len(markers.end_ids) if markers else 0, ANSWER_TOKENS)
        return self.reasoner.prepare(
            replace(asked, items=(*shown, *asked.items, *self.transcript), budget=budget),
            effort=effort,
            think=effort is not None,
            tool_choice="required" if self.must_call and asked.tools and not number else "auto",
            output_format=self.problem.output_format,
            max_output_tokens=room,
            sampling=self.sampling,
            seed=_seed(self.seed, number),
            logprobs=0 if self.logprobs else None,
        )

    async def _turn(self, prepared: PreparedTurn) -> TurnDone:
        """One turn: what is sampled goes to `turns`, what it means to `transcript`."""
        request = replace(prepared.request, id=f"attempt_{uuid.uuid4().hex}")
        if not self.bound:
            request = replace(request, grammar=None)
        if self.most_thinking is not None:
            request = _shortened(request, self.most_thinking)
        assembly = prepared.assembly()
        tokens: list[TokenEvent] = []
        events: list[Event] = []
        async with aclosing(self.reasoner.engine.submit(request)) as stream:
            event = await anext(stream)
            while not isinstance(event, Finished):
                # A call that is none settles the turn. How many tokens still come is a matter of timing: they are not
                # part of it.
                if not assembly.settled:
                    tokens.append(event)
                    events += assembly.feed(event)
                    if assembly.settled:
                        self.reasoner.engine.cancel(request.id)
                event = await anext(stream)
        self.turns.append(_record(request, tokens, event, malformed=assembly.settled))
        answer = Answer.of([*events, *assembly.finish(event)])
        self.transcript += answer.history
        return answer.done


def _shortened(request: Request, most_thinking: int) -> Request:
    """The request with no more thinking than that, and no more room than this thinking and an answer take."""
    thinking = request.limits.thinking
    if thinking is None or thinking.max_tokens <= most_thinking:
        return request
    room = min(request.limits.max_tokens, output_room(most_thinking, len(thinking.end_ids), ANSWER_TOKENS))
    thinking = replace(thinking, max_tokens=most_thinking, reserve=answer_reserve(room))
    return replace(request, limits=replace(request.limits, max_tokens=room, thinking=thinking))


def _solved(family: Family, problem: Problem, count: int, worked: bool) -> Transcript:
    """Solved problems of the same kind, to stand in front: what was asked, and what is right."""
    if not count:
        return ()
    known = _examples(family, problem.level, count + 1, worked, _ordered(problem))
    others = (items for key, items in known if key != problem.key)
    return tuple(chain.from_iterable(islice(others, count)))


@lru_cache(maxsize=64)
def _examples(
    family: Family, level: int, count: int, worked: bool, ordered: bool
) -> tuple[tuple[str, Transcript], ...]:
    """So many problems of the training split, with a developer's orders or without any, with their solutions, and their
    keys; fewer where most are of the other kind."""
    found: list[tuple[str, Transcript]] = []
    drawn = distinct_problems(family, level, "train", SEARCHED * count)
    for example in islice((each for each in drawn if _ordered(each) == ordered), count):
        shown = _aloud(family.trace(example, "low", Random(example.seed))) if worked else family.solution(example)
        found.append((example.key, (*example.conversation.items, *shown)))
    return tuple(found)


def _ordered(problem: Problem) -> bool:
    """Whether a developer has something to say in it."""
    return any(item.role == "developer" for item in problem.conversation.items if isinstance(item, Message))


def _aloud(trace: Transcript) -> Transcript:
    """A trace as one message: what was thought, and behind `ANSWER` what was answered. Raises `TaskError` for one that
    is more than a thinking and a text."""
    match trace:
        case (Thinking(text=thought), Message(role="assistant") as answer):
            return (Message.of("assistant", f"{thought.strip()}\n{ANSWER} {answer.text}"),)
        case _:
            raise TaskError("This family's solutions are no plain answers.", "Show its examples without their working.")


def _stated(transcript: Transcript) -> Transcript:
    """What stands behind the last `ANSWER`, in place of the message that it is in."""
    match transcript:
        case (*before, Message() as last):
            return (*before, Message.of("assistant", last.text.rpartition(ANSWER)[2].strip()))
        case _:
            return transcript


def _seed(seed: int, number: int) -> int:
    """A seed of its own for each turn."""
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def _record(request: Request, tokens: list[TokenEvent], finished: Finished, *, malformed: bool) -> TurnRecord:
    return TurnRecord(
        prompt_ids=request.prompt_ids,
        output_ids=tuple(token.token_id for token in tokens),
        logprobs=tuple(token.logprob for token in tokens if token.logprob is not None),
        forced=tuple(token.forced for token in tokens),
        reason="malformed" if malformed else finished.reason,
        thinking_tokens=finished.thinking_tokens,
        thinking_closed=finished.thinking_closed,
    )


def _unfinished(done: TurnDone) -> str:
    """Why a turn that is no answer is none. Raises `EngineError` when that is not the model's doing."""
    match done:
        case TurnDone(error=TurnError(code="malformed_tool_call")):
            return "malformed call"
        case TurnDone(error=TurnError(code="grammar_failed")):
            return "the grammar failed"
        case TurnDone(error=TurnError(message=message, remedy=remedy)):
            raise EngineError(message, remedy)
        case TurnDone(status="incomplete", incomplete_reason="no_answer"):
            return "no answer"
        case TurnDone(status="incomplete"):
            return "truncated"
        case _:
            raise EngineError("The engine ended the request.", "Try again.")
