"""All that a process says besides its answers: logs of every library, and what is written to its two output streams."""

import contextlib
import io
import logging
import os
import sys
import tempfile
from collections.abc import Generator

from forethought import logs
from forethought.api.frame import ACCESS_LOGGER

CHATTY = ("httpcore", "httpx")
"""Libraries of the client, not of the server."""


class Tap:
    """What was said since it was last read. `tapped` makes one."""

    def __init__(self, lines: io.StringIO, records: "Records", outputs: int) -> None:
        self._lines = lines
        self._records = records
        self._outputs = outputs
        self._read = 0

    def configure(self, level: str, *, as_json: bool) -> None:
        """Our logs, from now on."""
        logs.configure(level, as_json=as_json, stream=self._lines)
        logging.getLogger(logs.ROOT).addHandler(self._records)

    def read(self) -> tuple[str, list[dict[str, str]]]:
        """Everything new: as it was written, and the records of the logs, each as an object."""
        said = self._lines.getvalue()
        self._lines.seek(0)
        self._lines.truncate()
        written = os.pread(self._outputs, 2**30, self._read)
        self._read += len(written)
        return said + written.decode("utf-8", "replace"), self._records.taken()


class Records(logging.Handler):
    """Log records as objects. What is logged piece by piece can be put together from them."""

    def __init__(self) -> None:
        super().__init__()
        self._objects: list[dict[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Called by a logger."""
        fields = {name: str(value) for name, value in record.__dict__.get("fields", {}).items()}
        self._objects.append({"type": record.name, "message": record.getMessage(), **fields})

    def taken(self) -> list[dict[str, str]]:
        """Those that came since the last time."""
        objects, self._objects = self._objects, []
        return objects


@contextlib.contextmanager
def tapped() -> Generator[Tap]:
    """Listens for the time of the block."""
    lines, records = io.StringIO(), Records()
    with _logs(logging.StreamHandler(lines), records), _outputs() as outputs:
        logs.divert(ACCESS_LOGGER, lines)
        yield Tap(lines, records, outputs)


@contextlib.contextmanager
def _logs(*handlers: logging.Handler) -> Generator[None]:
    """Everybody's logs go to these, debug included, and are afterwards as they were."""
    names = ("", logs.ROOT, ACCESS_LOGGER, *CHATTY)
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    for handler in handlers:
        logging.getLogger().addHandler(handler)
    logging.getLogger().setLevel(logging.DEBUG)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, (kept, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:], logger.propagate = kept, propagate
            logger.setLevel(level)


@contextlib.contextmanager
def _outputs() -> Generator[int]:
    """What Python or anything below it writes to the standard streams goes to this file."""
    with tempfile.TemporaryFile() as file, contextlib.ExitStack() as after:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor in (1, 2):
            kept = os.dup(descriptor)
            after.callback(os.close, kept)
            after.callback(os.dup2, kept, descriptor)
            os.dup2(file.fileno(), descriptor)
        raw = os.fdopen(os.dup(file.fileno()), "wb", 0)
        writer = after.enter_context(io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True))
        after.enter_context(contextlib.redirect_stdout(writer))
        after.enter_context(contextlib.redirect_stderr(writer))
        yield file.fileno()
