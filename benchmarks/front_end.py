"""Compares our server with vLLM's, over engines that cost nothing; and measures what it takes from our real engine.

    python benchmarks/front_end.py --peers-python PEERS/bin/python --publish docs/results

Each server runs alone, one process on one core, the client on another. README.md says how to install vLLM and how the
figures are made. Needs Linux, and two cores. Takes about ten minutes.
"""

import argparse
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from comparison.machine import machine
from comparison.process import Program, ProgramFailed
from forethought.model.registry import resolve
from forethought.settings import load_settings
from load import report, tiny_model
from load.servers import OURS, OURS_REAL, THEIRS, listening
from load.workload import REAL, WARMING, Api, Load, prompts, words

SCHEMA_VERSION = 1
ENGINE_LIMIT = 120.0
IDLE_SECONDS = 3.0
"""How long we look, before each round, whether others use the processor."""


def main() -> None:
    """Measures, prints the tables and, if asked, publishes them."""
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    tiny = tiny_model.make(options.model_dir, options.work / "tiny-llama")
    options.job = {
        "words": words(options.model_dir),
        "model_dir": str(options.model_dir),
        "tiny_model": str(tiny),
        "streams": options.streams,
    }
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "machine": machine(),
        "versions": {name: version(name) for name in ("uvicorn", "httptools", "uvloop", "fastapi")},
        "streams": options.streams,
        "tokens": options.tokens,
        "rounds": options.rounds,
        "scripted": [],
        "real": [],
        "failures": [],
        "busy": [],
    }
    for _ in range(options.rounds):
        measure_scripted(document, options)
    for turn in range(options.real_rounds):
        measure_real(document, options, turn)
    if options.publish:
        report.publish(options.publish, document)
    print(report.table(document), report.cost(document), *document["failures"], report.disturbed(document), sep="\n")


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    peers = os.environ.get("FORETHOUGHT_PEERS_PYTHON", sys.executable)
    add("--peers-python", default=peers, help="the Python that has vLLM (default: this one)")
    add("--model", default="smollm2-135m-instruct", help="a model's name, or its Hugging Face directory")
    add("--work", type=Path, default=Path("build/front-end"), help="keeps logs and vLLM's tiny model")
    add("--streams", type=int, default=1000, help="scripted streams at once")
    add("--tokens", type=int, default=200, help="tokens of each")
    add("--steps", type=float, nargs="*", default=[0.125, 0.05], help="seconds between a stream's tokens")
    add("--rounds", type=int, default=1, help="how often the scripted loads are run")
    add("--real-rounds", type=int, default=3, help="how often the real engine is measured, each way")
    add("--publish", type=Path, metavar="DIR", help="write front-end.md and .json there")
    options = parser.parse_args()
    options.work = options.work.resolve()
    options.model_dir = resolve(options.model, load_settings()).directory
    return options


def measure_scripted(document: dict[str, Any], options: argparse.Namespace) -> None:
    """One round of every load against both servers."""
    document["busy"].append(psutil.cpu_percent(IDLE_SECONDS) / 100)
    loads = [Load(options.streams, options.tokens, step) for step in (*options.steps, 0.0)]
    for server, python in ((OURS, sys.executable), (THEIRS, options.peers_python)):
        try:
            with listening(server, python, options.job, options.work) as running:
                for api in Api:
                    for load in loads:
                        figures = running.run(api, load)
                        used = figures["server_seconds"] / (load.streams * load.tokens)
                        named = {"server": server.name, "api": api.value, "rate": load.rate}
                        document["scripted"].append(named | figures | {"server_seconds_per_token": used})
                        print(server.name, api.value, load.rate, f"{figures['events_per_second']:,.0f} events/s")
        except ProgramFailed as failure:
            document["failures"].append(f"{server.name}: {failure}")


def measure_real(document: dict[str, Any], options: argparse.Namespace, turn: int) -> None:
    """One round of the real engine: alone and behind each API, each in a fresh process, in an order that changes."""
    document["busy"].append(psutil.cpu_percent(IDLE_SECONDS) / 100)
    ways = [None, *Api]
    first = turn % len(ways)
    for api in ways[first:] + ways[:first]:
        try:
            figures = alone(options) if api is None else served(options, api)
        except ProgramFailed as failure:
            document["failures"].append(f"{OURS_REAL.name}: {failure}")
            continue
        document["real"].append({"api": api and api.value, **figures})
        print(api.value if api else "engine alone", f"{figures['tokens'] / figures['seconds']:,.0f} tok/s")
    if len({run["tokens"] for run in document["real"]}) > 1:
        raise SystemExit("The engine did not give the same tokens every time: the figures cannot be compared.")


def alone(options: argparse.Namespace) -> dict[str, Any]:
    """The real engine without the API."""
    job = {
        "threads": psutil.cpu_count(logical=False),
        "model_dir": str(options.model_dir),
        "prompts": prompts(REAL.streams),
        "warming": WARMING.tokens,
        "tokens": REAL.tokens,
    }
    with Program(sys.executable, "forethought_engine.py", job, options.work / "engine.log", ENGINE_LIMIT) as program:
        (figures,) = program.events()
    return figures


def served(options: argparse.Namespace, api: Api) -> dict[str, Any]:
    """The real engine behind our server."""
    with listening(OURS_REAL, sys.executable, options.job, options.work) as running:
        return running.run(api, REAL)


if __name__ == "__main__":
    main()
