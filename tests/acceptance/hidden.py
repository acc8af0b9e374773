"""Acceptance 4 of the API: two thousand randomised runs with a canary in the thinking, which is found nowhere.

    PYTHONPATH=tests python tests/acceptance/hidden.py [--runs 2000] [--seed 0] [--only 17] [--output FILE]

The runs are those of `streams.py`, whose thinking has twelve random words in it, cut into tokens at random; some are
continued with the encrypted thinking, and summarisers try to copy it. The words, and stretches of seven letters of
them, are looked for in every form that `runs.canary` lists, in everything that `runs.hidden` lists. A run that fails is
told by its seed, its number and the smallest run that fails like it. Takes about ten minutes.
"""

import argparse
import os
import tempfile
from pathlib import Path
from time import perf_counter

from outcome import write_outcome

from conftest import write_tiny_checkpoint
from forethought.model.checkpoint import Checkpoint
from forethought.reasoning.summary_verbatim import MAX_LETTERS, MAX_TOKENS
from runs.hidden import Tally, canary_of, figures, hidden_maker, open_hidden_houses
from runs.series import Reopened, Series

OUTPUT = Path("docs/results/hidden.json")


def take(directory: Path, seed: int, numbers: range, tally: Tally) -> Series:
    """Takes the runs with these numbers."""
    maker = hidden_maker(Checkpoint.open(directory), seed)
    # The standard streams are overheard, so what goes on is told past them.
    with os.fdopen(os.dup(2), "w") as terminal, Reopened(lambda: open_hidden_houses(directory, tally)) as houses:
        series = Series(
            seed,
            make=lambda number: maker.make(number, canary_of(seed, number).text),
            check=lambda number, run: houses.now.check(number, run, canary_of(seed, number)),
            renew=houses.renew,
            progress=terminal,
        )
        series.take(numbers)
        series.last(houses.now.check_accounts)
    return series


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one run, by its number")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    asked = parser.parse_args()
    numbers = range(asked.runs) if asked.only is None else range(asked.only, asked.only + 1)
    began, tally = perf_counter(), Tally()
    with tempfile.TemporaryDirectory() as directory:
        write_tiny_checkpoint(Path(directory))
        series = take(Path(directory), asked.seed, numbers, tally)
    write_outcome(
        asked.output,
        {
            f"{len(numbers)} runs were taken": series.kinds.total() == len(numbers),
            "no answer, log, page or output held any part of what was thought, in any form": not series.failures,
            f"no summary copied more than {MAX_TOKENS} tokens or {MAX_LETTERS} letters in a row": (
                tally.longest_tokens <= MAX_TOKENS and tally.longest_letters <= MAX_LETTERS
            ),
            "each encrypted content opened with its own keyring, and with no other": (
                not series.failures and tally.blobs["sealed"] > 0
            ),
        },
        {**series.figures, **figures(tally), "seconds": round(perf_counter() - began, 1)},
    )


if __name__ == "__main__":
    main()
