"""A conversation as the model sees it: items, tools and an effort. What a renderer turns into tokens.

These are the only message types of the product below the API's wire models: training, evaluation and serving build
the same ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from forethought.errors import RequestError
from forethought.logs import Hidden

Role = Literal["developer", "system", "user", "assistant"]
Effort = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text. Never becomes a special token, whatever it spells."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A place for an image of `tokens` embeddings; `content_hash` names the content, the tensor travels apart."""

    content_hash: str
    tokens: int


Part = Text | Image


@dataclass(frozen=True, slots=True)
class Message:
    """Something said by a role. An assistant's message is an answer."""

    role: Role
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, role: Role, text: str) -> "Message":
        """A message of one text."""
        return cls(role, (Text(text),))

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class Thinking:
    """Hidden chain of thought. Shown to nobody but the model itself, within one turn; it prints as its length."""

    text: str

    def __repr__(self) -> str:
        return f"Thinking({Hidden(self.text)})"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model calls a tool. `arguments` is the JSON text as the model wrote it; for a `custom` tool it is the input,
    which is any text."""

    call_id: str
    name: str
    arguments: str
    custom: bool = False


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gave back."""

    call_id: str
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


Item = Message | Thinking | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class FreeInput:
    """A custom tool takes any text."""


@dataclass(frozen=True, slots=True)
class RegexInput:
    """A custom tool takes a text that the whole pattern matches (Rust syntax)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class LarkInput:
    """A custom tool takes a text of the language of a lark grammar (llguidance's dialect), from its rule `start`."""

    grammar: str


CustomInput = FreeInput | RegexInput | LarkInput


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool the model may call.

    A function takes a JSON object: `parameters` is a JSON schema of it, and `strict` binds every call to that schema. A
    `custom` tool takes plain text instead. Raises `RequestError` for a custom tool with parameters.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool = False
    custom: CustomInput | None = None

    def __post_init__(self) -> None:
        if self.custom is not None and (self.strict or self.parameters is not None):
            raise RequestError(f"The custom tool {self.name} takes text, and has parameters.", "Leave them out.")


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that decides the next prompt. `effort` and `budget` (thinking tokens) are None for a model, or a turn,
    that does not think."""

    items: tuple[Item, ...]
    tools: tuple[ToolDefinition, ...] = ()
    effort: Effort | None = None
    budget: int | None = None
