"""Compares our reinforcement learning with TRL's GRPOTrainer: the same base, prompts, groups and limits, in one run.

    python benchmarks/rl.py --peers-python PEERS/bin/python --publish docs/results

Each contestant of `training/contestants.py` learns alone, in a process of its own, for the same wall time; then what
each has learned is judged on the same held-out problems. README.md says how to install TRL and how the figures are
made. Needs Linux, and the base (`forethought models pull`).
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil

from comparison.machine import machine, others_seconds
from comparison.process import Program, ProgramFailed
from forethought.errors import ForethoughtError
from forethought.model.registry import resolve
from forethought.settings import load_settings
from training import report, workload
from training.contestants import KEYS, OURS, Contestant, contestants

SCHEMA_VERSION = 1
MOST_STEPS = 100
HELD_OUT_SAMPLES = 4
SEED = 0

SLACK = 600.0
"""Seconds that a contestant may take beside its wall time: to start, to finish a step, to write its weights."""


def main() -> None:
    """Lets everyone learn, judges, prints the tables and, if asked, publishes them."""
    options = arguments()
    options.work.mkdir(parents=True, exist_ok=True)
    problems = workload.problems(options.checkpoint, "train", MOST_STEPS * options.prompts)
    held_out = workload.problems(options.checkpoint, "test", options.held_out)
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "machine": machine(),
        "threads": options.threads,
        "dtype": options.dtype,
        "seconds": options.minutes * 60,
        "workload": {
            "family": workload.FAMILY,
            "level": workload.LEVEL,
            "examples": workload.EXAMPLES,
            "prompts": options.prompts,
            "samples": options.samples,
            "new_tokens": workload.NEW_TOKENS,
            "prompt_tokens": fmean(len(problem["ids"]) for problem in problems),
            "held_out": len(held_out),
            "held_out_samples": HELD_OUT_SAMPLES,
        },
        "results": [],
        "judged": {},
        "failures": [],
    }
    for contestant in contestants(options.dtype):
        if not options.only or contestant.key in options.only:
            document["results"].append(learn(contestant, problems, document, options))
    judge(document, held_out, options)
    if options.publish:
        report.publish(options.publish, document)
    tables = (report.table(document), report.rewards(document), report.details(document))
    print("\n\n".join(filter(None, (*tables, report.problems(document), report.disturbed(document)))))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    peers = os.environ.get("FORETHOUGHT_PEERS_PYTHON", sys.executable)
    add("--peers-python", default=peers, help="the Python that has TRL (default: this one)")
    add("--model", default="smollm2-135m-instruct", help="a model's name, or its Hugging Face directory")
    add("--work", type=Path, default=Path("build/rl-benchmark"), help="keeps logs and learned weights")
    add("--only", nargs="+", metavar="KEY", choices=KEYS, help="only these contestants")
    add("--minutes", type=float, default=2.0, help="wall time that each one learns for")
    add("--steps", type=int, default=MOST_STEPS, help="most steps of each one")
    add("--prompts", type=int, default=workload.PROMPTS, help="problems of a step")
    add("--samples", type=int, default=workload.SAMPLES, help="attempts at each")
    add("--held-out", type=int, default=64, help="problems that the judgement rests on")
    add("--threads", type=int, default=psutil.cpu_count(logical=False), help="default: one per physical core")
    add(
        "--dtype",
        choices=["bfloat16", "float32"],
        default=natural_dtype(),
        help="of the arithmetic (default: %(default)s)",
    )
    add("--publish", type=Path, metavar="DIR", help="write rl-benchmark.md and .json there")
    options = parser.parse_args()
    options.work = options.work.resolve()
    try:
        options.checkpoint = resolve(options.model, load_settings())
    except ForethoughtError as error:
        parser.error(str(error))
    return options


def natural_dtype() -> str:
    """What this processor multiplies fastest."""
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & set(machine()["instructions"]) else "float32"


def learn(
    contestant: Contestant, problems: list[dict[str, Any]], document: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    """Runs one contestant. What it reports before it fails is kept."""
    print(f"{contestant.key}: ", end="", flush=True)
    log = options.work / f"{contestant.key}.log"
    log.unlink(missing_ok=True)
    weights(contestant.key, options).unlink(missing_ok=True)
    began, busy, stolen = time.monotonic(), others_seconds(), psutil.cpu_times().steal
    result: dict[str, Any] = {
        "key": contestant.key,
        "trainer": contestant.trainer,
        "train": contestant.train,
        "brief": contestant.brief,
        "options": contestant.options,
        "versions": {},
        "steps": [],
    }
    try:
        follow(contestant, job(contestant, problems, options), result, log, options)
    except ProgramFailed as failure:
        document["failures"].append(f"{contestant.key}: {failure}")
    available = (time.monotonic() - began) * psutil.cpu_count()
    result["others_share"] = (others_seconds() - busy) / available
    result["stolen_share"] = (psutil.cpu_times().steal - stolen) / available
    print(f"{time.monotonic() - began:.0f} s", flush=True)
    return result


def follow(
    contestant: Contestant, given: dict[str, Any], result: dict[str, Any], log: Path, options: argparse.Namespace
) -> None:
    """Puts what a program reports into the result as it comes."""
    python = sys.executable if contestant.trainer == OURS else options.peers_python
    with Program(python, contestant.program, given, log, given["seconds"] + SLACK) as program:
        for event in program.events():
            if event["event"] == "ready":
                result["versions"] = event["versions"]
            elif event["event"] == "step":
                result["steps"].append(event | {"peak_mib": program.peak_memory()})
                print(f"{event['seconds']:.1f}", end=" ", flush=True)


def job(contestant: Contestant, problems: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """What a contestant is told."""
    most = min(options.steps, len(problems) // options.prompts)
    return asked(problems, options.samples, options) | {
        "train": contestant.train,
        "rank": workload.RANK,
        "alpha": workload.ALPHA,
        "learning_rate": workload.LEARNING_RATES[contestant.train],
        "options": contestant.options,
        "prompts": options.prompts,
        "seconds": options.minutes * 60,
        "steps": min(most, 1 + report.TIMED) if contestant.brief else most,
        "weights": None if contestant.brief else str(weights(contestant.key, options)),
        "work_dir": str(options.work / "trl"),
    }


def asked(problems: list[dict[str, Any]], samples: int, options: argparse.Namespace) -> dict[str, Any]:
    """What learning and judging have in common."""
    directory = options.checkpoint.directory
    return {
        "threads": options.threads,
        "dtype": options.dtype,
        "model_dir": str(directory),
        "problems": problems,
        "samples": samples,
        "new_tokens": workload.NEW_TOKENS,
        "stop_ids": [json.loads((directory / "config.json").read_text())["eos_token_id"]],
        "seed": SEED,
    }


def judge(document: dict[str, Any], held_out: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Measures the base and everything that was learned."""
    keys = [result["key"] for result in document["results"]]
    files = {key: str(weights(key, options)) for key in keys if weights(key, options).exists()}
    given = asked(held_out, HELD_OUT_SAMPLES, options) | {"weights": {report.BASE: None, **files}}
    log = options.work / "held-out.log"
    log.unlink(missing_ok=True)
    try:
        with Program(sys.executable, "held_out.py", given, log, SLACK) as program:
            document["judged"] = {event["name"]: event["rewards"] for event in program.events()}
    except ProgramFailed as failure:
        document["failures"].append(f"held-out problems: {failure}")


def weights(key: str, options: argparse.Namespace) -> Path:
    """The file of what a contestant has learned."""
    return options.work / f"{key}.safetensors"


if __name__ == "__main__":
    main()
