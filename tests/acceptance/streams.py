"""Acceptance 3 of the API: two thousand randomised runs over HTTP, each streamed and not.

    PYTHONPATH=tests python tests/acceptance/streams.py [--runs 2000] [--seed 0] [--only 17] [--output FILE]

A scripted engine plays the model: texts cut into tokens at random, inside of characters too; several and custom tool
calls, structured output, summaries, token limits, several choices; engines that fail, refuse, crash and are closed;
clients that leave. Every stream has to end in one terminal event and `[DONE]`, to be what who waits gets, and to pass
OpenAI's SDK; the engine has nothing in flight after any run. A run that fails is told by its seed, its number and the
smallest run that fails like it. Takes about six minutes.
"""

import argparse
import logging
import tempfile
from pathlib import Path
from time import perf_counter

from outcome import write_outcome

from conftest import write_tiny_checkpoint
from forethought.model.checkpoint import Checkpoint
from runs.house import open_houses
from runs.maker import Maker
from runs.sdk import Sdk
from runs.series import Reopened, Series
from runs.streams import check_streams

OUTPUT = Path("docs/results/streams.json")


def take(checkpoint: Path, seed: int, numbers: range) -> Series:
    """Takes the runs with these numbers."""
    maker = Maker(seed, noise=range(Checkpoint.open(checkpoint).tokenizer.vocab_size))
    with Sdk() as sdk, Reopened(lambda: open_houses(checkpoint)) as houses:
        series = Series(seed, maker.make, lambda _, run: check_streams(houses.now, sdk, run), houses.renew)
        series.take(numbers)
        series.last(houses.now.main.check_accounts)
    return series


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="one run, by its number")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    asked = parser.parse_args()
    logging.getLogger("forethought").addHandler(logging.NullHandler())
    numbers = range(asked.runs) if asked.only is None else range(asked.only, asked.only + 1)
    began = perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        write_tiny_checkpoint(Path(directory))
        series = take(Path(directory), asked.seed, numbers)
    write_outcome(
        asked.output,
        {
            f"{len(numbers)} runs were taken": series.kinds.total() == len(numbers),
            "every stream ended in one terminal event and [DONE], was what who does not stream gets, and passed "
            "OpenAI's SDK; nothing stayed in flight": not series.failures,
        },
        {**series.figures, "seconds": round(perf_counter() - began, 1)},
    )


if __name__ == "__main__":
    main()
