"""What the clients ask for: the two APIs, the loads, the tokens that the scripted engines answer with."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

MODEL = "forethought-mini"
"""What the model is called by every server."""

STAMPS = 8192
"""Words that stand for moments: enough for four seconds."""


@dataclass(frozen=True)
class Api:
    """One of OpenAI's APIs, which every server here speaks."""

    name: str
    title: str
    path: str

    def body(self, prompt: str, tokens: int, **more: Any) -> str:
        """A request for a stream of so many tokens."""
        if self.name == "responses":
            asked: dict[str, Any] = {"input": prompt, "max_output_tokens": tokens}
        else:
            asked = {"messages": [{"role": "user", "content": prompt}], "max_completion_tokens": tokens}
        return json.dumps({"model": MODEL, "stream": True, **asked, **more})


@dataclass(frozen=True)
class Load:
    """So many streams at once, each with a token every `step` seconds; 0 is as fast as they go."""

    streams: int
    tokens: int
    step: float

    @property
    def name(self) -> str:
        """For the keys of results: `2000/s`, or `flat out`."""
        return f"{self.streams / self.step:.0f}/s" if self.step else "flat out"


CHAT = Api("chat", "Chat Completions", "/v1/chat/completions")
RESPONSES = Api("responses", "Responses", "/v1/responses")
APIS = (RESPONSES, CHAT)
WARMING = Load(32, 16, 0.05)


def loads(streams: int, tokens: int, steps: tuple[float, ...]) -> tuple[Load, ...]:
    """From the slowest on; as fast as they go is the last one."""
    return tuple(Load(streams, tokens, step) for step in (*sorted(filter(None, steps), reverse=True), 0.0))


def words(model_dir: Path) -> list[tuple[int, str]]:
    """Tokens of a space and a word of lower-case letters, with their words: the most common ones that there are."""
    vocabulary = Tokenizer.from_file(str(model_dir / "tokenizer.json")).get_vocab().items()
    found = [(token_id, token[1:]) for token, token_id in vocabulary if token.startswith("Ġ") and len(token) > 2]
    return sorted(pair for pair in found if pair[1].isascii() and pair[1].isalpha() and pair[1].islower())[:STAMPS]
