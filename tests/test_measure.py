"""Measuring a checkpoint: which problems, how many at a time, and what the samples come to."""

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from attempt_scene import answers, keeping, play, register
from forethought.engine.protocol import Request
from forethought.engine.script import Fail, Step
from forethought.errors import EngineDown, EngineError, ResultError, TaskError
from forethought.evals.figures import Comparison, Figures, Report, compare
from forethought.evals.measure import measure
from forethought.evals.measurement import Cell, Measurement, ProblemRecord, Sample
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Effort
from forethought.reasoning.reasoner import Reasoner
from forethought.statistics import wilson
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict

Run = Callable[[Callable[[Reasoner], Awaitable[Any]]], Any]


class Parity(TextFamily):
    """Few problems at its first level, so that seeds collide."""

    name = "parity"
    description = "Say whether a number is even."
    levels = ("to 40", "to 10000", "to 99999")

    def draw(self, rng: Random, level: int) -> Draft:
        number = rng.randint(0, (40, 10_000, 99_999)[level - 1])
        return self.ask(f"Is {number} even?", number % 2 == 0, str(number))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        return self.answer("I look at the last digit.", self.gold(problem))

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, self.gold(problem))

    @staticmethod
    def gold(problem: Problem) -> str:
        return "yes" if problem.gold else "no"


@pytest.fixture(autouse=True)
def parity(monkeypatch: pytest.MonkeyPatch) -> Parity:
    family = Parity()
    register(monkeypatch, family)
    return family


EASY, HARD = Cell("parity", 1), Cell("parity", 2)
RIGHT = Sample(True, True, False, 10, "stop_token", "")
WRONG = Sample(False, True, False, 20, "stop_token", "not 4")


def measured(checkpoint: Checkpoint, *cells: Cell, text: str = "yes", **options: Any) -> Measurement:
    told = {"problems": 12, "samples": 2, "effort": None} | options
    script: Iterable[Step] = (answers(checkpoint, text),)
    return play(checkpoint, script, lambda reasoner: measure(reasoner, cells, **told))


def made_of(*records: tuple[Cell, str, Iterable[Sample]]) -> Measurement:
    return Measurement(
        checkpoint="sha256:0",
        effort="low",
        budget=None,
        sampling={},
        examples=0,
        split="test",
        problems=len(records),
        samples=1,
        seed=0,
        records=tuple(ProblemRecord(cell, n, key, tuple(samples)) for n, (cell, key, samples) in enumerate(records)),
        seconds=1.0,
    )


def test_every_problem_of_every_cell_is_tried_so_often(checkpoint: Checkpoint) -> None:
    found = measured(checkpoint, EASY, HARD, problems=5, samples=3)
    assert found.cells == [EASY, HARD]
    assert [len(record.samples) for record in found.records] == [3] * 10
    assert found.checkpoint == f"sha256:{0:064x}"


def test_a_cell_that_is_named_twice_is_measured_once(checkpoint: Checkpoint) -> None:
    assert len(measured(checkpoint, HARD, HARD, problems=5).records) == 5


@pytest.mark.parametrize("number", ["problems", "samples", "in_flight"])
def test_nothing_cannot_be_measured(checkpoint: Checkpoint, number: str) -> None:
    with pytest.raises(ResultError, match="less than one"):
        measured(checkpoint, HARD, **{number: 0})


def test_the_verdict_of_each_sample_is_kept(checkpoint: Checkpoint, parity: Parity) -> None:
    found = measured(checkpoint, HARD, text="yes", problems=12)
    for record in found.records:
        problem = parity.problem(record.seed, 2, "test")
        assert all(sample.correct == (parity.gold(problem) == "yes") for sample in record.samples)
    assert {sample.verdict for record in found.records for sample in record.samples} == {"", "not no"}


def test_the_problems_of_a_cell_are_all_different(checkpoint: Checkpoint) -> None:
    found = measured(checkpoint, EASY, problems=100, samples=1)
    assert found.problems == 100
    assert 0 < len(found.records) < 41
    assert len({record.key for record in found.records}) == len(found.records)


