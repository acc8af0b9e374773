"""The benchmark against other engines: no program hangs it, loses results or counts wrongly, and its table is fair."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comparison.process import PROGRAMS, Program, ProgramFailed
from comparison.report import LINES, Result, answers, disturbed, publish, table
from comparison.workload import ROWS, Row, jobs

PEER = f"""
import sys
sys.path.insert(0, {str(PROGRAMS)!r})
from protocol import serve

class Peer:
    def __init__(self, job):
        self.job = job

    def generate(self, prompts, new_tokens, samples, temperature):
        CODE
        return [[7] * new_tokens for _ in prompts for _ in range(samples)]

serve(["pytest"], Peer)
"""

Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a peer program whose `generate` runs the given line first."""

    def begin(code: str = "pass", program: str = PEER, task: str = "measure", seconds: float = 100.0) -> Program:
        (tmp_path / "peer.py").write_text(program.replace("CODE", code))
        rounds = [[[1, 2]], [[3, 4]], [[5, 6]]]
        row = {"name": "small", "new_tokens": 3, "samples": 2, "temperature": 0.0, "rounds": rounds}
        long = row | {"name": "long", "new_tokens": 40}
        job = {
            "task": task,
            "model_dir": "",
            "gguf": "",
            "work_dir": "",
            "threads": 1,
            "context": 64,
            "options": {},
            "rows": [row, long],
            "seconds": seconds,
            "greedy": [1],
        }
        return Program(sys.executable, str(tmp_path / "peer.py"), job, tmp_path / "log", limit=100.0)

    return begin


def test_every_row_is_measured_once_a_round_and_small_ones_first(start: Start) -> None:
    with start() as program:
        events = list(program.events())
    runs = [(event["name"], event["turn"]) for event in events if event["event"] == "run"]
    assert runs == [("small", 1), ("long", 1), ("small", 2), ("long", 2)]
    assert events[0]["versions"] == {"pytest": pytest.__version__}


def test_a_row_that_no_longer_fits_the_budget_is_not_repeated(start: Start) -> None:
    with start(seconds=0.0) as program:
        runs = [(event["name"], event["turn"]) for event in program.events() if event["event"] == "run"]
    assert runs == [("small", 1), ("long", 1)]


def test_a_wrong_number_of_tokens_fails_the_engine(start: Start) -> None:
    with start("if new_tokens == 3: return [[7, 7, 7], [7, 7]]") as program, pytest.raises(ProgramFailed) as failure:
        list(program.events())
    assert "asked for 2 answers of 3 tokens, got 2 of [2, 3]" in str(failure.value)


def test_a_program_past_its_limit_is_ended_and_what_it_reported_is_kept(start: Start) -> None:
    seen: list[str] = []
    with start("while new_tokens == 40: pass") as program:
        events = program.events()
        while "run" not in seen:
            seen.append(next(events)["event"])
        program.limit = 0.0
        with pytest.raises(ProgramFailed, match="ran past its limit"):
            seen.extend(event["event"] for event in events)
    assert seen.count("run") == 1
    assert program.process.returncode is not None


def test_a_crash_is_reported_with_its_last_words(start: Start) -> None:
    code = "import os; os.write(2, b'out of tiles'); os.abort()"
    with start(code) as program, pytest.raises(ProgramFailed, match="died with status -6: out of tiles"):
        list(program.events())


def test_an_engine_that_is_not_installed_is_called_that(start: Start) -> None:
    with start(program="import no_such_engine") as program, pytest.raises(ProgramFailed) as failure:
        list(program.events())
    assert str(failure.value) == "not installed (No module named 'no_such_engine')"


def test_what_an_engine_prints_does_not_mix_with_its_results(start: Start) -> None:
    with start("print('loading'); sys.stdout.flush()", task="first_token") as program:
        assert [event["event"] for event in program.events()] == ["ready", "first_token"]


def test_prompts_have_the_length_asked_for_and_differ_between_rounds(tiny_checkpoint: Path) -> None:
    row = Row("row", "title", prompts=3, prompt_tokens=40, new_tokens=8)
    (job,) = jobs(tiny_checkpoint, (row,), rounds=2)
    (again,) = jobs(tiny_checkpoint, (row,), rounds=2)
    prompts = [tuple(ids) for turn in job["rounds"] for ids in turn]
    assert {len(ids) for ids in prompts} == {40}
    assert len(set(prompts)) == 9
    assert job == again


def result(engine: str, configuration: str, seconds: float, peak: float = 100.0, first: float = 1.0) -> Result:
    return {
        "engine": engine,
        "configuration": configuration,
        "key": f"{engine}-{configuration}",
        "weights": "bf16",
        "rows": {row.name: {"seconds": [seconds, 2 * seconds], "peak_mib": peak} for row in ROWS},
        "first_token": [first],
        "greedy": {"ids": [1, 2, 3], "text": "a|b\nc"},
        "error": None,
        "others_share": 0.0,
        "stolen_share": 0.0,
        "versions": {engine: "1"},
    }


def test_a_ratio_above_one_means_that_we_are_better_in_every_line() -> None:
    ours = result("Forethought", "default", seconds=1.0, peak=50.0, first=0.5)
    peers = [result("vLLM", "compiled", 2.0), result("vLLM", "eager", 4.0, peak=200.0, first=3.0)]
    assert [line.ratio(ours, peers) for line in LINES] == [2.0] * len(LINES)


def test_a_peer_is_shown_with_its_best_configuration_and_missing_ones_with_a_dash() -> None:
    slow, fast = result("vLLM", "eager", 2.0), result("vLLM", "compiled", 1.0)
    text = table([result("Forethought", "default", 2.0), slow, fast])
    assert "| decode, batch 1 (tok/s) | 64.0 | – | **128** | – | – | 0.50× | 1.2× |" in text


def test_what_was_measured_on_a_busy_machine_is_named() -> None:
    quiet, busy = result("vLLM", "eager", 1.0), result("vLLM", "compiled", 1.0) | {"others_share": 0.4}
    assert disturbed([quiet]) == ""
    assert "--only vLLM-compiled`" in disturbed([quiet, busy])


def test_answers_are_compared_with_the_reference() -> None:
    other: dict[str, Any] = result("vLLM", "compiled", 1.0) | {"greedy": {"ids": [1, 2, 9], "text": "a"}}
    text = answers([result("transformers", "float32", 1.0), other])
    assert "| vLLM-compiled | 2 of 3 | a |" in text
    assert "a\\|b ⏎ c" in text


def test_a_benchmark_with_failures_can_be_published(tmp_path: Path) -> None:
    failed = result("OpenVINO GenAI", "batching", 1.0) | {"rows": {}, "first_token": [], "error": "ran past its limit"}
    del failed["greedy"]
    machine = {"cpu": "a", "instructions": [], "cores": 2, "memory_gib": 8.0, "system": "b", "python": "3"}
    publish(tmp_path, {"machine": machine, "results": [result("Forethought", "default", 1.0), failed]})
    assert "OpenVINO GenAI-batching: ran past its limit" in (tmp_path / "engine-benchmark.md").read_text()
    assert (tmp_path / "engine-benchmark.png").stat().st_size > 10_000
