"""What the programs of `rl.py` share: the reward, and the steps as they are reported. The standard library only.

Job:    {"threads", "model_dir", "train": "all" | "adapter", "rank", "alpha", "learning_rate", "options": {...},
         "problems": [{"messages", "ids", "answer"}], "prompts", "samples", "new_tokens", "stop_ids", "seed",
         "seconds": steps begin until then, "steps": at most, "weights": the file to write, or null}
Events: {"event": "ready", "versions"}, {"event": "step", ...} (see `Steps`), {"event": "saved"}, {"event": "done"}
"""

import time
from collections.abc import Callable, Sequence
from typing import Any


def reward(text: str, answer: str) -> float:
    """1 for an attempt whose last line is the answer and nothing else."""
    lines = text.strip().splitlines()
    return float(bool(lines) and lines[-1].strip() == answer)


class Steps:
    """Reports each step, and knows when there shall be no more. Time begins with the first step."""

    def __init__(self, job: dict[str, Any], emit: Callable[..., None]) -> None:
        self._job, self._emit = job, emit
        self._first: float | None = None
        self._began = 0.0
        self.done = 0

    def begin(self) -> None:
        """A step begins."""
        self._began = time.monotonic()
        self._first = self._began if self._first is None else self._first

    def end(self, sampling: float, groups: Sequence[Sequence[float]], lengths: Sequence[int]) -> bool:
        """A step ends. Whether another one may begin.

        Args:
            sampling: seconds from prompts to completions; the rest of the step is learning.
            groups: the rewards of the attempts at each problem.
            lengths: tokens of each attempt.
        """
        now = time.monotonic()
        self.done += 1
        rewards = [each for group in groups for each in group]
        self._emit(
            "step",
            at=now - self._first,
            seconds=now - self._began,
            sampling=sampling,
            reward=sum(rewards) / len(rewards),
            flat=sum(max(group) == min(group) for group in groups) / len(groups),
            tokens=sum(lengths),
        )
        return now - self._first < self._job["seconds"] and self.done < self._job["steps"]
