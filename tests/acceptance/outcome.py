"""What an acceptance run leaves behind: a JSON file with the verdict on each demand and the figures behind it."""

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

SCHEMA_VERSION = 1


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
