"""Small checkpoints' formats for the renderer tests: chat templates of real families on a small vocabulary."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from forethought.model.conversation import Item, Message, Thinking, ToolCall
from forethought.model.renderer.forethought import ForethoughtRenderer, Markers
from forethought.model.renderer.protocol import (
    Malformed,
    Piece,
    Renderer,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from forethought.model.renderer.template import TemplateRenderer
from forethought.model.renderer.template_files import TemplateFiles
from forethought.model.tokenizer import Tokenizer

TEMPLATES = Path(__file__).parent / "data" / "chat_templates"

_CORPUS = (
    "the model thinks before it answers the user and calls a tool with arguments system assistant\n\n"
    '<think>\n</think>\n\n<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call> é 😀\n'
)


@dataclass(frozen=True)
class Family:
    """A family's template, its special tokens, and the added tokens that its tokenizer does not call special."""

    template: str
    special: tuple[str, ...]
    added: tuple[str, ...] = ()
    bos: str | None = None
    eos: str = "<|im_end|>"

    @property
    def source(self) -> str:
        return (TEMPLATES / f"{self.template}.jinja").read_text()


_CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_HERMES = ("<tool_call>", "</tool_call>")
_QWEN3 = (*_HERMES, "<think>", "</think>", "<tool_response>", "</tool_response>")
_HEADERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_INST = ("<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")

FAMILIES = {
    "smollm2": Family("smollm2", _CHATML),
    "qwen2.5": Family("qwen2.5", _CHATML, _HERMES),
    "qwen3": Family("qwen3", _CHATML, _QWEN3),
    "qwen3 in plain text": Family("qwen3", _CHATML),
    "llama3": Family("llama3", _HEADERS, bos="<|begin_of_text|>", eos="<|eot_id|>"),
    "mistral": Family("mistral", _INST, bos="<s>", eos="</s>"),
    "deepseek-r1": Family("deepseek-r1", ("<s>", "</s>", "<|User|>", "<|Assistant|>"), _QWEN3[2:4], "<s>", "</s>"),
}


@cache
def backend(family: str) -> Backend:
    """Byte-level BPE with a few merges and the family's added tokens."""
    tokens = Backend(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokens.train_from_iterator([_CORPUS] * 8, trainer)
    named = FAMILIES[family]
    tokens.add_special_tokens([AddedToken(token, normalized=False) for token in named.special])
    tokens.add_tokens([AddedToken(token, normalized=False) for token in named.added])
    return tokens


@cache
def template_renderer(family: str) -> TemplateRenderer:
    named = FAMILIES[family]
    names = {"eos_token": named.eos} | ({"bos_token": named.bos} if named.bos else {})
    return TemplateRenderer(Tokenizer(backend(family).to_str()), TemplateFiles(named.source, None, names))


@cache
def forethought_tokenizer() -> Tokenizer:
    tokens = backend("smollm2")
    own = Backend.from_str(tokens.to_str())
    own.add_special_tokens(sorted(Markers().model_dump().values()))
    return Tokenizer(own.to_str())


@cache
def renderer(name: str) -> Renderer:
    """The `forethought` renderer, or the template renderer of a family."""
    return ForethoughtRenderer(forethought_tokenizer()) if name == "forethought" else template_renderer(name)


def tokenizer_of(name: str) -> Tokenizer:
    return forethought_tokenizer() if name == "forethought" else Tokenizer(backend(name).to_str())


def ids(name: str, text: str) -> list[int]:
    """A text in which the reserved tokens are meant, as a model would have written it."""
    source = Backend.from_str(tokenizer_of(name).json)
    return source.encode(text, add_special_tokens=False).ids


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """Pieces with adjacent deltas joined: what does not depend on how an output is split."""
    result: list[Piece] = []
    for piece in pieces:
        last = result[-1] if result else None
        match last, piece:
            case (TextDelta(a), TextDelta(b)):
                result[-1] = TextDelta(a + b)
            case (ThinkingDelta(a), ThinkingDelta(b)):
                result[-1] = ThinkingDelta(a + b)
            case (ToolCallDelta(i, a), ToolCallDelta(j, b)) if i == j:
                result[-1] = ToolCallDelta(i, a + b)
            case _:
                result.append(piece)
    return result


def items_of(pieces: Iterable[Piece]) -> tuple[Item, ...]:
    """The items that complete pieces stand for; calls are numbered c0, c1, …"""
    items: list[Item] = []
    names: dict[int, tuple[str, bool]] = {}
    for piece in merged(pieces):
        match piece:
            case ThinkingDelta(text):
                items.append(Thinking(text))
            case TextDelta(text):
                items.append(Message.of("assistant", text))
            case ToolCallStart(index, name, custom):
                names[index] = name, custom
            case ToolCallEnd(index, arguments):
                name, custom = names[index]
                items.append(ToolCall(f"c{index}", name, arguments, custom))
            case Malformed(text):
                raise AssertionError(f"malformed: {text}")
            case ThinkingEnd() | ToolCallDelta():
                pass
    return tuple(items)


SPELLINGS = sorted({token for family in FAMILIES.values() for token in (*family.special, *family.added)} | set(_QWEN3))

_fragments = st.one_of(
    st.text(max_size=8),
    st.sampled_from(SPELLINGS),
    st.sampled_from(sorted(Markers().model_dump().values())),
    st.sampled_from(["<", ">", "<|", "|>", "\n", "\n\n", " ", "[", "]", "</", "é", "😀", "\U00020000"]),
)

texts = st.lists(_fragments, max_size=5).map("".join)
"""Any text, rich in what might be taken for a marker."""


def json_values(strings: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | st.integers(-99, 99) | strings,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strings, inner, max_size=3),
        max_leaves=5,
    )


def json_objects(strings: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(strings, json_values(strings), max_size=3)


tool_names = st.from_regex(r"[a-z_.:/-]{1,12}", fullmatch=True)
