"""Who is compared, in the configurations that tuning found best (README.md has what was tried)."""

from dataclasses import dataclass, field
from typing import Any

OURS, THEIRS = "Forethought", "TRL"
TITLES = {"all": "all weights", "adapter": "LoRA"}
"""What is trained, and what a table calls it."""


@dataclass(frozen=True)
class Contestant:
    """A trainer: a program of `peers/` with its options, and what it trains ("all" or "adapter").

    `brief` ones take a few steps for their times only; the others train for the whole wall time and are judged.
    """

    trainer: str
    train: str
    program: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    brief: bool = False

    @property
    def key(self) -> str:
        """The name for files and for the command line: `trl-adapter`."""
        return f"{self.trainer.lower()}-{self.train}" + ("-same-work" if self.brief else "")


# Groups whose rewards are all the same have no gradient. `rl` leaves them out; TRL computes them.
SPARING, SAME_WORK = {"skip_flat": True}, {"skip_flat": False}
STATIC = {"generation": "static", "batch": 16}
TRL = {
    # What is trained is float32 in both; PEFT keeps a new adapter so on a bfloat16 base.
    "bfloat16": {
        "all": STATIC | {"weights": "float32", "autocast": True},
        "adapter": STATIC | {"weights": "bfloat16", "autocast": False},
    },
    "float32": dict.fromkeys(TITLES, STATIC | {"weights": "float32", "autocast": False}),
}


def contestants(dtype: str) -> tuple[Contestant, ...]:
    """Everyone, computing in this dtype."""
    return tuple(
        contestant
        for train in TITLES
        for contestant in (
            Contestant(OURS, train, "forethought_learner.py", SPARING),
            Contestant(OURS, train, "forethought_learner.py", SAME_WORK, brief=True),
            Contestant(THEIRS, train, "trl_peer.py", TRL[dtype][train]),
        )
    )


KEYS = tuple(each.key for each in contestants("float32"))