def test_other_seeds_sample_the_same_problems_with_other_numbers(checkpoint: Checkpoint) -> None:
    def asked(seed: int) -> tuple[list[str], set[int | None]]:
        requests: list[Request] = []
        script = keeping(requests, lambda request: (answers(checkpoint, "no"),))
        options: Any = {"problems": 4, "samples": 2, "effort": None, "seed": seed}
        found = play(checkpoint, script, lambda reasoner: measure(reasoner, [HARD], **options))
        return [record.key for record in found.records], {request.sampling.seed for request in requests}

    (keys, seeds), (other_keys, other_seeds) = asked(1), asked(2)
    assert keys == other_keys
    assert len(seeds) == len(other_seeds) == 8
    assert not seeds & other_seeds


def test_a_sample_does_not_depend_on_what_else_is_measured(checkpoint: Checkpoint) -> None:
    def seeds(*cells: Cell, **options: Any) -> set[int | None]:
        requests: list[Request] = []
        script = keeping(requests, lambda request: (answers(checkpoint, "no"),))
        play(checkpoint, script, lambda reasoner: measure(reasoner, cells, effort=None, **options))
        return {request.sampling.seed for request in requests}

    assert seeds(HARD, problems=2, samples=1) < seeds(EASY, HARD, problems=4, samples=3)


@pytest.mark.parametrize("in_flight", [1, 3, 100])
def test_no_more_attempts_run_than_are_allowed(checkpoint: Checkpoint, in_flight: int) -> None:
    most = 0

    async def body(reasoner: Reasoner) -> Measurement:
        def watch(done: int, total: int) -> None:
            nonlocal most
            most = max(most, reasoner.engine.metrics().running)

        return await measure(reasoner, [HARD], problems=10, samples=2, effort=None, in_flight=in_flight, progress=watch)

    found = play(checkpoint, (answers(checkpoint, "yes"),), body)
    assert most <= min(in_flight, 20)
    assert found.digest == measured(checkpoint, HARD, problems=10, samples=2).digest


def test_what_is_known_is_not_sampled_again(checkpoint: Checkpoint) -> None:
    """Not even once more: the second engine answers otherwise."""
    known = measured(checkpoint, HARD, problems=5, samples=4)
    broken = replace(known.records[0].samples[0], error="EngineDown")
    first = replace(known.records[0], samples=(broken, *known.records[0].samples[1:]))
    known = known.model_copy(update={"records": (first, *known.records[1:])})
    told: list[tuple[int, int]] = []
    found = measured(
        checkpoint, HARD, text="no", problems=8, samples=2, known=known, progress=lambda *each: told.append(each)
    )
    other = measured(checkpoint, HARD, text="no", problems=8, samples=2)
    assert [r.samples for r in found.records[1:5]] == [r.samples[:2] for r in known.records[1:]]
    assert found.records[0].samples == (other.records[0].samples[0], known.records[0].samples[1])
    assert found.records[5:] == other.records[5:]
    assert told == [(done, 7) for done in range(1, 8)]


def test_what_was_made_otherwise_is_not_taken_for_known(checkpoint: Checkpoint) -> None:
    known = measured(checkpoint, HARD, problems=2)
    with pytest.raises(ResultError, match="another way: sampling, seed"):
        measured(checkpoint, HARD, problems=2, seed=1, sampling={"temperature": 0.5}, known=known)


def test_progress_counts_to_the_end(checkpoint: Checkpoint) -> None:
    told: list[tuple[int, int]] = []
    measured(checkpoint, HARD, problems=3, samples=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]


def test_a_cell_that_does_not_exist_is_refused(checkpoint: Checkpoint) -> None:
    for cell in (Cell("parity", 4), Cell("nothing", 1)):
        with pytest.raises(TaskError):
            measured(checkpoint, cell)


