"""The completion object and its chunks: what is the same in all of them, and the tokens used."""

import time
from collections.abc import Sequence
from typing import Any

from forethought.api.chat.choice import WireChoice
from forethought.api.parts import new_id, padding
from forethought.reasoning.events import Usage

WireObject = dict[str, Any]
FINGERPRINT_CHARACTERS = 12


class CompletionDocument:
    """What never changes in a completion."""

    def __init__(self, model: str, digest: str, *, usage_streamed: bool, obfuscated: bool = False) -> None:
        """`digest` is that of the checkpoint that answers: seeds make answers the same while it stays the same."""
        self._obfuscated = obfuscated
        self._head: WireObject = {
            "id": new_id("chatcmpl", "-"),
            "created": int(time.time()),
            "model": model,
            "service_tier": "default",
            "system_fingerprint": f"fp_{digest.rpartition(':')[2][:FINGERPRINT_CHARACTERS]}",
        }
        self._usage_streamed = usage_streamed
        self._chunk_head = {"object": "chat.completion.chunk", **self._head}
        if usage_streamed:
            self._chunk_head["usage"] = None

    @property
    def id(self) -> str:
        """The completion's."""
        return self._head["id"]

    def chunk(self, choice: WireChoice) -> WireObject:
        """A chunk with one delta."""
        chunk = {**self._chunk_head, "choices": [choice]}
        if self._obfuscated and (length := _length(choice["delta"])):
            chunk["obfuscation"] = padding(length)
        return chunk

    def usage_chunks(self, usages: Sequence[Usage]) -> list[WireObject]:
        """The chunk behind the last delta, if the client wants to know the tokens used."""
        if not self._usage_streamed:
            return []
        return [{**self._chunk_head, "choices": [], "usage": wire_usage(usages)}]

    def completion(self, choices: list[WireChoice], usages: Sequence[Usage]) -> WireObject:
        """The whole."""
        return {"object": "chat.completion", **self._head, "choices": choices, "usage": wire_usage(usages)}


def _length(delta: WireObject) -> int:
    """Characters that a delta brings: of the text, or of what a tool is given."""
    given = [call.get("function") or call["custom"] for call in delta.get("tool_calls", ())]
    return len(delta.get("content") or "") + sum(
        len(fields.get("arguments") or fields.get("input", "")) for fields in given
    )


def wire_usage(usages: Sequence[Usage]) -> WireObject:
    """The tokens of all choices, as Chat Completions counts them.

    The prompt is one, however many choices there are; what the cache had of it before the first of them is what all
    of them found there. What was not in the cache is, once it has been read.
    """
    prompt, cached = usages[0].input_tokens, min(usage.cached_tokens for usage in usages)
    completion = sum(usage.output_tokens for usage in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": prompt - cached,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": sum(usage.reasoning_tokens for usage in usages),
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
