"""Writes docs/conformance.md: `make conformance`."""

import asyncio
import logging
import tempfile
from pathlib import Path

from conformance.document import render
from conformance.report import measure
from conftest import write_tiny_checkpoint

DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"


def main() -> None:
    logging.disable()  # some of what is measured breaks on purpose
    with tempfile.TemporaryDirectory() as directory:
        write_tiny_checkpoint(Path(directory))
        report = asyncio.run(measure(Path(directory)))
    DOCUMENT.write_text(render(report))


if __name__ == "__main__":
    main()
