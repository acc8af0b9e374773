"""Verdicts within a time limit: a verifier that hangs on what a model wrote costs one attempt, not the run."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Final

from forethought.tasks.family import Family
from forethought.tasks.problem import Problem, Transcript, Verdict, wrong

SECONDS: Final = 2.0
"""What a verdict may take. The slowest of ours takes about a thousandth of that."""


class _OutOfTime(BaseException):
    """No `Exception`, so that only a verifier with a bare `except` swallows it."""


def judge(family: Family, problem: Problem, transcript: Transcript, seconds: float = SECONDS) -> Verdict:
    """The family's verdict; wrong when it takes too long.

    Python interrupts nothing but its main thread: a verdict that is asked for in another one has no limit.
    """
    try:
        with _limit(seconds):
            return family.verify(problem, transcript)
    except _OutOfTime:
        return wrong(f"no verdict within {seconds:g} s")


@contextmanager
def _limit(seconds: float) -> Generator[None]:
    """Raises `_OutOfTime` in the block when the time is up. A timer that runs already (a test's, say) goes on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGALRM, _ring)
    began = monotonic()
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (monotonic() - began), 1e-3), interval)


def _ring(number: int, frame: FrameType | None) -> None:
    raise _OutOfTime