def test_when_the_engine_fails_there_are_no_figures(checkpoint: Checkpoint) -> None:
    down = Fail(EngineDown("The engine process died.", "Ask again."))
    with pytest.raises(EngineError, match="The engine process died"):
        play(checkpoint, (down,), lambda reasoner: measure(reasoner, [HARD], problems=20, effort=None))


def test_a_single_broken_attempt_of_many_is_counted_and_named(checkpoint: Checkpoint) -> None:
    broken: list[Request] = []

    def script(request: Request) -> Iterable[Step]:
        if not broken:
            broken.append(request)
            return (Fail(EngineDown("The engine process died.")),)
        return (answers(checkpoint, "yes"),)

    found = play(checkpoint, script, lambda reasoner: measure(reasoner, [HARD], problems=100, effort=None))
    assert Figures.of(found.of()).reasons == {"error": 1, "stop_token": 99}
    assert [s.error for r in found.records for s in r.samples if s.error] == ["EngineDown: The engine process died."]


def test_what_is_saved_is_read_again(checkpoint: Checkpoint, tmp_path: Path) -> None:
    found = measured(checkpoint, EASY, HARD, sampling={"temperature": 0.5}, problems=4)
    found.save(tmp_path / "found.json")
    read = Measurement.load(tmp_path / "found.json")
    assert read == found
    assert Report.of(read) == Report.of(found)
    assert json.loads((tmp_path / "found.json").read_text())["schema_version"] == 1


def test_the_digest_depends_on_what_was_found_and_not_on_the_time(checkpoint: Checkpoint) -> None:
    first, again = (measured(checkpoint, HARD) for _ in range(2))
    assert first.digest == again.digest
    assert first.digest == first.model_copy(update={"seconds": 99.0}).digest
    assert first.digest != measured(checkpoint, HARD, text="no").digest


def test_each_problem_is_a_line_of_json(checkpoint: Checkpoint) -> None:
    found = measured(checkpoint, EASY, problems=3)
    lines = [json.loads(line) for line in found.lines()]
    assert [(line["cell"]["family"], line["key"]) for line in lines] == [("parity", r.key) for r in found.records]
    assert lines[0]["samples"][0]["reason"] == "stop_token"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no measurement"),
        ("[]", "no measurement"),
        ('{"schema_version": 2, "found": {}, "seconds": 1}', "of version 2"),
        ('{"schema_version": 1, "found": {"checkpoint": "x"}, "seconds": 1}', "records"),
    ],
)
def test_a_file_that_is_no_measurement_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "found.json").write_text(text)
    with pytest.raises(ResultError, match=says):
        Measurement.load(tmp_path / "found.json")
    with pytest.raises(ResultError):
        Measurement.load(tmp_path / "nothing.json")


def test_figures_count_what_the_samples_say() -> None:
    capped = replace(WRONG, capped=True, thinking_tokens=40)
    cut = replace(WRONG, answered=False, reason="max_tokens")
    found = Figures.of(made_of((EASY, "a", [RIGHT, WRONG]), (EASY, "b", [capped, cut])).of())
    assert (found.problems, found.samples) == (2, 4)
    assert found.pass_1.value == 0.25
    assert {k: interval.value for k, interval in found.pass_k.items()} == {2: 0.5}
    assert found.thinking_tokens.value == 22.5
    assert (found.capped.value, found.answered.value) == (0.25, 0.75)
    assert found.reasons == {"max_tokens": 1, "stop_token": 3}


def test_pass_at_k_is_given_for_the_powers_of_two() -> None:
    found = Figures.of(made_of((EASY, "a", [RIGHT] * 9), (EASY, "b", [RIGHT] * 3 + [WRONG] * 6)).of())
    assert list(found.pass_k) == [2, 4, 8]
    assert found.pass_k[8].value == 1.0


def test_one_sample_a_problem_has_wilsons_interval() -> None:
    records = [(EASY, str(n), [RIGHT if n < 7 else WRONG]) for n in range(10)]
    assert Figures.of(made_of(*records).of()).pass_1 == wilson(7, 10)


