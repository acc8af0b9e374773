"""A checkpoint's own chat template, run so that content cannot pass for format.

A template joins content and markers into one string, in which `<|im_end|>` typed by a user looks like the real one.
So content is *guarded* before it goes in: a rare character, which neither content nor template holds, is put behind
each character that a marker begins with and before each that one ends with. Then no marker can be made of content, not
even where the template trims, splits or joins it, and white space stays where the template can trim it. The markers
that are whole in the result are the template's own: they become reserved ids. The guards are taken out, and the rest
is text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from jinja2 import TemplateError

from forethought.errors import CheckpointError, RenderError
from forethought.model.renderer.environment import chat_environment

# Rare ideographs (CJK extension B): printable, so that Python's `repr`, which some templates show tools with, leaves
# them alone; neither white space nor upper or lower case, so that no filter changes them.
_GUARDS = range(0x20000, 0x2A6E0)


class Notes:
    """In a guard's place, takes down all content, so that a character can be chosen that none of it holds."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def text(self, text: str) -> str:
        """The text as it is."""
        self.texts.append(text)
        return text

    def value(self, value: Any) -> Any:
        """The JSON value as it is."""
        return _map_texts(value, self.text)


@dataclass(frozen=True)
class Guard:
    """Guards content with one rare character against markers that begin and end with certain characters."""

    character: str
    borders: re.Pattern[str]

    def text(self, text: str) -> str:
        """Guarded text."""
        return self.borders.sub(self.character, text)

    def value(self, value: Any) -> Any:
        """A JSON value with all its strings guarded, keys too."""
        return _map_texts(value, self.text)

    def remove(self, text: str) -> str:
        """The text without its guards."""
        return text.replace(self.character, "").replace(self.escaped, "")

    @cached_property
    def escaped(self) -> str:
        """The guard as an ASCII-only `tojson` writes it."""
        return _escaped(self.character)


class ChatTemplate:
    """A compiled template. `markers` are the spellings that content must not be taken for.

    Raises:
        CheckpointError: the template does not compile.
    """

    def __init__(self, source: str, markers: frozenset[str]) -> None:
        self.source = source
        try:
            self._template = chat_environment().from_string(source)
        except TemplateError as error:
            raise CheckpointError(
                f"The chat template does not compile: {error}.", "Mend chat_template.jinja, or fetch it again."
            ) from None
        heads = re.escape("".join(sorted({marker[0] for marker in markers})))
        tails = re.escape("".join(sorted({marker[-1] for marker in markers})))
        self._borders = re.compile(f"(?<=[{heads}])|(?=[{tails}])" if markers else "(?!)")

    def guard(self, content: Notes) -> Guard:
        """A guard for a conversation that holds this content. Raises `RenderError` when none is left."""
        taken = "\0".join([*content.texts, self.source])
        for character in map(chr, _GUARDS):
            if character not in taken and _escaped(character) not in taken:
                return Guard(character, self._borders)
        raise RenderError("The conversation uses every rare ideograph there is.", "Shorten it.")

    def render(self, variables: Mapping[str, Any], guard: Guard) -> str:
        """Runs the template on guarded variables.

        Raises:
            RenderError: the template refuses the conversation.
        """
        try:
            return self._template.render(variables)
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            # What expressions can raise: a template is somebody else's program.
            raise RenderError(
                f"The checkpoint's chat template refuses this conversation: {guard.remove(str(error))}.",
                "Send only what the template knows, in the order it asks for.",
            ) from None


def _map_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_map_texts(k, change): _map_texts(v, change) for k, v in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, (list, tuple)):
        return [_map_texts(item, change) for item in cast(list[Any], value)]
    return value


def _escaped(character: str) -> str:
    high, low = divmod(ord(character) - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
