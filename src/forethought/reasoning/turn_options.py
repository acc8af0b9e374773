"""What a turn may be told; `Reasoner.prepare` says what each option means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypedDict

from forethought.model.conversation import Effort
from forethought.reasoning.format import OutputFormat
from forethought.reasoning.tool_choice import ToolChoice

if TYPE_CHECKING:
    import torch


class SamplingOverrides(TypedDict, total=False):
    """What differs from the checkpoint's generation defaults; the fields of `engine.protocol.Sampling`."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float


class TurnOptions(TypedDict, total=False):
    """The options of `Reasoner.prepare` and `Reasoner.turn`."""

    effort: Effort | None
    think: bool | None
    output_format: OutputFormat
    tool_choice: ToolChoice
    parallel_tool_calls: bool
    max_output_tokens: int | None
    stop: tuple[str, ...]
    sampling: SamplingOverrides | None
    seed: int | None
    logprobs: int | None
    priority: int
    images: Mapping[str, torch.Tensor] | None
