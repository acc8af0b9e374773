"""Our own prompt format, version 1: the base's ChatML, with single reserved tokens for thinking and tool calls.

A conversation without tools and effort comes out exactly as the base's own chat template writes it, so the untrained
base is as good as it can be. What is ours:

    <|im_start|>system
    {instructions}

    # Tools
    {"name":"weather","description":"…","parameters":{…}}
    {"name":"python","description":"…","input":{"type":"text"}}

    Reasoning effort: low. Thinking budget: 256 tokens.<|im_end|>
    <|im_start|>user
    …<|im_end|>
    <|im_start|>assistant
    [think]…[/think]…[call]weather
    {"city":"Rome"}[/call][call]weather
    {"city":"Oslo"}[/call][call]python
    print(1)[/call]<|im_end|>
    <|im_start|>tool
    1 weather
    21 °C<|im_end|>
    <|im_start|>tool
    2 weather
    9 °C<|im_end|>
    <|im_start|>tool
    3 python
    1<|im_end|>

The last of these calls is one of a custom tool: its input is text, as it stands. Where it must follow a regex or a lark
grammar, the definition shows that too (`"input":{"type":"text","regex":"…"}`).

A tool result says which call it answers by its number within the turn (from 1, since the user spoke last): ids would
cost a small model more tokens than they tell it. Developer messages are `system` messages, which is the role that the
base knows; the first one leads and carries tools and effort, later ones stay in their place. The spelling of the
markers is configuration, because the reserved tokens of other vocabularies have other names.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from forethought.errors import CheckpointError, misfits
from forethought.model.conversation import (
    Conversation,
    CustomInput,
    FreeInput,
    Item,
    LarkInput,
    Message,
    RegexInput,
    Thinking,
    ToolCall,
    ToolDefinition,
)
from forethought.model.renderer.call import NamedCall
from forethought.model.renderer.call_spelling import CallSpelling
from forethought.model.renderer.lexer import Lexer
from forethought.model.renderer.parser import Layout, OutputParser
from forethought.model.renderer.protocol import Prompt, ThinkingMarkers
from forethought.model.renderer.tool import check_tool_name
from forethought.model.renderer.turns import AssistantItem, AssistantTurn, ToolTurn, output_items, turns
from forethought.model.renderer.writer import TokenWriter
from forethought.model.tokenizer import Tokenizer


class Markers(BaseModel):
    """The reserved token for each marker, by its spelling. The defaults are SmolLM2's; those of thinking, calls and
    images were never trained there (ids 8, 10, 11, 14 and 16)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    turn_open: str = "<|im_start|>"
    turn_close: str = "<|im_end|>"
    end_of_text: str = "<|endoftext|>"
    think_open: str = "<issue_start>"
    think_close: str = "<issue_closed>"
    call_open: str = "<jupyter_start>"
    call_close: str = "<jupyter_output>"
    image: str = "<empty_output>"


