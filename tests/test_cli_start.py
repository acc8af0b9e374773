"""The command line starts fast: what is slow to import is imported when it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "transformers", "tokenizers", "llguidance", "numpy", "pydantic", "prompt_toolkit")


def imported(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has imported after running `code`."""
    report = f"{code}\nimport sys\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_the_command_line_comes_up_without_anything_heavy() -> None:
    assert imported("import forethought.cli.app") == set()


@pytest.mark.parametrize("module", ["engine.process", "engine.spec", "reasoning.reasoner", "model.registry"])
def test_what_a_chat_needs_in_this_process_does_without_torch(module: str) -> None:
    assert "torch" not in imported(f"import forethought.{module}")


def test_a_checkpoint_opens_without_torch(tiny_checkpoint: Path) -> None:
    imports = "from pathlib import Path; from forethought.model.checkpoint import Checkpoint"
    assert "torch" not in imported(f"{imports}; Checkpoint.open(Path({str(tiny_checkpoint)!r}))")
