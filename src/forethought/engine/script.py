"""What a scripted engine is told: which tokens "the model" samples for a request, when, and what breaks.

`Playback` is the whole logic of one replayed request, free of time and I/O. The rules by which an output ends are those
of the real engine, because they are its code (`sequence.py`): limits, stop tokens, the budget of the thinking. Where a
script cannot know what is forced upon it:

- When the thinking is ended by its budget or by the token limit, the script goes on behind its own end of thinking.
  What it would still have thought is left out: a model that is made to answer does not go on thinking aloud.
- A script that is over samples the stop token.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from forethought.engine.protocol import EngineEvent, Finished, Request, StopReason, TokenEvent
from forethought.engine.sequence import Sequence
from forethought.errors import ForethoughtError


@dataclass(frozen=True, slots=True)
class Say:
    """Samples these tokens, one every so many seconds; with 0, one in each turn of the event loop."""

    token_ids: tuple[int, ...]
    every: float = 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """The next token comes this many seconds later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing comes any more, until the request is cancelled."""


@dataclass(frozen=True, slots=True)
class End:
    """Ends the request here, in this way."""

    reason: StopReason
    error: str | None = None
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Fail:
    """The engine breaks: raised in place of the first event, later on a `Finished` with "error"."""

    error: ForethoughtError


Step = Say | Pause | Hang | End | Fail
Script = Callable[[Request], Iterable[Step]]
"""The steps for a request, which may be made on the way and without end. What the function raises, `submit` raises."""


def in_turn(*scripts: Iterable[Step]) -> Script:
    """The first request gets the first of these, and so on; the last one is for all that follow."""
    waiting = [tuple(steps) for steps in reversed(scripts)]
    return lambda request: waiting.pop() if len(waiting) > 1 else waiting[0]


class Playback:
    """One request, event by event: `due` tells when the next one comes, `take` gives it."""

    __slots__ = ("_coming", "_every", "_finished", "_forced", "_output", "_said", "_skip", "_steps", "_time", "request")

    def __init__(self, request: Request, steps: Iterable[Step], context_length: int, began: float) -> None:
        self.request = request
        self._output = Sequence(request, length_limit=context_length, seed=0, stops=None, grammar=None)
        self._steps: Iterator[Step] = iter(steps)
        self._said: Iterator[int] = iter(())
        self._every = 0.0
        self._time = began
        self._coming: int | Finished | Hang | Fail | None = None
        self._finished: Finished | None = None
        self._forced = False
        self._skip = 0

    def due(self) -> float:
        """When the next event comes: seconds on the clock of `began`, infinite if never."""
        if self._finished is not None:
            return self._time
        if self._coming is None:
            forced = self._output.forced_token()
            self._forced = forced is not None
            self._coming = self._sampled() if forced is None else forced
        return math.inf if isinstance(self._coming, Hang) else self._time

    def take(self) -> EngineEvent:
        """The next event, which must be due. Raises what takes the place of the first one."""
        if self._finished is not None:
            return self._finished
        coming, self._coming = self._coming, None
        match coming:
            case int():
                return self._token(coming)
            case Finished():
                return coming
            case Fail(error) if not self._output.produced:
                raise error
            case Fail(error):
                return self._output.finished("error", str(error))
            case _:
                raise RuntimeError("nothing is due")

    def cancelled(self) -> Finished:
        """The last event of a request that is cancelled now, unless it had finished before."""
        return self._finished or self._output.finished("cancelled")

    def _token(self, token: int) -> TokenEvent:
        forced = self._forced
        if not forced and (instead := self._output.instead_of(token)) is not None:
            token, forced = instead, True
        reason = self._output.accept(token, forced=forced)
        if reason is not None:
            self._finished = self._output.finished(reason)
        thinking = self._output.thinking
        if forced and thinking is not None and thinking.closed != "stop":
            # So many tokens are left out at most: a script without end may have no end of thinking either.
            self._skip = self._output.length_limit
        count = self.request.logprobs
        return TokenEvent(token, forced) if count is None else _likely(token, forced, count)

    def _sampled(self) -> int | Finished | Hang | Fail:
        """What the script says next; `_time` is then when."""
        while True:
            for token in self._said:
                if self._skip:
                    self._leave_out(token)
                else:
                    self._time += self._every
                    return token
            match self._next_step():
                case Say(token_ids, every):
                    self._said, self._every = iter(token_ids), every
                case Pause(seconds):
                    self._time += 0.0 if self._skip else seconds
                case End(reason, error, cached):
                    return replace(self._output.finished(reason, error), cached_tokens=cached)
                case None if stops := self.request.limits.stop_token_ids:
                    return stops[0]
                case None:
                    return self._output.finished("stop_token")
                case Hang() | Fail() as step:
                    return step

    def _next_step(self) -> Step | None:
        try:
            return next(self._steps, None)
        except ForethoughtError as error:
            return Fail(error)

    def _leave_out(self, token: int) -> None:
        """One more token of a thinking that was ended by force. Its own end is the last one."""
        thinking = self.request.limits.thinking
        self._skip -= 1
        if (thinking is not None and token == thinking.end_id) or token in self._output.stop_ids:
            self._skip = 0
        elif not self._skip:
            self._said = self._steps = iter(())


def _likely(token: int, forced: bool, count: int) -> TokenEvent:
    """A token with log-probabilities: half of the rest falls on each next candidate."""
    others = (other for other in range(count) if other != token)
    top = [token, *others][:count]
    half = math.log(0.5)
    return TokenEvent(token, forced, half, tuple((one, half * (place + 1)) for place, one in enumerate(top)))
