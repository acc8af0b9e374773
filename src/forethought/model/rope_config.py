"""How rotary position embeddings are scaled to longer contexts, read from and written to `config.json`.

Configs of transformers 4 hold `rope_theta` and `rope_scaling`; those of transformers 5 hold both in
`rope_parameters`. We read either and write the older form, which both read.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from forethought.errors import CheckpointError

RopeKind = Literal["default", "linear", "llama3", "yarn"]

_REMEDY = f"Supported kinds of RoPE: {', '.join(get_args(RopeKind))}."

_KEYS: Mapping[RopeKind, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}),
    "yarn": frozenset(
        {"factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale"}
        | {"mscale_all_dim", "truncate"}
    ),
}
_SHARED_KEYS = frozenset({"type", "rope_type", "rope_theta", "partial_rotary_factor"})


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Base and scaling of the rotary frequencies; parameters that a kind does not use keep their defaults.

    `factor` is the ratio of the new to the original context (linear, llama3, yarn), `original_positions` the
    context of pretraining (llama3, yarn), `attention_factor` multiplies cosines and sines (yarn).
    """

    theta: float = 10000.0
    kind: RopeKind = "default"
    factor: float = 1.0
    original_positions: int = 0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    attention_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True

    def __post_init__(self) -> None:
        if self.theta <= 0:
            raise CheckpointError(f"rope_theta is {self.theta}.", "It must be above 0.")
        if self.factor <= 0:
            raise CheckpointError(f"The RoPE factor is {self.factor}.", "It must be above 0.")
        if self.kind in ("llama3", "yarn") and self.original_positions < 1:
            raise CheckpointError(
                f"RoPE of kind {self.kind} has original_max_position_embeddings {self.original_positions}.",
                "It must be at least 1.",
            )
        if self.kind == "yarn" and min(self.beta_fast, self.beta_slow) <= 0:
            raise CheckpointError(
                f"RoPE has beta_fast {self.beta_fast} and beta_slow {self.beta_slow}.", "Both must be above 0."
            )
        if self.kind == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            raise CheckpointError(
                f"RoPE has high_freq_factor {self.high_freq_factor} and low_freq_factor {self.low_freq_factor}.",
                "The first must be larger.",
            )

    @classmethod
    def from_hf(cls, data: Mapping[str, Any], max_positions: int) -> "RopeConfig":
        """Reads `rope_theta`, `rope_scaling` and `rope_parameters` of a `config.json`.

        Raises:
            CheckpointError: an unknown kind or parameter, a partial rotary factor, or RoPE per layer type.
        """
        scaling = _scaling(data)
        kind = _kind(scaling, data)
        theta = _number(scaling if "rope_theta" in scaling else data, "rope_theta", 10000.0)
        if kind == "default":
            return cls(theta)
        if kind == "linear":
            return cls(theta, kind, factor=_number(scaling, "factor"))
        # A top-level key wins over the one inside, as in transformers.
        holder = data if data.get("original_max_position_embeddings") else scaling
        original = int(_nonzero(holder, "original_max_position_embeddings", max_positions))
        if kind == "llama3":
            return cls(
                theta,
                kind,
                factor=_number(scaling, "factor"),
                original_positions=original,
                low_freq_factor=_number(scaling, "low_freq_factor"),
                high_freq_factor=_number(scaling, "high_freq_factor"),
            )
        factor = _nonzero(scaling, "factor", max_positions / max(original, 1))
        return cls(
            theta,
            kind,
            factor=factor,
            original_positions=original,
            attention_factor=_attention_factor(scaling, factor),
            beta_fast=_nonzero(scaling, "beta_fast", 32.0),
            beta_slow=_nonzero(scaling, "beta_slow", 1.0),
            truncate=bool(scaling.get("truncate", True)),
        )

    def to_hf(self) -> dict[str, Any]:
        """`rope_theta` and `rope_scaling` (null for the default kind)."""
        scaling: dict[str, Any] = {"rope_type": self.kind, "factor": self.factor}
        if self.kind == "default":
            return {"rope_theta": self.theta, "rope_scaling": None}
        if self.kind != "linear":
            scaling["original_max_position_embeddings"] = self.original_positions
        if self.kind == "llama3":
            scaling |= {"low_freq_factor": self.low_freq_factor, "high_freq_factor": self.high_freq_factor}
        if self.kind == "yarn":
            scaling |= {
                "attention_factor": self.attention_factor,
                "beta_fast": self.beta_fast,
                "beta_slow": self.beta_slow,
                "truncate": self.truncate,
            }
        return {"rope_theta": self.theta, "rope_scaling": scaling}


def _scaling(data: Mapping[str, Any]) -> dict[str, Any]:
    value: Any = data.get("rope_scaling") or data.get("rope_parameters") or {}
    if not isinstance(value, Mapping):
        raise CheckpointError(f"config.json scales its RoPE by {value!r}.", "The file must give a JSON object.")
    return dict(cast("Mapping[str, Any]", value))


def _kind(scaling: Mapping[str, Any], data: Mapping[str, Any]) -> RopeKind:
    name = scaling.get("rope_type", scaling.get("type", "default"))
    if name not in get_args(RopeKind):
        raise CheckpointError(f"config.json says RoPE of kind {name!r}, which is not supported.", _REMEDY)
    kind = cast("RopeKind", name)
    unknown = sorted(set(scaling) - _KEYS[kind] - _SHARED_KEYS)
    if unknown:
        raise CheckpointError(f"config.json gives RoPE of kind {kind} the unknown {', '.join(unknown)}.", _REMEDY)
    for holder in (scaling, data):
        partial = holder.get("partial_rotary_factor")
        if partial not in (None, 1, 1.0):
            raise CheckpointError(f"config.json says partial_rotary_factor {partial!r}.", "Only 1 is supported.")
    return kind


def _number(scaling: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = scaling.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise CheckpointError(f"config.json says {name} {value!r} for its RoPE.", "The file must give it as a number.")
    return float(value)


def _nonzero(scaling: Mapping[str, Any], name: str, default: float) -> float:
    """`default` stands in for an absent, null or zero key, as in transformers."""
    return _number(scaling, name) if scaling.get(name) else default


def _attention_factor(scaling: Mapping[str, Any], factor: float) -> float:
    """YaRN's scale of cosines and sines (https://arxiv.org/abs/2309.00071, section 3.4), or the one given."""

    def mscale(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    if scaling.get("attention_factor") is not None:
        return _number(scaling, "attention_factor")
    if scaling.get("mscale") and scaling.get("mscale_all_dim"):
        return mscale(_number(scaling, "mscale")) / mscale(_number(scaling, "mscale_all_dim"))
    return mscale(1.0)