class ForethoughtOptions(BaseModel):
    """What `forethought.json` may say of this renderer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    markers: Markers = Markers()
    default_instructions: str = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


class ForethoughtRenderer:
    """Renders and parses the format above. Raises `CheckpointError` when the tokenizer lacks a marker."""

    name = "forethought"
    version = 1

    def __init__(self, tokenizer: Tokenizer, options: ForethoughtOptions | None = None) -> None:
        self._tokenizer = tokenizer
        self._options = options or ForethoughtOptions()
        spellings = self._options.markers
        ids = {name: tokenizer.special_id(spelling) for name, spelling in spellings.model_dump().items()}
        if len(set(ids.values())) < len(ids):
            raise CheckpointError("Two markers of the renderer are the same token.", "Give each its own token.")
        self._turn_open, self._turn_close = ids["turn_open"], ids["turn_close"]
        self._think_open, self._think_close = ids["think_open"], ids["think_close"]
        self._call_open, self._call_close = ids["call_open"], ids["call_close"]
        self._image = ids["image"]
        self.stop_token_ids: tuple[int, ...] = (self._turn_close, ids["end_of_text"])
        self.thinking: ThinkingMarkers | None = ThinkingMarkers(self._think_open, (self._think_close,))
        self.calls = CallSpelling(self._call_open, self._call_close, before_input="\n")

    @classmethod
    def load(cls, directory: Path, tokenizer: Tokenizer, declared: Mapping[str, Any]) -> Self:
        """Builds the renderer with the options in `directory`'s `forethought.json`. Raises `CheckpointError`."""
        try:
            return cls(tokenizer, ForethoughtOptions.model_validate(declared))
        except ValidationError as error:
            raise CheckpointError(
                f'The options under "renderer" in {directory} do not fit: {misfits(error)}.', "Mend forethought.json."
            ) from None

    @property
    def options(self) -> dict[str, Any]:
        """The markers and the default instructions."""
        return self._options.model_dump()

    def render(self, conversation: Conversation, *, think: bool) -> Prompt:
        """The prompt for the model's next output. Raises `RenderError`: see `turns`."""
        writer = TokenWriter(self._tokenizer)
        first, *others = turns(conversation.items, think=think)
        if not (isinstance(first, Message) and first.role in ("system", "developer")):
            others.insert(0, first)
            first = Message.of("system", self._options.default_instructions)
        self._write_message(writer, first, _offer(conversation))
        for turn in others:
            match turn:
                case Message():
                    self._write_message(writer, turn)
                case ToolTurn(result, call, number):
                    self._open_turn(writer, "tool")
                    writer.text(f"{number} {call.name}\n")
                    writer.parts(result.parts, self._image)
                    self._close_turn(writer)
                case AssistantTurn(items):
                    self._open_turn(writer, "assistant")
                    self._write_items(writer, items, inside_thinking=False)
                    self._close_turn(writer)
        self._open_turn(writer, "assistant")
        if think:
            writer.marker(self._think_open)
        return Prompt(writer.ids(), think, writer.images())

    def render_output(self, items: tuple[Item, ...]) -> tuple[int, ...]:
        """The tokens of an output. Raises `RenderError` for items that are no output, and for calls that would not
        parse."""
        writer = TokenWriter(self._tokenizer)
        self._write_items(writer, output_items(items), inside_thinking=bool(items) and isinstance(items[0], Thinking))
        writer.marker(self._turn_close)
        return writer.ids()

    def parser(
        self,
        *,
        thinking_open: bool,
        custom_tools: frozenset[str] = frozenset(),
        formatted: bool = False,
        stops: tuple[int, ...] = (),
    ) -> OutputParser:
        """A fresh parser for one output."""
        spellings = self._options.markers
        lexer = Lexer(
            self._tokenizer,
            {
                spellings.think_open: "think_open",
                spellings.think_close: "think_close",
                spellings.call_open: "call_open",
                spellings.call_close: "call_close",
            },
            (*self.stop_token_ids, *stops),
        )
        new_call = partial(NamedCall, custom_tools=custom_tools)
        return OutputParser(lexer, Layout(), new_call, thinking_open=thinking_open, formatted=formatted)

    def _write_message(self, writer: TokenWriter, message: Message, addition: str = "") -> None:
        self._open_turn(writer, "system" if message.role == "developer" else message.role)
        writer.parts(message.parts, self._image)
        writer.text(addition)
        self._close_turn(writer)

    def _write_items(self, writer: TokenWriter, items: tuple[AssistantItem, ...], *, inside_thinking: bool) -> None:
        for item in items:
            match item:
                case Thinking(text):
                    if not inside_thinking:
                        writer.marker(self._think_open)
                    inside_thinking = False
                    writer.text(text)
                    writer.marker(self._think_close)
                case ToolCall(_, name, arguments):
                    writer.marker(self._call_open)
                    writer.text(self.calls.inside(name, arguments))
                    writer.marker(self._call_close)
                case Message(_, parts):
                    writer.parts(parts, self._image)

    def _open_turn(self, writer: TokenWriter, role: str) -> None:
        writer.marker(self._turn_open)
        writer.text(f"{role}\n")

    def _close_turn(self, writer: TokenWriter) -> None:
        writer.marker(self._turn_close)
        writer.text("\n")


def _offer(conversation: Conversation) -> str:
    """What the leading message says of tools and effort. Tools come first: they change less from turn to turn."""
    blocks: list[str] = []
    if conversation.tools:
        blocks.append("# Tools\n" + "\n".join(map(_definition, conversation.tools)))
    told: list[str] = []
    if conversation.effort is not None:
        told.append(f"Reasoning effort: {conversation.effort}.")
    if conversation.budget is not None:
        told.append(f"Thinking budget: {conversation.budget} tokens.")
    if told:
        blocks.append(" ".join(told))
    return "".join(f"\n\n{block}" for block in blocks)


def _definition(tool: ToolDefinition) -> str:
    definition: dict[str, Any] = {"name": check_tool_name(tool.name)}
    if tool.description:
        definition["description"] = tool.description
    if tool.parameters is not None:
        definition["parameters"] = dict(tool.parameters)
    if tool.custom is not None:
        definition["input"] = _input(tool.custom)
    return json.dumps(definition, ensure_ascii=False, separators=(",", ":"))


def _input(custom: CustomInput) -> dict[str, str]:
    match custom:
        case FreeInput():
            return {"type": "text"}
        case RegexInput(pattern):
            return {"type": "text", "regex": pattern}
        case LarkInput(grammar):
            return {"type": "text", "lark": grammar}
