"""Acceptance 7 of the API, first half: ten thousand requests that schemathesis makes of /openapi.json, right and wrong.

    PYTHONPATH=tests python tests/acceptance/fuzz.py [--requests 10000] [--seed 0] [--output docs/results/fuzz.json]

They go to a server on a socket, over an engine that replays a script, with a model of each kind. First come those to
every border of the document, then random ones, until there are enough. What is checked is in `tests/fuzzing.py`. A
failure is told with the request that shows it. Takes about ten minutes.
"""

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from outcome import write_outcome

from conformance.house import House
from conftest import write_tiny_checkpoint
from forethought.model.checkpoint import Checkpoint
from fuzzing import Findings, fuzz
from server_house import serving

EXAMPLES = 250
"""Random requests for each operation in one round."""
DEMANDS = {
    "every answer has a status that the document names": "status_code_conformance",
    "every answer is of a type that the document names": "content_type_conformance",
    "every answer has the headers that the document names": "response_headers_conformance",
    "every answer fits its schema": "response_schema_conformance",
    "what does not fit the document is refused": "negative_data_rejection",
    "what fits the document is not refused for its form": "no_refusal_of_form",
    "every stream is whole": "whole_stream",
}
"""What must hold, and the check that would fail."""


def run(requests: int, seed: int) -> Findings:
    """Sends at least so many."""
    with tempfile.TemporaryDirectory() as directory:
        write_tiny_checkpoint(Path(directory))
        house = House(Checkpoint.open(Path(directory)))
        with serving(house.app) as running:
            findings = fuzz(running.url, examples=EXAMPLES, seed=seed, coverage=True)
            while findings.requests < requests:
                seed += 1
                findings += fuzz(running.url, examples=EXAMPLES, seed=seed, coverage=False)
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("docs/results/fuzz.json"))
    options = parser.parse_args()
    began = perf_counter()
    findings = run(options.requests, options.seed)
    server_errors = sum(count for status, count in findings.statuses.items() if not "200" <= status < "500")
    verdict = {
        f"at least {options.requests} requests were sent": findings.requests >= options.requests,
        "no answer was a server error, and none was missing": server_errors == 0,
        **{demand: findings.failures[check] == 0 for demand, check in DEMANDS.items()},
        "no other check of schemathesis failed": not findings.failures.keys() - DEMANDS.values(),
    }
    figures = {
        "schemathesis": version("schemathesis"),
        "seed": options.seed,
        "requests": findings.requests,
        "statuses": dict(sorted(findings.statuses.items())),
        "operations": dict(sorted(findings.operations.items())),
        "failures": dict(sorted(findings.failures.items())),
        "examples": findings.examples,
        "seconds": round(perf_counter() - began),
    }
    write_outcome(options.output, verdict, figures)


if __name__ == "__main__":
    main()