def test_a_report_pools_and_divides() -> None:
    other = Cell("sums", 1)
    found = Report.of(made_of((EASY, "a", [RIGHT]), (HARD, "a", [WRONG]), (other, "a", [WRONG])))
    assert found.pooled.pass_1.value == 1 / 3
    assert {level: figures.pass_1.value for level, figures in found.levels.items()} == {1: 0.5, 2: 0.0}
    assert {name: figures.problems for name, figures in found.families.items()} == {"parity": 2, "sums": 1}
    assert list(found.cells) == [EASY, HARD, other]
    written = json.loads(json.dumps(found.as_json()))
    assert written["pooled"]["pass_1"]["value"] == 1 / 3
    assert [(cell["family"], cell["level"]) for cell in written["cells"]] == [("parity", 1), ("parity", 2), ("sums", 1)]


def test_nothing_measured_has_no_figures() -> None:
    with pytest.raises(ResultError):
        Report.of(made_of())


def pairs(family: str, better: int, worse: int, same: int) -> tuple[list[Any], list[Any]]:
    before = [WRONG] * better + [RIGHT] * worse + [RIGHT] * same
    after = [RIGHT] * better + [WRONG] * worse + [RIGHT] * same
    cell = Cell(family, 1)
    return (
        [(cell, str(n), [sample]) for n, sample in enumerate(before)],
        [(cell, str(n), [sample]) for n, sample in enumerate(after)],
    )


def compared(*families: tuple[list[Any], list[Any]]) -> Comparison:
    before, after = ([record for family in families for record in family[side]] for side in (0, 1))
    return compare(made_of(*before), made_of(*reversed(after)))


def test_a_comparison_pairs_the_same_problems_whatever_their_order() -> None:
    found = compared(pairs("up", 12, 2, 30), pairs("flat", 3, 3, 30))
    assert found.families["up"].difference.value == pytest.approx(10 / 44)
    assert found.families["up"].difference.low > 0
    assert found.families["flat"].difference.value == 0.0
    assert found.pooled.difference.n == 80
    assert found.worse() == []


def test_a_family_is_worse_only_if_that_holds_among_all_families() -> None:
    # Alone 7 of 7 have a p-value of 2 / 2^7 = 0.016; among six families it is 0.09.
    down = pairs("down", 0, 7, 20)
    assert compared(down).worse() == ["down"]
    many = compared(down, *(pairs(f"flat{n}", 1, 1, 20) for n in range(5)))
    assert many.families["down"].p_value == pytest.approx(2 / 2**7)
    assert many.families["down"].adjusted == pytest.approx(12 / 2**7)
    assert many.worse() == []


def test_pass_at_k_can_be_compared() -> None:
    before = made_of((EASY, "a", [RIGHT, WRONG]), (EASY, "b", [WRONG, WRONG]))
    after = made_of((EASY, "a", [RIGHT, RIGHT]), (EASY, "b", [WRONG, RIGHT]))
    assert compare(before, after, k=2).pooled.difference.value == 0.5
    assert compare(before, after).pooled.difference.value == 0.5
    with pytest.raises(ResultError, match="fewer than 3"):
        compare(before, after, k=3)


def test_measurements_of_different_problems_cannot_be_compared() -> None:
    with pytest.raises(ResultError, match="no problem in common"):
        compare(made_of((EASY, "a", [RIGHT])), made_of((HARD, "a", [RIGHT])))


def test_a_real_engine_measures_the_same_twice(run: Run) -> None:
    async def body(reasoner: Reasoner) -> list[Measurement]:
        options: Any = {"problems": 2, "samples": 2, "effort": "low", "budget": 10}
        return [await measure(reasoner, [EASY, HARD], in_flight=flight, **options) for flight in (1, 8)]

    alone, together = run(body)
    assert alone.digest == together.digest
    assert Figures.of(alone.of()).samples == 8
