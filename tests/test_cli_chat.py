"""`forethought chat`: through a pipe line by line, and at a terminal with a prompt."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from command_line import CommandLine
from forethought.cli import terminal
from forethought.cli.chat_commands import COMMANDS
from forethought.reasoning.events import Event, TextDelta

SHORT = ("--seed", "1", "--max-tokens", "6")


def test_each_line_of_a_pipe_is_answered(forethought: CommandLine) -> None:
    chat = forethought("chat", *SHORT, stdin="Hello?\nAnd then?\n")
    assert chat.status == 0
    assert "\x1b" not in chat.out + chat.err
    assert ">>>" not in chat.out
    assert chat.err.count("[stopped at the token limit]") == 2


def test_the_first_answer_is_that_of_ask(forethought: CommandLine) -> None:
    assert forethought("chat", *SHORT, stdin="Hello?").out == forethought("ask", "Hello?", *SHORT).out


def test_a_chat_remembers_what_was_said_and_finds_it_in_the_cache(forethought: CommandLine) -> None:
    chat = forethought("chat", *SHORT, stdin="Hello?\nAnd then?\n/stats\n")
    cached = next(line for line in chat.err.splitlines() if line.startswith("last prompt"))
    prompt, reused = (int(word) for word in cached.split() if word.isdigit())
    assert prompt > reused > 0


def test_empty_lines_are_not_messages(forethought: CommandLine) -> None:
    assert forethought("chat", *SHORT, stdin="\n  \n").out == ""


def test_quotes_hold_a_message_of_several_lines(forethought: CommandLine, tmp_path: Path) -> None:
    saved = tmp_path / "chat.json"
    lines = ('"""one', "", '/two"""', f"/save {saved}", '"""', "three", '"""', f"/save {saved}")
    forethought("chat", *SHORT, stdin="\n".join(lines))
    said = [message["text"] for message in json.loads(saved.read_text())["messages"] if message["role"] == "user"]
    assert said == ["one\n\n/two", "three"]


def test_a_saved_chat_has_what_was_said_and_no_thinking(forethought: CommandLine, tmp_path: Path) -> None:
    saved = tmp_path / "chat.json"
    options = ("--think", "--effort", "low", "--seed", "2", "--max-tokens", "60", "--system", "Be brief.")
    chat = forethought("chat", *options, "--show-thinking", stdin=f"Hello?\n/save {saved}\n")
    content = json.loads(saved.read_text())
    assert [message["role"] for message in content["messages"]] == ["system", "user", "assistant"]
    assert content["messages"][2]["text"] == chat.out.removesuffix("\n")


def test_reset_forgets_what_was_said_and_keeps_the_instructions(forethought: CommandLine, tmp_path: Path) -> None:
    saved = tmp_path / "chat.json"
    forethought("chat", *SHORT, stdin=f"/system Be brief.\nHello?\n/reset\n/save {saved}\n")
    assert json.loads(saved.read_text())["messages"] == [{"role": "system", "text": "Be brief."}]


def test_a_full_context_gets_a_remedy_and_the_chat_goes_on(forethought: CommandLine) -> None:
    chat = forethought("chat", *SHORT, stdin=f"Hello?\n{'a' * 3000}\n/reset\nHello?\n")
    [error] = [line for line in chat.err.splitlines() if line.startswith("error:")]
    assert "the context holds 512" in error
    assert "/reset" in error
    answers = chat.out.splitlines()
    assert answers[: len(answers) // 2] == answers[len(answers) // 2 :]
    assert chat.status == 1


def test_help_lists_every_command(forethought: CommandLine) -> None:
    told = forethought("chat", stdin="/help\n").err
    assert all(name in told for name in COMMANDS)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/nonsense", "error: There is no command /nonsense"),
        ("/effort extreme", "error: /effort does not know 'extreme'. Say one of: low, medium, high, default."),
        ("/save", "error: /save needs the name of a file."),
        ("/save /nowhere/chat.json", "error: /nowhere/chat.json cannot be written"),
        ("/effort", "effort: default"),
        ("/effort low", "effort: low"),
        ("/think on", "think: on"),
        ("/think default", "think: default"),
        ("/show-thinking", "show thinking: on"),
        ("/show-thinking off", "show thinking: off"),
        ("/system Be brief.", "instructions: Be brief."),
        ("/system none", "instructions: none"),
        ("/stats", "Nothing has been answered yet."),
        ("/model", "model: "),
    ],
)
def test_a_command_tells_what_it_did(forethought: CommandLine, line: str, told: str) -> None:
    assert told in forethought("chat", stdin=f"{line}\n").err


def test_an_effort_that_cannot_act_is_refused_once_the_model_is_known(forethought: CommandLine) -> None:
    chat = forethought("chat", *SHORT, stdin="Hello?\n/effort low\nHello?\n")
    assert "error: This model does not think. /think on forces it." in chat.err
    assert chat.err.count("error:") == 1


def test_quit_leaves_what_follows_unread(forethought: CommandLine) -> None:
    assert forethought("chat", *SHORT, stdin="/quit\nHello?\n").out == ""


def test_a_model_that_cannot_be_loaded_is_an_error_and_another_can_be_chosen(
    forethought: CommandLine, tiny_checkpoint: Path
) -> None:
    chat = forethought("chat", "--model", "nowhere", *SHORT, stdin=f"Hello?\n/model {tiny_checkpoint}\nHello?\n")
    assert "neither a known model" in chat.err
    assert chat.out.strip()


def test_ctrl_c_ends_the_answer_and_not_the_chat(forethought: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    show = terminal.TurnView.show

    def interrupted(view: terminal.TurnView, event: Event) -> None:
        show(view, event)
        if isinstance(event, TextDelta):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(terminal.TurnView, "show", interrupted)
    chat = forethought("chat", "--seed", "1", stdin="Hello?\nAnd then?\n")
    assert chat.status == 0
    assert chat.err.count("[stopped]") == 2
    assert chat.out.strip()


class Person:
    """Someone at a terminal of their own, typing into a real `forethought chat`."""

    PATIENCE = 60.0

    def __init__(self, model: Path, cache: Path) -> None:
        self._screen, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        engine = {"ENGINE__RUNNER": "torch", "ENGINE__DTYPE": "float32", "ENGINE__CACHE_TOKENS": "2048"}
        chosen = {"MODEL": str(model), "CACHE_DIR": str(cache)} | engine
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from forethought.cli.app import main; main()", "chat", "--think"],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=os.environ | {"TERM": "xterm"} | {f"FORETHOUGHT_{name}": value for name, value in chosen.items()},
        )
        os.close(inside)
        self.seen = ""

    def types(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def sees(self, text: str) -> None:
        """Waits until the screen has shown `text` since the last call."""
        deadline = time.monotonic() + self.PATIENCE
        while text not in self.seen:
            ready, _, _ = select.select([self._screen], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} did not come; the screen shows {self.seen!r}"
            shown = os.read(self._screen, 65536).decode(errors="replace")
            if "\x1b[6n" in shown:  # the terminal is asked where its cursor is
                self.types("\x1b[1;1R")
            self.seen += shown
        self.seen = self.seen.partition(text)[2]

    def leave(self) -> None:
        os.close(self._screen)
        self.process.kill()
        self.process.wait()


def test_a_cache_that_cannot_be_written_costs_a_person_the_history_and_nothing_else(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    person = Person(tiny_checkpoint, tmp_path / "file" / "cache")
    try:
        person.sees("the chat's history is not kept")
        person.sees(">>>")
        person.types("Hello?\r")
        person.sees("thinking…")
        person.types("\x03")
        person.sees(">>>")
        person.types("\x04")
        assert person.process.wait(person.PATIENCE) == 0
    finally:
        person.leave()


def test_a_person_talks_interrupts_and_leaves(tiny_checkpoint: Path, tmp_path: Path) -> None:
    person = Person(tiny_checkpoint, tmp_path)
    try:
        person.sees(">>>")
        person.sees("loading")  # the prompt does not wait for the model
        person.types("/help\r")
        person.sees("/show-thinking")
        person.types("Hello?\r")
        person.sees("thinking…")
        person.types("\x03")
        person.sees(">>>")
        person.types("\x04")
        assert person.process.wait(person.PATIENCE) == 0
        assert "Hello?" in (tmp_path / "chat-history").read_text()
    finally:
        person.leave()
