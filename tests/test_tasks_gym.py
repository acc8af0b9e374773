"""The adapter for reasoning-gym: strict where its scorers are generous, and quiet where it is not installed."""

import json
import sys
from random import Random

import pytest
from typer.testing import CliRunner

from forethought.cli.tasks import app
from forethought.errors import TaskError
from forethought.tasks import reasoning_gym
from forethought.tasks.registry import families, family
from forethought.tasks.validate import validate
from task_transcripts import said

NAMES = ("chain_sum", "gcd", "spell_backward", "countdown", "word_sorting", "fraction_simplification", "time_intervals")


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """The package is an extra: without it there is nothing to adapt."""
    pytest.importorskip("reasoning_gym")


@pytest.mark.parametrize("name", NAMES)
def test_the_canonical_answer_is_right_and_nothing_around_it(name: str) -> None:
    gym = family(f"gym:{name}")
    for level in range(1, len(gym.levels) + 1):
        for seed in range(3):
            problem = gym.problem(seed, level)
            answer = problem.gold.answer
            assert gym.verify(problem, said(f" {answer}\n")).correct
            bads = (
                "",
                f"{answer} {answer}",
                f"{answer}\n{answer}",
                f"The answer is {answer}",
                f"{answer}.",
                f"x{answer}",
                f"{answer}1",
                f"({answer})",
                answer[:-1],
                "x" * 9999,
            )
            for bad in bads:
                assert not gym.verify(problem, said(bad)).correct


def test_without_worked_solutions_the_answer_is_shown_and_proved() -> None:
    gym = family("gym:spell_backward")
    assert not gym.has_traces
    assert validate(gym, problems=20, closely=4) == []
    shown = CliRunner().invoke(app, ["show", "gym:spell_backward", "--json"])
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["solution"][0]["text"] == gym.problem(0, 1).gold.answer


def test_a_number_that_is_nearly_right_is_wrong() -> None:
    gym = family("gym:chain_sum")
    problem = gym.problem(0, 2)
    answer = int(problem.gold.answer)
    for bad in (answer + 1, answer - 1, f"{answer}.0", f"+{answer}", f"0{answer}", f"{answer},0"):
        assert not gym.verify(problem, said(str(bad))).correct


def test_another_right_answer_counts_where_the_scorer_tells_it_from_padding() -> None:
    gym = family("gym:countdown")
    problem = next(one for one in (gym.problem(seed, 1) for seed in range(100)) if _is_sum(one.gold.answer))
    turned = " + ".join(reversed(problem.gold.answer.split(" + ")))
    assert turned != problem.gold.answer
    assert gym.verify(problem, said(turned)).correct
    for bad in (
        f"{turned} = 3",
        f"{turned} + 0",
        f"{turned} {turned}",
        turned.replace("+", "**"),
        turned.replace("+", "-"),
    ):
        assert not gym.verify(problem, said(bad)).correct


def _is_sum(answer: str) -> bool:
    terms = answer.split(" + ")
    return len(terms) > 1 and all(term.isdigit() for term in terms) and terms != terms[::-1]


def test_what_a_scorer_would_run_never_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gym = family("gym:countdown")
    problem = gym.problem(0, 1)
    asked: list[str] = []
    monkeypatch.setattr(
        type(problem.gold.data_set), "score_answer", lambda self, answer, entry: asked.append(answer) or 1.0
    )
    for bad in ("9**9**9**9", "__import__('os').getcwd()", "exit()", "1" * 300):
        assert not gym.verify(problem, said(bad)).correct
    assert asked == []


def test_no_other_power_than_the_canonical_ones_is_computed() -> None:
    canonical = "14868*x**4 - 8850*x**3"
    made_of = reasoning_gym._made_of  # pyright: ignore[reportPrivateUsage]
    assert made_of("- 8850*x**3 + 14868*x**4", canonical)
    for bad in ("14868**8850**4 + x + x - 3", "x*14868**4 - 8850*x**3", "8850*x**4 - 14868**x*3"):
        assert not made_of(bad, canonical), bad


def test_a_scorer_that_breaks_makes_an_attempt_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    gym = family("gym:countdown")
    problem = gym.problem(0, 1)
    monkeypatch.setattr(type(problem.gold.data_set), "score_answer", lambda self, answer, entry: 1 / 0)
    assert problem.gold.score("1") == 0.0


def test_problems_are_made_again_by_their_seed_and_disjoint_by_their_question() -> None:
    gym = family("gym:gcd")
    first, second = gym.problem(3, 1), gym.problem(3, 1)
    assert (first.conversation, first.key, first.gold.answer) == (second.conversation, second.key, second.gold.answer)
    train, test = ({gym.problem(seed, 1, split).key for seed in range(30)} for split in ("train", "test"))
    assert not train & test


def test_there_are_no_traces() -> None:
    gym = family("gym:gcd")
    with pytest.raises(TaskError, match="gym:gcd has no traces"):
        gym.trace(gym.problem(0, 1), "low", Random(0))


def test_no_data_set_is_a_family_by_default() -> None:
    assert not any(name.startswith(reasoning_gym.PREFIX) for name in families())


def test_a_data_set_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(TaskError, match="no data set 'riddles'"):
        family("gym:riddles")


def test_answers_that_cannot_be_judged_are_an_error() -> None:
    with pytest.raises(TaskError, match="has no answers that could be judged"):
        family("gym:propositional_logic").problem(0, 1)


def test_a_level_that_the_package_cannot_make_is_an_error() -> None:
    with pytest.raises(TaskError, match="has no level 3"):
        family("gym:caesar_cipher").problem(0, 3)


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(TaskError, match=r"Install forethought\[gym\]"):
        family("gym:basic_arithmetic")
