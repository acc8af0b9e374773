"""Every file in examples/ runs, over the tiny checkpoint."""

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))

SHOWS = {
    "any_directory": "renderer forethought",
    "effort": "high: at most 150 tokens of thinking",
    "engine_process": "killed: TurnError",
    "family": "0 findings",
    "logprobs": "%   of ",
    "lora_adapter": "merged: ",
    "many_at_once": "of the prompts came from the cache",
    "rollouts": "max_tokens",
    "serve_and_ask": "ended as ",
    "stream_a_turn": "tokens in, ",
    "structured_output": "'continent': ",
    "tools": "Message(role='user'",
}
"""What each prints, whatever a random model says."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(
    example: Path,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = {"ENGINE__RUNNER": "torch", "ENGINE__DTYPE": "float32", "ENGINE__CACHE_TOKENS": "8192"}
    for name, value in ({"MODEL": str(tiny_checkpoint), "CACHE_DIR": str(tmp_path)} | engine).items():
        monkeypatch.setenv(f"FORETHOUGHT_{name}", value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    assert SHOWS[example.stem] in capsys.readouterr().out
