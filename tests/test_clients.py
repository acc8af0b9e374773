"""Programs written for OpenAI's API run unchanged: both majors of its SDK, its agents, LangChain, the Vercel AI SDK.

Each is a program of its own (tests/clients) in an environment of its own, which `make clients` installs.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from forethought.engine.protocol import Request
from forethought.engine.script import Say, Script
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Item, Message, Thinking, ToolCall
from server_house import Running, serving
from server_scene import ALIAS, House, writes

HERE = Path(__file__).parent / "clients"
INSTALLED = HERE.parent.parent / "build" / "clients"
SECONDS = 120


def forecaster(checkpoint: Path) -> Script:
    """A model that calls the tool when it has one and has not heard from it, and says what it was asked to say."""
    tokenizer = Checkpoint.open(checkpoint).tokenizer

    def answer(items: tuple[Item, ...]) -> list[Say]:
        return [writes(checkpoint, *items)]

    def script(request: Request) -> list[Say]:
        prompt = tokenizer.decode(list(request.prompt_ids))
        thinking = Thinking("They want to hear something, and I think about what it is.")
        if request.priority > 0:
            return answer((Message.of("assistant", "**Listening**\n\nThe wish is read."),))
        if "\n1 weather\n" in prompt:
            return answer((thinking, Message.of("assistant", "It is 21 °C.")))
        if "# Tools" in prompt:
            return answer((thinking, ToolCall("call_1", "weather", '{"city":"Rome"}')))
        if request.grammar is not None:
            return answer((thinking, Message.of("assistant", '{"city":"Rome"}')))
        return answer((thinking, Message.of("assistant", "Hello. ¡Hola!")))

    return script


@pytest.fixture(scope="module")
def running(tiny_checkpoint: Path) -> Iterator[Running]:
    with serving(House(tiny_checkpoint, forecaster(tiny_checkpoint)).app) as running:
        yield running


def run(command: list[str | Path], running: Running) -> None:
    if not Path(command[0]).exists():
        pytest.fail(f"{command[0]} is not there: run `make clients`.")
    done = subprocess.run(
        [*map(str, command), f"{running.url}/v1", ALIAS], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize(
    ("environment", "program"),
    [
        ("openai2", "openai_client.py"),
        ("frameworks", "openai_client.py"),
        ("frameworks", "agents_client.py"),
        ("frameworks", "langchain_client.py"),
    ],
)
def test_a_python_program_runs_unchanged(environment: str, program: str, running: Running) -> None:
    run([INSTALLED / environment / "bin" / "python", HERE / program], running)


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js")
def test_the_vercel_ai_sdk_runs_unchanged(running: Running) -> None:
    node = shutil.which("node")
    assert node
    if not (INSTALLED / "vercel" / "node_modules").exists():
        pytest.fail("The Vercel AI SDK is not there: run `make clients`.")
    run([node, INSTALLED / "vercel" / "client.mjs"], running)
