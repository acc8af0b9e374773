"""Any checkpoint's own chat template as a renderer, token for token what transformers' `apply_chat_template` gives.

Two things are added. Content never becomes a marker (see `chat_template`). And a prompt that is to be continued by
thinking ends inside the thinking: where the template leaves that to the model, the opening marker is written here.
"""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from forethought.errors import CheckpointError, RenderError
from forethought.model.conversation import Conversation, Item, Message, Thinking, ToolCall
from forethought.model.renderer.call_spelling import CallSpelling
from forethought.model.renderer.chat_template import ChatTemplate, Notes
from forethought.model.renderer.custom_input import input_arguments
from forethought.model.renderer.hermes import HermesCall
from forethought.model.renderer.lexer import Lexer
from forethought.model.renderer.messages import TextGuard, template_messages, template_tools
from forethought.model.renderer.parser import OutputParser
from forethought.model.renderer.protocol import Prompt, ThinkingMarkers
from forethought.model.renderer.template_files import TemplateFiles, read_template_files
from forethought.model.renderer.template_format import CALL_CLOSE, CALL_OPEN, call_spelling, template_format
from forethought.model.renderer.turns import output_items, turns
from forethought.model.renderer.writer import TokenWriter
from forethought.model.tokenizer import Tokenizer


class TemplateRenderer:
    """Renders with a template of the checkpoint's, and parses outputs in the declared (or detected) format.

    `declared` are the options in `forethought.json`: `thinking`, a pair of markers `{"open": …, "close": …}` or null,
    and `tool_calls`, "hermes" or null.

    Raises:
        CheckpointError: a template that does not compile, an option that does not exist, no token that ends an answer,
            a marker of one character.
    """

    name = "template"
    version = 1

    def __init__(self, tokenizer: Tokenizer, files: TemplateFiles, declared: Mapping[str, Any] | None = None) -> None:
        self._tokenizer = tokenizer
        self._reserved = tokenizer.special_tokens
        _check_markers(self._reserved)
        self._format = template_format("\n".join(filter(None, (files.default, files.tool_use))), declared or {})
        markers = frozenset(self._reserved) | frozenset(self._format.markers)
        self._template = ChatTemplate(files.default, markers)
        self._tool_template = self._template if files.tool_use is None else ChatTemplate(files.tool_use, markers)
        self._tokens = files.tokens
        longest_first = sorted(self._reserved, key=len, reverse=True)
        self._marker_pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self.stop_token_ids: tuple[int, ...] = self._find_stops()
        self.thinking: ThinkingMarkers | None = self._thinking_markers()
        self.calls: CallSpelling | None = call_spelling(self._format, self._reserved)

    @classmethod
    def load(cls, directory: Path, tokenizer: Tokenizer, declared: Mapping[str, Any] | None = None) -> Self:
        """Reads the template in a checkpoint's directory. Raises `CheckpointError` when there is none."""
        return cls(tokenizer, read_template_files(directory), declared)

    @property
    def options(self) -> dict[str, Any]:
        """The templates, the tokens they name, and the format of outputs."""
        templates = {"default": self._template.source, "tool_use": self._tool_template.source}
        return {**self._format.model_dump(), "templates": templates, "tokens": dict(self._tokens)}

    def render(self, conversation: Conversation, *, think: bool) -> Prompt:
        """The prompt for the model's next output.

        Raises:
            RenderError: see `turns` and `template_tools`; images; tools or thinking in a format that is not known;
                whatever the template refuses.
        """
        if think and self._format.thinking is None:
            raise RenderError(
                "This checkpoint has no markers for thinking.",
                'Ask without thinking, or declare them as "thinking" under "renderer" in forethought.json.',
            )
        if conversation.tools and self.calls is None:
            raise RenderError(
                "This checkpoint calls tools in a format that is not known, or not at all.",
                'Ask without tools, or declare "tool_calls": "hermes" under "renderer" in forethought.json.',
            )
        writer = TokenWriter(self._tokenizer)
        self._write_prompt(writer, conversation, think)
        return Prompt(writer.ids(), think)

    def render_output(self, items: tuple[Item, ...]) -> tuple[int, ...]:
        """The tokens of an output.

        Raises:
            RenderError: items that are no output, or that the format cannot spell.
        """
        writer = TokenWriter(self._tokenizer)
        before: Item | None = None
        for item in output_items(items):
            match item:
                case Thinking(text):
                    self._write_thinking(writer, text, opened=before is None)
                case Message():
                    self._refuse_markers(item.text, ("think_open", "call_open"))
                    writer.text(item.text)
                case ToolCall():
                    self._write_call(writer, item, first=before is None or isinstance(before, Thinking))
            before = item
        writer.marker(self.stop_token_ids[0])
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
        lexer = Lexer(self._tokenizer, self._format.markers, (*self.stop_token_ids, *stops))
        new_call = partial(HermesCall, custom_tools=custom_tools)
        return OutputParser(lexer, self._format.layout, new_call, thinking_open=thinking_open, formatted=formatted)

    def _write_prompt(self, writer: TokenWriter, conversation: Conversation, think: bool) -> None:
        template = self._tool_template if conversation.tools else self._template
        content = Notes()
        self._variables(conversation, think, content)
        guard = template.guard(content)
        prompt = template.render(self._variables(conversation, think, guard), guard)
        thinking = self._format.thinking
        if thinking is not None:
            opened = prompt.rstrip("\n").endswith(thinking.open_marker)
            if think and not opened:
                prompt += thinking.open
            elif opened and not think:
                prompt += thinking.close
        at = 0
        for marker in self._marker_pattern.finditer(prompt):
            writer.text(guard.remove(prompt[at : marker.start()]))
            writer.marker(self._reserved[marker.group()])
            at = marker.end()
        writer.text(guard.remove(prompt[at:]))

    def _variables(self, conversation: Conversation, think: bool, guard: TextGuard) -> dict[str, Any]:
        """What the template sees: transformers' variables, and the switches that templates have for thinking."""
        variables: dict[str, Any] = {
            **self._tokens,
            "messages": template_messages(turns(conversation.items, think=think), guard),
            "tools": template_tools(conversation.tools, guard),
            "documents": None,
            "add_generation_prompt": True,
            "enable_thinking": think,
            "thinking": think,
        }
        if conversation.effort is not None:
            variables["reasoning_effort"] = conversation.effort
        if conversation.budget is not None:
            variables["thinking_budget"] = conversation.budget
        return variables

    def _write_thinking(self, writer: TokenWriter, text: str, *, opened: bool) -> None:
        thinking = self._format.thinking
        if thinking is None:
            raise RenderError("This checkpoint has no markers for thinking.", "Leave the thinking out.")
        self._refuse_markers(text, ("think_close",))
        if not opened:
            self._write_marked(writer, thinking.open, thinking.open_marker)
        writer.text(text)
        self._write_marked(writer, thinking.close, thinking.close_marker)

    def _write_call(self, writer: TokenWriter, call: ToolCall, *, first: bool) -> None:
        if self.calls is None:
            raise RenderError("This checkpoint's format for tool calls is not known.", "Leave the call out.")
        arguments = input_arguments(call.arguments) if call.custom else call.arguments
        before = "" if first else self.calls.between
        self._write_marked(writer, f"{before}{CALL_OPEN}", CALL_OPEN)
        writer.text(self.calls.inside(call.name, arguments))
        self._write_marked(writer, CALL_CLOSE, CALL_CLOSE)

    def _write_marked(self, writer: TokenWriter, text: str, marker: str) -> None:
        """Writes `marker` with the layout around it."""
        before, _, behind = text.partition(marker)
        writer.text(before)
        if marker in self._reserved:
            writer.marker(self._reserved[marker])
        else:
            writer.text(marker)
        writer.text(behind)

    def _refuse_markers(self, text: str, kinds: tuple[str, ...]) -> None:
        """Raises `RenderError` where a text would be read as a marker: one that is text itself."""
        for marker, kind in self._format.markers.items():
            if kind in kinds and marker not in self._reserved and marker in text:
                raise RenderError(f"An output in this format cannot hold the text {marker!r}.", "Leave the sample out.")

    def _find_stops(self) -> tuple[int, ...]:
        """The marker that the template writes behind an answer, and the tokenizer's own end."""
        answer = "The answer."
        messages = [{"role": "user", "content": "A question."}, {"role": "assistant", "content": answer}]
        variables = {**self._tokens, "messages": messages, "tools": None, "documents": None}
        stops: list[int] = []
        try:
            text = self._template.render({**variables, "add_generation_prompt": False}, self._template.guard(Notes()))
        except RenderError:
            text = ""
        if answer in text and (marker := self._marker_pattern.search(text, text.rindex(answer))):
            stops.append(self._reserved[marker.group()])
        if (end := self._tokens.get("eos_token")) in self._reserved:
            stops.append(self._reserved[end])
        if not stops:
            raise CheckpointError(
                "No token of this checkpoint ends an answer.", "Give tokenizer_config.json an eos_token."
            )
        return tuple(dict.fromkeys(stops))

    def _thinking_markers(self) -> ThinkingMarkers | None:
        thinking = self._format.thinking
        if thinking is None:
            return None
        writer = TokenWriter(self._tokenizer)
        self._write_marked(writer, thinking.open_marker, thinking.open_marker)
        start_id = writer.ids()[-1]
        writer = TokenWriter(self._tokenizer)
        self._write_marked(writer, thinking.close.rstrip("\n"), thinking.close_marker)
        single = {thinking.open_marker, thinking.close_marker} <= self._reserved.keys()
        return ThinkingMarkers(start_id, writer.ids(), single, thinking.layout)


def _check_markers(reserved: Iterable[str]) -> None:
    """A guard stands between the characters of a marker; in one of a single character there is no such place."""
    for spelling in reserved:
        if len(spelling) == 1:
            raise CheckpointError(
                f"The checkpoint's special token {spelling!r} is one character; content cannot be told from it.",
                'Mark it "special": false in tokenizer.json if it is vocabulary, or name another renderer.',
            )
