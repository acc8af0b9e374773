"""What a renderer is: a conversation into tokens, and a token stream back into typed pieces.

One renderer per checkpoint serves training, evaluation and serving. Nothing else formats a prompt or parses an
output.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from forethought.model.conversation import Conversation, Item
from forethought.model.renderer.call_spelling import CallSpelling


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """More hidden thinking. `text` may be empty only in the pieces of an empty thinking that just closed."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ThinkingEnd:
    """The thinking is over (its end marker was read)."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the visible answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """Tool call number `index` (from 0 in this output) begins; its name is known. A `custom` tool's input is text."""

    index: int
    name: str
    custom: bool = False


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of the JSON arguments, or of the input, of tool call `index`."""

    index: int
    arguments: str


@dataclass(frozen=True, slots=True)
class ToolCallEnd:
    """Tool call `index` is complete. `arguments` is the whole text: a JSON object (`{}` where the model gave none), or
    the input of a custom tool."""

    index: int
    arguments: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """Output that looked like a tool call and was none. The text is shown to nobody as an answer.

    Behind a `ToolCallStart` that has no `ToolCallEnd` it ends that call: cut off, or arguments that are not what they
    must be.
    """

    text: str


Piece = ThinkingDelta | ThinkingEnd | TextDelta | ToolCallStart | ToolCallDelta | ToolCallEnd | Malformed


@dataclass(frozen=True, slots=True)
class ImagePlace:
    """Where an image's embeddings go: `tokens` placeholder ids from `position` on."""

    position: int
    tokens: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered conversation, ready for the engine. `thinking_open` says that it ends inside the thinking."""

    token_ids: tuple[int, ...]
    thinking_open: bool = False
    images: tuple[ImagePlace, ...] = ()


@dataclass(frozen=True, slots=True)
class ThinkingMarkers:
    """The ids that open and close thinking. `end_ids` is what a forced end appends; it ends with the closing marker.
    `layout` is the text that the format puts behind it, and that belongs to no content.

    `single` is off where the markers are ordinary text of several tokens. Then no id announces them (`start_id` and
    the last of `end_ids` are common tokens), so an engine that watches ids cannot tell when thinking ends; only the
    parser can.
    """

    start_id: int
    end_ids: tuple[int, ...]
    single: bool = True
    layout: str = ""


class Parser(Protocol):
    """Turns one output's tokens into pieces, as they come. The pieces do not depend on how the ids are split into
    calls of `feed`, up to the joining of adjacent deltas."""

    def feed(self, token_ids: Iterable[int]) -> list[Piece]:
        """The pieces that these tokens complete."""
        ...

    def finish(self) -> list[Piece]:
        """The output is over: what was held back comes out."""
        ...


class Renderer(Protocol):
    """One prompt format. `name`, `version` and `options` are part of the checkpoint's digest."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def options(self) -> Mapping[str, Any]:
        """All else that decides what is rendered and parsed (a template's text, its markers), as JSON values; part of
        the checkpoint's digest too. Empty for a format that its name and version say all about."""
        ...

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """Tokens that end an output."""
        ...

    @property
    def thinking(self) -> ThinkingMarkers | None:
        """None for a format that cannot think."""
        ...

    @property
    def calls(self) -> CallSpelling | None:
        """How an output spells tool calls; None for a format that cannot call tools."""
        ...

    def render(self, conversation: Conversation, *, think: bool) -> Prompt:
        """The prompt for the model's next output; with `think`, it ends just inside the thinking.

        Thinking items before the last user message are left out (reasoning is kept within a turn only); without
        `think` all of them are. Raises `RenderError` for what the format cannot express.
        """
        ...

    def render_output(self, items: tuple[Item, ...]) -> tuple[int, ...]:
        """The tokens of an output made of these items (thinking, answer, tool calls), its stop token included:
        what training learns from, and the inverse of `parser`.

        An output that begins with a `Thinking` continues a prompt that was rendered with `think`: the opening
        marker is in the prompt. Raises `RenderError` for what no output can hold.
        """
        ...

    def parser(
        self,
        *,
        thinking_open: bool,
        custom_tools: frozenset[str] = frozenset(),
        formatted: bool = False,
        stops: tuple[int, ...] = (),
    ) -> Parser:
        """A fresh parser for one output. Calls of `custom_tools` have text for their input; `stops` are tokens that end
        it besides the renderer's own.

        `formatted` says that the output is bound to be calls, or an answer in a format that may spell anything: once
        such an answer has begun, markers that are text themselves are part of it.
        """
        ...
