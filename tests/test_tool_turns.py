"""Turns with tools of a real (random, tiny) model on the real engine, in our own format and in that of a template."""

import asyncio
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_formats import FAMILIES, tool_names
from forethought.engine.native import NativeEngine
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import (
    Conversation,
    FreeInput,
    Message,
    RegexInput,
    ToolCall,
    ToolDefinition,
)
from forethought.model.layout import CHAT_TEMPLATE, CONFIG, MANIFEST, TOKENIZER, TOKENIZER_CONFIG, write_object
from forethought.model.manifest import Manifest, RendererSpec, write_manifest
from forethought.reasoning.answer import Answer
from forethought.reasoning.events import Event, ItemAdded
from forethought.reasoning.format import FreeText, JsonSchema, OutputFormat
from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.tool_choice import AllowedTools, ForcedTool, ToolChoice
from forethought.settings import EngineSettings, Settings
from json_schemas import conforms, object_schemas
from turn_laws import check_laws, done

QUESTION = Message.of("user", "What is two and two?")
REGEX = "[a-c/]{1,4}"
ANSWER = {
    "type": "object",
    "properties": {"sum": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["sum"],
    "additionalProperties": False,
}
SPELLINGS = {
    "<issue_start>": "<think>",
    "<issue_closed>": "</think>",
    "<jupyter_start>": "<tool_call>",
    "<jupyter_output>": "</tool_call>",
}


def spacious(tiny_checkpoint: Path, directory: Path) -> Path:
    """The tiny checkpoint with room for tools in its context."""
    shutil.copytree(tiny_checkpoint, directory)
    config = json.loads((directory / CONFIG).read_text())
    write_object(directory / CONFIG, {**config, "max_position_embeddings": 4096})
    write_manifest(directory, Manifest(renderer=RendererSpec(name="forethought", version=1)))
    return directory


def templated(tiny_checkpoint: Path, directory: Path, *, call_markers: bool) -> Path:
    """The same through Qwen3's chat template. The markers of calls are text, unless they are to be reserved tokens."""
    spacious(tiny_checkpoint, directory)
    (directory / MANIFEST).unlink()
    (directory / CHAT_TEMPLATE).write_text(FAMILIES["qwen3"].source)
    write_object(directory / TOKENIZER_CONFIG, {"eos_token": "<|im_end|>"})
    text = (directory / TOKENIZER).read_text()
    for ours, theirs in SPELLINGS.items():
        if call_markers or "call" not in theirs:
            text = text.replace(ours, theirs)
    (directory / TOKENIZER).write_text(text)
    return directory


@pytest.fixture(scope="module")
def checkpoints(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    root = tmp_path_factory.mktemp("formats")
    directories = {
        "forethought": spacious(tiny_checkpoint, root / "ours"),
        "template": templated(tiny_checkpoint, root / "markers", call_markers=True),
        "template with markers of text": templated(tiny_checkpoint, root / "text", call_markers=False),
    }
    return {name: Checkpoint.open(directory) for name, directory in directories.items()}


class House:
    """One started engine for each checkpoint, all on one event loop."""

    def __init__(self, checkpoints: dict[str, Checkpoint], cache: Path) -> None:
        engine = EngineSettings(runner="torch", dtype="float32", threads=1, cache_tokens=8192)
        self.loop = asyncio.new_event_loop()
        self.reasoners = {
            name: Reasoner(checkpoint, NativeEngine(checkpoint, Settings(cache_dir=cache, engine=engine)))
            for name, checkpoint in checkpoints.items()
        }

    def take(self, name: str, tools: tuple[ToolDefinition, ...], seeds: range, **options: Any) -> list[list[Event]]:
        """The events of several turns at once."""

        async def take() -> list[list[Event]]:
            return await asyncio.gather(*(one(seed) for seed in seeds))

        async def one(seed: int) -> list[Event]:
            conversation = Conversation((QUESTION,), tools)
            async with self.reasoners[name].turn(conversation, seed=seed, **options) as turn:
                return [event async for event in turn]

        return self.loop.run_until_complete(take())


@pytest.fixture(scope="module")
def house(checkpoints: dict[str, Checkpoint], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    own = House(checkpoints, tmp_path_factory.mktemp("cache"))
    for reasoner in own.reasoners.values():
        own.loop.run_until_complete(reasoner.engine.start())
    yield own
    for reasoner in own.reasoners.values():
        own.loop.run_until_complete(reasoner.engine.close())
    own.loop.close()


strict_tools = st.builds(
    lambda name, schema: ToolDefinition(name, "", schema, strict=True),
    tool_names,
    object_schemas,
)
regex_tools = st.builds(lambda name: ToolDefinition(name, custom=RegexInput(REGEX)), tool_names)


@dataclass(frozen=True)
class Wish:
    """What is asked of a turn."""

    checkpoint: str
    tools: tuple[ToolDefinition, ...]
    choice: ToolChoice
    parallel: bool
    output_format: OutputFormat
    think: bool


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    name = draw(st.sampled_from(["forethought", "template", "template with markers of text"]))
    kinds = strict_tools | regex_tools if name == "forethought" else strict_tools
    tools = tuple(draw(st.lists(kinds, min_size=1, max_size=3, unique_by=lambda tool: tool.name)))
    one = draw(st.sampled_from(tools)).name
    some = [AllowedTools("auto", (one,)), AllowedTools("required", (one,))]
    choice: ToolChoice = draw(st.sampled_from(["auto", "none", "required", ForcedTool(one), *some]))
    output_format: OutputFormat = draw(st.sampled_from([FreeText(), JsonSchema(ANSWER)]))
    return Wish(name, tools, choice, draw(st.booleans()), output_format, draw(st.booleans()))


@given(wishes(), st.integers(0, 2**32))
@settings(max_examples=25)
def test_every_turn_is_what_was_asked_for_or_was_cut_off(house: House, wish: Wish, seed: int) -> None:
    options = {
        "tool_choice": wish.choice,
        "parallel_tool_calls": wish.parallel,
        "output_format": wish.output_format,
        "think": wish.think,
        "max_output_tokens": 200,
    }
    for events in house.take(wish.checkpoint, wish.tools, range(seed, seed + 4), **options):
        check_laws(events)
        assert done(events).status in ("completed", "incomplete")
        answer = Answer.of(events)
        check_calls(wish, answer)
        if done(events).status == "completed":
            check_whole(wish, answer)


def check_calls(wish: Wish, answer: Answer) -> None:
    offered = {tool.name: tool for tool in wish.tools}
    names = set(offered)
    match wish.choice:
        case "none":
            names = set()
        case ForcedTool(name):
            names = {name}
        case AllowedTools(_, allowed):
            names = set(allowed)
        case _:
            pass
    for call in answer.tool_calls:
        assert call.name in names
        tool = offered[call.name]
        if isinstance(tool.custom, RegexInput):
            assert call.custom
            assert re.fullmatch(REGEX, call.arguments)
        else:
            assert conforms(json.loads(call.arguments), dict(tool.parameters or {}))
    assert len(answer.tool_calls) <= 1 or (wish.parallel and not isinstance(wish.choice, ForcedTool))


def check_whole(wish: Wish, answer: Answer) -> None:
    called = bool(answer.tool_calls)
    required = wish.choice == "required" or isinstance(wish.choice, ForcedTool)
    if required or wish.choice == AllowedTools("required", getattr(wish.choice, "names", ())):
        assert called
        assert not answer.text
    if isinstance(wish.output_format, JsonSchema):
        assert called != bool(answer.text)
        assert called or conforms(json.loads(answer.text), ANSWER)


@pytest.mark.parametrize("name", ["forethought", "template", "template with markers of text"])
@pytest.mark.parametrize("think", [False, True])
def test_a_forced_tool_with_a_strict_schema_is_called_every_time(house: House, name: str, think: bool) -> None:
    add = ToolDefinition("add", parameters=ANSWER, strict=True)
    options = {"tool_choice": ForcedTool("add"), "think": think, "max_output_tokens": 400}
    for events in house.take(name, (add, ToolDefinition("other")), range(8), **options):
        answer = Answer.of(events)
        assert answer.done.status == "completed"
        (call,) = answer.tool_calls
        assert (call.name, answer.text) == ("add", "")
        assert 0 <= json.loads(call.arguments)["sum"] <= 99


@pytest.mark.parametrize("name", ["forethought", "template"])
def test_a_custom_tool_gets_text(house: House, name: str) -> None:
    say = ToolDefinition("say", custom=FreeInput())
    calls: list[ToolCall] = []
    options = {"tool_choice": "required", "parallel_tool_calls": False, "think": False, "max_output_tokens": 900}
    for events in house.take(name, (say,), range(12), **options):
        check_laws(events)
        assert all(event.custom for event in events if isinstance(event, ItemAdded))
        calls += Answer.of(events).tool_calls
    assert calls
    assert not any(call.arguments.startswith('{"input"') for call in calls)
