"""The end of `make accept-reason`, which comes after hours: its report on measurements of every kind."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import reason
from trained import OWN, cells_of

from forethought.evals.measurement import Measurement, ProblemRecord, Sample
from forethought.settings import Settings
from forethought.train.recipe import Recipe
from forethought.train.run import ESTIMATES, Run

EVERY, FEW = ["chain_sum", "letter_count"], ["letter_count"]
RECIPE = {"schema_version": 1, "name": "some", "base": "smollm2-135m-instruct"}
COST = {"device": "cpu", "processor": "one", "threads": 2, "dtype": "bfloat16", "began": "sha256:cold"}
CHANCES = {"base": 0.1, "cold": 0.4, "rl": 0.9, "seed-2": 0.9, "seed-3": 0.9, "continued": 0.4}


def measured(name: str, names: list[str], problems: int, samples: int) -> Measurement:
    rng = Random(name)

    def sample() -> Sample:
        return Sample(
            correct=rng.random() < CHANCES[name],
            answered=True,
            capped=False,
            thinking_tokens=rng.randint(0, 50),
            reason="stop_token",
            verdict="",
        )

    records = tuple(
        ProblemRecord(cell, seed, f"{seed:x}", tuple(sample() for _ in range(samples)))
        for cell in cells_of(names)
        for seed in range(problems)
    )
    return Measurement(
        checkpoint=f"sha256:{name}",
        effort="medium",
        budget=None,
        sampling=dict(OWN),
        examples=0,
        split="test",
        seed=0,
        problems=problems,
        samples=samples,
        records=records,
        seconds=1.0,
    )


def run_of(directory: Path, names: Sequence[str], seed: int) -> None:
    stages = [{"name": name, "kind": "rl", "steps": 1, "families": EVERY} for name in names]
    run = Run.create(directory, Recipe.parse(RECIPE | {"seed": seed, "stages": stages}, "test"))
    run.append(ESTIMATES, [{"stage": name, **COST, "found": {"seconds": 100.0 / len(names)}} for name in names])


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> reason.Found:
    """What was measured, fewer problems of each cell than in earnest."""
    sizes = {"ONCE": 40, "MANY": 4, "SERVED": 3, "RIVAL": 20, "SEED_FAMILIES": FEW}
    for name, value in {**sizes, "families": lambda: dict.fromkeys(EVERY)}.items():
        monkeypatch.setattr(reason, name, value)
    found = reason.Found(
        processors={name: ["one"] for name in CHANCES},
        prompted={
            name: {"examples": 8, "worked": False, "must_call": False, "sampling_of_eight": {}} for name in EVERY
        },
    )
    for name in CHANCES:
        names = FEW if name in reason.SEEDS else EVERY
        found.once[name] = measured(name, names, 20 if name == "continued" else 40, 1)
        if name in ("base", *reason.STAGES):
            found.many[name] = measured(name, EVERY, 4, 8)
        if name in reason.AS_SERVED:
            found.served[name] = measured(name, EVERY, 3, 1)
    return found


def test_the_report_is_written_and_says_what_was_met(
    found: reason.Found, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def everything(subjects: dict[str, Any], settings: Settings) -> reason.Found:
        return found

    def subjects_of(runs: Path, settings: Settings) -> dict[str, Any]:
        return {name: SimpleNamespace(digest=lambda name=name: f"sha256:{name}") for name in CHANCES}

    monkeypatch.setattr(reason, "everything", everything)
    monkeypatch.setattr(reason, "subjects_of", subjects_of)
    for seed, name in enumerate(("default", "seed-2", "seed-3"), 1):
        run_of(tmp_path / "runs" / name, reason.LEARNING, seed)
    run_of(tmp_path / "runs" / "continued", reason.GOING_ON, 1)
    output = tmp_path / "results" / "reason.json"
    arguments = ["reason", "--runs", str(tmp_path / "runs"), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="NOT MET what was measured is the model in the package"):
        reason.main()  # before anything is measured
    assert not output.exists()
    monkeypatch.setattr(sys, "argv", [*arguments, "--anyway"])
    with pytest.raises(SystemExit) as ended:
        reason.main()
    verdict: dict[str, Any] = json.loads(output.read_text())["verdict"]
    # What was made up here is no model.
    assert {demand for demand, met in verdict.items() if not met} == {"what was measured is the model in the package"}
    assert ended.value.code == 1
    page = output.with_suffix(".md").read_text()
    assert page.count("\n| letter_count |") == 4
    # Made up as well: commits are not recorded, and three runs have a row over each of the others.
    assert page.count("| not recorded |") == 4
    assert page.count(" over the cold start, continued") == 4
    assert page.count(" over the base | +") == 2
    assert "leave room for a loss of 0.0 points" in page
    assert output.with_name("reason-samples.jsonl.gz").exists()


def test_the_base_is_prompted_as_a_family_allows() -> None:
    names = ("chain_sum", "tool_none", "tool_single", "structured", "summaries")
    for prompt, allowed in (
        ({"examples": 0}, names),
        ({"examples": 4, "worked": True}, ("chain_sum", "tool_none")),
        ({"examples": 8, "must_call": True}, ("tool_single",)),
    ):
        assert tuple(name for name in names if reason.allows(name, prompt)) == allowed


@pytest.mark.parametrize(
    ("machines", "seconds", "met"),
    [
        (
            {"rl": "one", "seed-2": "one", "seed-3": "two"},
            {"rl": 100, "seed-2": 90, "seed-3": 300, "continued": 99},
            True,
        ),
        (
            {"rl": "one", "seed-2": "one", "seed-3": "two"},
            {"rl": 90, "seed-2": 101, "seed-3": 50, "continued": 99},
            False,
        ),
        ({"rl": "two", "seed-2": "two", "seed-3": "two"}, {"rl": 1, "seed-2": 1, "seed-3": 1, "continued": 99}, False),
    ],
    ids=["as long", "another seed took longer", "nobody on its machine"],
)
def test_the_rivals_clock_is_that_of_its_own_machine(
    machines: dict[str, str], seconds: dict[str, float], met: bool
) -> None:
    where = machines | {"continued": "one"}
    costs = {name: {"machines": [where[name]], "seconds": taken} for name, taken in seconds.items()}
    assert reason.same_clock(costs) == met
