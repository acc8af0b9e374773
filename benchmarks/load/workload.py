"""What the clients ask for: the two APIs, the loads, the tokens that the scripted engines answer with."""

import json
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

MODEL = "forethought-mini"
"""What the model is called by every server."""

STAMPS = 8192
"""Words that stand for moments: enough for four seconds."""

Word = tuple[int, str]
"""A token, and its text without the space before it."""


class Api(Enum):
    """One of OpenAI's APIs, which every server here speaks."""

    RESPONSES = "Responses"
    CHAT = "Chat Completions"

    @property
    def path(self) -> str:
        """Where it is served."""
        return "/v1/responses" if self is Api.RESPONSES else "/v1/chat/completions"

    def body(self, prompt: str, tokens: int, *, greedy: bool) -> str:
        """A request for a stream of so many tokens, at most."""
        if self is Api.RESPONSES:
            asked: dict[str, Any] = {"input": prompt, "max_output_tokens": tokens}
        else:
            asked = {"messages": [{"role": "user", "content": prompt}], "max_completion_tokens": tokens}
            asked["stream_options"] = {"include_usage": True}
        return json.dumps({"model": MODEL, "stream": True, **asked} | ({"temperature": 0} if greedy else {}))


@dataclass(frozen=True)
class Load:
    """So many streams at once, each with a token every `step` seconds; 0 is as fast as they go."""

    streams: int
    tokens: int
    step: float

    @property
    def rate(self) -> float:
        """Tokens per second that the engine emits in all; 0 is as many as it can."""
        return self.streams / self.step if self.step else 0.0


WARMING = Load(32, 16, 0.05)
REAL = Load(32, 256, 0)


def prompts(count: int) -> list[str]:
    """Distinct ones of about 20 tokens with the chat format around them."""
    return [f"Please tell me the story number {number}." for number in range(count)]


def words(model_dir: Path) -> list[Word]:
    """Tokens of a space and a word of lower-case letters, with their words."""
    vocabulary = Tokenizer.from_file(str(model_dir / "tokenizer.json")).get_vocab().items()
    found = [(token_id, token[1:]) for token, token_id in vocabulary if token.startswith("Ġ") and len(token) > 2]
    return sorted(pair for pair in found if pair[1].isascii() and pair[1].isalpha() and pair[1].islower())[:STAMPS]
