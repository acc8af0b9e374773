"""`forethought tasks`: what it lists, shows and proves."""

import json

import pytest

from attempt_scene import register
from command_line import CommandLine
from forethought.tasks.families.chain_sum import ChainSum
from forethought.tasks.problem import CORRECT, Problem, Transcript, Verdict
from forethought.tasks.registry import families


class Generous(ChainSum):
    """A reward hole: whatever is said is right."""

    name = "generous"

    def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
        return CORRECT


def test_list_names_every_family_with_its_levels(forethought: CommandLine) -> None:
    outcome = forethought("tasks", "list")
    assert outcome.status == 0
    listed = json.loads(forethought("tasks", "list", "--json").out)
    assert [entry["name"] for entry in listed] == list(families())
    for entry in listed:
        assert {entry["name"], entry["description"], *entry["levels"]} <= set(
            outcome.out.replace("\n", "\t").split("\t")
        )


def test_show_gives_the_problem_of_a_seed_and_its_solution(forethought: CommandLine) -> None:
    arguments = ("tasks", "show", "chain_sum", "--level", "2", "--seed", "5", "--split", "test", "--effort", "high")
    problem = ChainSum().problem(5, 2, "test")
    outcome = forethought(*arguments)
    assert outcome.status == 0
    lines = dict(line.split("\t", 1) for line in outcome.out.splitlines() if "\t" in line)
    assert lines["assistant"] == str(sum(problem.gold))
    assert lines["user"] == problem.conversation.items[0].text  # type: ignore[union-attr]
    shown = json.loads(forethought(*arguments, "--json").out)
    assert (shown["key"], shown["level"], shown["split"]) == (problem.key, 2, "test")
    assert [item["kind"] for item in shown["solution"]] == ["thinking", "assistant"]


def test_show_tells_which_tools_are_on_offer_and_called(forethought: CommandLine) -> None:
    shown = json.loads(forethought("tasks", "show", "tool_results", "--json").out)
    names = {tool["name"] for tool in shown["tools"]}
    calls = [item["text"].split("\n")[0] for item in shown["solution"] if item["kind"] == "call"]
    assert calls
    assert set(calls) <= names
    assert {"call", "result", "assistant"} <= {item["kind"] for item in shown["solution"]}
    assert "tool\t" in forethought("tasks", "show", "tool_results").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["show", "nothing"], "Known are: "), (["show", "chain_sum", "--level", "9"], "Its levels are 1 to 3.")],
)
def test_what_does_not_exist_is_an_error_that_says_what_does(
    forethought: CommandLine, arguments: list[str], says: str
) -> None:
    outcome = forethought("tasks", *arguments)
    assert (outcome.status, outcome.out) == (1, "")
    assert says in outcome.err


def test_validate_says_that_nothing_is_wrong(forethought: CommandLine) -> None:
    outcome = forethought("tasks", "validate", "chain_sum", "--problems", "10")
    assert (outcome.status, outcome.err.strip()) == (0, "")
    assert "chain_sum\tall\tall\t\tnothing wrong" in outcome.out
    assert json.loads(forethought("tasks", "validate", "chain_sum", "--problems", "10", "--json").out) == {
        "chain_sum": []
    }


def test_validate_fails_on_a_reward_hole_and_names_it(
    forethought: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, ChainSum(), Generous())
    outcome = forethought("tasks", "validate", "--problems", "4")
    assert outcome.status == 1
    assert "generous\t1\tempty\t" in outcome.out
    assert "accepts an attempt without any output" in outcome.out
    assert "chain_sum\tall\tall\t\tnothing wrong" in outcome.out
    found = json.loads(forethought("tasks", "validate", "generous", "--problems", "4", "--json").out)
    assert {"empty", "perturbed", "padded", "doubled", "long"} <= {finding["check"] for finding in found["generous"]}
