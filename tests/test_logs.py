"""Structured logs: one line an event, and hidden text stays hidden in every form a program can print it."""

import ast
import io
import json
import logging
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import forethought
from forethought import logs
from forethought.logs import Hidden, get_logger
from forethought.model.conversation import Thinking
from forethought.model.renderer.protocol import ThinkingDelta

SECRET = "the user is probably twelve"

MAY_REVEAL = {
    "cli/terminal.py",  # --show-thinking, for the local owner
    "reasoning/summary_live.py",  # for the summariser
    "api/content_keys.py",  # encrypts it
    "api/responses/conversation.py",  # for the model, in the turn in which it was thought
}


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the logs of a test go; afterwards logging is as it was."""
    root = logging.getLogger(logs.ROOT)
    before = (list(root.handlers), root.level, root.propagate)
    yield io.StringIO()
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


@dataclass(frozen=True)
class Event:
    index: int
    text: Hidden


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
@pytest.mark.parametrize(
    "value", [Hidden(SECRET), Event(3, Hidden(SECRET)), [Hidden(SECRET)], {"deep": (Event(0, Hidden(SECRET)),)}]
)
def test_hidden_text_is_a_length_in_a_log_of_any_level_and_form(
    stream: io.StringIO, as_json: bool, level: str, value: object
) -> None:
    logs.configure(level, as_json=as_json, stream=stream)
    getattr(get_logger("test"), level)("thinking", value=value)
    assert SECRET not in stream.getvalue()
    assert f"<hidden {len(SECRET)} chars>" in stream.getvalue()


@given(st.text())
def test_every_textual_form_of_hidden_is_its_length(text: str) -> None:
    hidden = Hidden(text)
    forms = (str(hidden), repr(hidden), f"{hidden}", f"{hidden!r}", "%s" % hidden, "{}".format(hidden))  # noqa: UP031, UP032
    assert set(forms) == {f"<hidden {len(text)} chars>"}
    assert hidden.reveal() == text
    assert len(hidden) == len(text)


def test_hidden_text_is_not_json() -> None:
    with pytest.raises(TypeError):
        json.dumps({"text": Hidden(SECRET)})


def test_hidden_text_survives_a_pickle_and_compares_by_value() -> None:
    assert pickle.loads(pickle.dumps(Hidden(SECRET))) == Hidden(SECRET)
    assert Hidden("a") != Hidden("b")
    assert Hidden("a") != "a"
    assert len({Hidden("a"), Hidden("a")}) == 1


def log_an_error() -> None:
    """One that quotes hidden text, and tries to forge a line, in its message and in that of its cause."""
    try:
        try:
            raise KeyError(f"{SECRET}\nforged \x1b[31m")
        except KeyError as error:
            raise ValueError(f"cannot parse {SECRET}") from error
    except ValueError as error:
        get_logger("test").error("turn failed", error=error)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_traceback_has_places_and_types_and_no_messages(stream: io.StringIO, as_json: bool, level: str) -> None:
    logs.configure(level, as_json=as_json, stream=stream)
    log_an_error()
    written = json.loads(stream.getvalue())["traceback"] if as_json else stream.getvalue()
    assert f'File "{__file__}", line ' in written
    assert written.index("in log_an_error") < written.index("KeyError") < written.index("ValueError")
    assert SECRET not in stream.getvalue()


def test_other_handlers_do_not_get_the_exception_either(caplog: pytest.LogCaptureFixture, stream: io.StringIO) -> None:
    logging.getLogger(logs.ROOT).propagate = True
    caplog.set_level(logging.WARNING, logs.ROOT)
    log_an_error()
    assert "turn failed" in caplog.text
    assert SECRET not in caplog.text


def test_a_line_that_cannot_be_written_is_lost_in_silence(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(stream=stream)
    stream.close()
    log_an_error()
    assert capsys.readouterr().err == ""


def test_at_debug_a_traceback_has_messages_which_command_no_terminal_and_forge_no_line(stream: io.StringIO) -> None:
    logs.configure("debug", stream=stream)
    log_an_error()
    assert f"ValueError: cannot parse {SECRET}" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()
    assert all(line.startswith("  ") for line in stream.getvalue().splitlines()[1:] if line)


def test_only_the_listed_places_reveal_hidden_text() -> None:
    package = Path(forethought.__file__).parent
    revealing = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "reveal"
    }
    assert revealing == MAY_REVEAL


def test_a_human_line_carries_level_logger_event_and_fields(stream: io.StringIO) -> None:
    logs.configure("info", stream=stream)
    get_logger("forethought.engine.core").info("step done", tokens=12, seconds=0.25, note="two words")
    stamp, rest = stream.getvalue().split(" ", 1)
    assert stamp.endswith("Z")
    assert rest == 'info forethought.engine.core: step done tokens=12 seconds=0.25 note="two words"\n'


def test_a_json_line_keeps_fields_apart_from_its_own_keys(stream: io.StringIO) -> None:
    logs.configure("info", as_json=True, stream=stream)
    get_logger("engine").info("step done", tokens=12, level="mine")
    entry = json.loads(stream.getvalue())
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "info",
        "logger": "forethought.engine",
        "event": "step done",
        "fields": {"tokens": 12, "level": "mine"},
    }


def test_a_line_below_the_level_is_not_written(stream: io.StringIO) -> None:
    logs.configure("warning", stream=stream)
    get_logger("test").info("quiet")
    get_logger("test").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_configuring_twice_does_not_write_twice(stream: io.StringIO) -> None:
    logs.configure(stream=io.StringIO())
    logs.configure(stream=stream)
    get_logger("test").warning("once")
    assert stream.getvalue().count("once") == 1


def test_a_percent_sign_in_an_event_stays_one(stream: io.StringIO) -> None:
    logs.configure(stream=stream)
    get_logger("test").warning("100 %s done")
    assert "100 %s done" in stream.getvalue()


@given(event=st.text(), value=st.text())
@pytest.mark.parametrize("as_json", [False, True])
def test_no_content_can_forge_a_line_or_a_terminal_command(as_json: bool, event: str, value: str) -> None:
    target = io.StringIO(newline="")
    formatter = logs.JsonFormatter() if as_json else logs.HumanFormatter()
    record = logging.makeLogRecord({"msg": event, "levelname": "INFO", "fields": {"value": value}})
    target.write(formatter.format(record))
    assert target.getvalue().isprintable()


@given(st.text())
def test_a_value_in_a_json_line_comes_back_as_it_was(value: str) -> None:
    record = logging.makeLogRecord({"msg": "m", "levelname": "INFO", "fields": {"value": value}})
    assert json.loads(logs.JsonFormatter().format(record))["fields"]["value"] == value


def test_a_thinking_item_leaves_its_text_out_of_its_repr() -> None:
    assert SECRET not in f"{Thinking(SECRET)!r} {ThinkingDelta(SECRET)}"
