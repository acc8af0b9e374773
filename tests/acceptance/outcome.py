"""What an acceptance run leaves behind: a JSON file with the verdict on each demand and the figures behind it."""

import json
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

SCHEMA_VERSION = 1


class Parts:
    """Results of a run's parts, kept in a file until the run is over, so that an interrupted one goes on.

    `mark` names what the results depend on; parts made under another mark are forgotten.
    """

    def __init__(self, output: Path, mark: str) -> None:
        self._file = output.with_suffix(".partial.json")
        kept = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._parts: dict[str, Any] = kept["parts"] if kept.get("mark") == mark else {}
        self._mark = mark

    def get(self, name: str, compute: Callable[[], Any]) -> Any:
        """The result of a part, computed if need be. It must survive JSON (tuples come back as lists)."""
        if name not in self._parts:
            self._parts[name] = compute()
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps({"mark": self._mark, "parts": self._parts}))
        return self._parts[name]

    def forget(self) -> None:
        """The run is over."""
        self._file.unlink(missing_ok=True)


def write_outcome(output: Path, verdict: dict[str, bool], figures: dict[str, Any]) -> None:
    """Writes and prints the outcome; ends the program with 1 if a demand was not met."""
    outcome = {
        "schema_version": SCHEMA_VERSION,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": psutil.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "verdict": verdict,
        **figures,
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(outcome, indent=2) + "\n")
    for demand, met in verdict.items():
        sys.stdout.write(f"{'met    ' if met else 'NOT MET'} {demand}\n")
    sys.exit(0 if all(verdict.values()) else 1)
