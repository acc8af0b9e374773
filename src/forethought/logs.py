"""Structured logs on the standard library's `logging`, which cannot print thinking.

A log line is an event name and fields (`log.info("turn done", tokens=12)`), written as `key=value` for people or as
one JSON object a line for machines. Hidden text (the chain of thought) travels in `Hidden`, whose every textual form
is its length; nothing here ever calls `reveal`, at no level, so no log line can carry it. The message of an exception
may quote anything, so a traceback has messages only at debug.
"""

import json
import logging
import sys
import time
import traceback
from textwrap import indent
from typing import Any, TextIO, cast

ROOT = "forethought"


class Hidden:
    """Text that must not be seen by accident: `str`, `repr`, `format` and JSON give `<hidden 214 chars>`.

    Only `reveal()` gives the text. A test lists the few places in the source that may call it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return f"<hidden {len(self._text)} chars>"

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hidden) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Hidden, self._text))


class Logger:
    """Writes events with fields. Made by `get_logger`."""

    __slots__ = ("_target",)

    def __init__(self, target: logging.Logger) -> None:
        self._target = target

    def debug(self, event: str, **fields: object) -> None:
        """For whoever mends the program."""
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """What a busy server does, step by step."""
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something is worse than it should be, and work goes on."""
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, *, error: BaseException | None = None, **fields: object) -> None:
        """Something broke. With `error`, its traceback follows: places and types, and messages only at debug."""
        self._write(logging.ERROR, event, fields, error)

    def _write(self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        if self._target.isEnabledFor(level):
            extra = {"fields": fields, "trace": _trace(error) if error is not None else ""}
            # The event is an argument, not the format string: a stray % in it stays a %. No `exc_info`: the handlers
            # of a program that uses us would write the exception out, message and all.
            self._target.log(level, "%s", event, extra=extra, stacklevel=3)


def get_logger(name: str) -> Logger:
    """The logger of a module: `get_logger(__name__)`. Names outside our package are put under it."""
    inside = name == ROOT or name.startswith(f"{ROOT}.")
    return Logger(logging.getLogger(name if inside else f"{ROOT}.{name}"))


def configure(level: str = "warning", *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Sends our logs of `level` and above to `stream` (standard error). A second call replaces the first."""
    root = logging.getLogger(ROOT)
    for handler in list(root.handlers):
        root.removeHandler(handler)
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else HumanFormatter())
    root.addHandler(handler)
    root.setLevel(level.upper())
    # Not through the root logger: a library that configures it must not get our lines, formatted its own way.
    root.propagate = False


def divert(name: str, stream: TextIO) -> None:
    """Sends what the logger `name` says, from info up, to `stream` and nowhere else: one JSON object a line."""
    target = logging.getLogger(name)
    handler = _Handler(stream)
    handler.setFormatter(JsonFormatter())
    target.handlers[:] = [handler]
    target.setLevel(logging.INFO)
    target.propagate = False


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:
        """A line that cannot be written is lost. The standard report of that would quote the exception at hand."""


class HumanFormatter(logging.Formatter):
    """`2026-11-22T03:40:00.123Z info forethought.engine.core: step done tokens=12 note="two words"`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it if there is one."""
        pairs = "".join(f" {key}={_plain(value)}" for key, value in _fields(record).items())
        level = record.levelname.lower()
        line = f"{_timestamp(record)} {level} {record.name}: {_escaped(record.getMessage())}{pairs}"
        return f"{line}\n{indent(_visible(trace), '  ')}" if (trace := _trace_of(record)) else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `event`, then the fields under `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a traceback is a string in it."""
        entry: dict[str, object] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if fields := _fields(record):
            entry["fields"] = fields
        if trace := _trace_of(record):
            entry["traceback"] = trace
        return json.dumps(entry, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return cast(dict[str, Any], getattr(record, "fields", {}))


def _trace_of(record: logging.LogRecord) -> str:
    return cast(str, getattr(record, "trace", ""))


def _trace(error: BaseException) -> str:
    """The traceback of an exception and of those it came from, oldest first. Without messages, unless at debug."""
    if logging.getLogger(ROOT).getEffectiveLevel() <= logging.DEBUG:
        return "".join(traceback.format_exception(error)).rstrip()
    lines: list[str] = []
    for each in reversed(_chain(error)):
        frames = ((frame.f_code, line) for frame, line in traceback.walk_tb(each.__traceback__))
        lines += [f'File "{code.co_filename}", line {line}, in {code.co_name}' for code, line in frames]
        lines.append(type(each).__qualname__)
    return "\n".join(lines)


def _chain(error: BaseException) -> list[BaseException]:
    """An exception, its cause (or what was handled when it was raised), and so on."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain:
        chain.append(following)
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)
    return chain


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _plain(value: object) -> str:
    """A value as it stands after `key=`; quoted when it could be mistaken for more than one."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if isinstance(value, Hidden) or (text and text.isprintable() and not set(' "=') & set(text)):
        return text
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """On one line, and without control characters: a value can forge neither a log line nor a terminal command."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())[1:-1]


def _visible(text: str) -> str:
    """Several lines, without control characters other than their line breaks."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
