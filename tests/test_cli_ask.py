"""`forethought ask`: the answer on standard output, the rest beside it, and an exit status that scripts can trust."""

import io
import json
import os
import signal
from pathlib import Path

import pytest
from rich.console import Console

from command_line import CommandLine
from forethought.cli import terminal
from forethought.reasoning.events import Event, TextDelta

SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "integer"}},
    "required": ["sum"],
    "additionalProperties": False,
}


def test_the_answer_is_all_that_a_pipe_gets(forethought: CommandLine) -> None:
    asked = forethought("ask", "Hello?", "--seed", "1", "--max-tokens", "8")
    assert asked.status == 0
    assert asked.out.strip()
    assert "\x1b" not in asked.out + asked.err
    assert asked.err == "[stopped at the token limit]\n"


def test_the_same_seed_gives_the_same_answer(forethought: CommandLine) -> None:
    one, two, other = (forethought("ask", "Hello?", "--seed", seed, "--max-tokens", "8") for seed in "112")
    assert one == two
    assert one != other


def test_a_dash_reads_the_question_from_standard_input(forethought: CommandLine) -> None:
    options = ("--seed", "1", "--max-tokens", "8")
    assert forethought("ask", "-", *options, stdin="Hello?") == forethought("ask", "Hello?", *options)


def test_instructions_change_the_prompt(forethought: CommandLine) -> None:
    short, long = (
        json.loads(forethought("ask", "Hello?", "--json", "--max-tokens", "1", "--system", system).out)
        for system in ("Hi.", "Answer every question in one word.")
    )
    assert short["usage"]["input_tokens"] < long["usage"]["input_tokens"]


def test_json_has_the_items_and_the_cost(forethought: CommandLine) -> None:
    answer = json.loads(forethought("ask", "Hello?", "--json", "--seed", "1", "--max-tokens", "8").out)
    assert answer["status"] == "incomplete"
    assert answer["incomplete_reason"] == "max_output_tokens"
    assert answer["digest"].startswith("sha256:")
    [item] = answer["items"]
    assert (item["type"], item["status"]) == ("message", "incomplete")
    assert item["text"] == forethought("ask", "Hello?", "--seed", "1", "--max-tokens", "8").out.removesuffix("\n")
    assert answer["usage"]["output_tokens"] == 8


def test_thinking_is_counted_and_never_shown_unless_asked_for(forethought: CommandLine) -> None:
    options = ("ask", "Hello?", "--think", "--effort", "low", "--seed", "2", "--max-tokens", "60")
    revealed = forethought(*options, "--show-thinking")
    thought = revealed.err.split("\n[")[0]
    assert len(thought) > 10
    assert thought not in revealed.out
    for hidden in (
        forethought(*options),
        forethought(*options, "--json"),
        forethought("--log-level", "debug", *options),
    ):
        assert hidden.status == 0
        assert thought[:10] not in hidden.out + hidden.err
    answer = json.loads(forethought(*options, "--json").out)
    assert [item["type"] for item in answer["items"]] == ["message"]
    assert 0 < answer["usage"]["reasoning_tokens"] < answer["usage"]["output_tokens"]


def test_a_schema_shapes_the_answer(forethought: CommandLine, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    for seed in "123":
        asked = forethought("ask", "Two and two?", "--schema", str(schema), "--seed", seed, "--temperature", "0.5")
        assert asked.status == 0
        assert isinstance(json.loads(asked.out)["sum"], int)


def test_an_answer_that_is_cut_short_of_its_schema_is_a_failure(forethought: CommandLine, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    assert forethought("ask", "Two and two?", "--schema", str(schema), "--max-tokens", "3").status == 1


def test_a_stop_string_ends_the_answer_before_it(forethought: CommandLine) -> None:
    full = forethought("ask", "Hello?", "--seed", "1", "--max-tokens", "30").out
    stop = full[3:5]
    assert (
        forethought("ask", "Hello?", "--seed", "1", "--max-tokens", "30", "--stop", stop).out
        == full.split(stop)[0] + "\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ask", "  "), "The question is empty"),
        (("ask", "Hello?", "--effort", "low"), "this checkpoint does not think"),
        (("ask", "Hello?", "--model", "nowhere"), "neither a known model nor the directory"),
        (("ask", "a" * 5000), "the context holds 512"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_a_remedy(
    forethought: CommandLine, arguments: tuple[str, ...], message: str
) -> None:
    asked = forethought(*arguments)
    assert asked.status == 1
    assert asked.out == ""
    assert message in asked.err
    assert asked.err.count("\n") == 1


def test_a_schema_file_that_is_no_schema_is_named(forethought: CommandLine, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text("[1, 2")
    assert str(schema) in forethought("ask", "Hello?", "--schema", str(schema)).err


def test_ctrl_c_ends_the_answer_and_says_so(forethought: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    show = terminal.TurnView.show

    def interrupted(view: terminal.TurnView, event: Event) -> None:
        show(view, event)
        if isinstance(event, TextDelta):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(terminal.TurnView, "show", interrupted)
    before = signal.getsignal(signal.SIGINT)
    asked = forethought("ask", "Hello?", "--seed", "1")
    assert asked.status == 130
    assert asked.out.strip()
    assert "[stopped]" in asked.err
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("hostile", ["\x1b]0;owned\x07", "\x9b2J", "\r\x1b[2K"])
def test_what_a_model_writes_cannot_command_a_terminal(hostile: str) -> None:
    shown = terminal.printable(f"safe{hostile}\n\ttext")
    assert not set("\x1b\x9b\x07\r") & set(shown)
    assert shown.startswith("safe")
    assert shown.endswith("\n\ttext")
    notes = io.StringIO()
    speaker = terminal.Terminal(notes=Console(file=notes, color_system=None))
    speaker.error(f"The template says {hostile}.", f"Mend {hostile}.")
    speaker.note(hostile)
    assert not set("\x1b\x9b\x07\r") & set(notes.getvalue())
