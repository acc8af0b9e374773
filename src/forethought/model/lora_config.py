"""What a LoRA adapter changes, read from and written to PEFT's `adapter_config.json`.

Low-rank updates of linear layers (https://arxiv.org/abs/2106.09685), with rank-stabilised scaling as an option
(https://arxiv.org/abs/2312.03732), and whole rows of the token table. PEFT knows many more variants: one that would
change the result is refused by name.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from forethought.errors import CheckpointError

ALL_LINEAR = "all-linear"
"""PEFT's word for every linear layer but the output projection."""

EMBEDDING, HEAD = "model.embed_tokens", "lm_head"

_REMEDY = "Merge the adapter into its base with PEFT, and open the result."

# What we read, and what says nothing about the result (`_NEUTRAL` has the harmless values of those that may).
_READ = frozenset({"r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "trainable_token_indices"})
_NEUTRAL: Mapping[str, tuple[Any, ...]] = MappingProxyType(
    {
        "peft_type": ("LORA",),
        "task_type": ("CAUSAL_LM", None),
        "bias": ("none",),
        # The others begin by changing the base (PiSSA, OLoRA, CorDA, LoftQ …).
        "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
    }
)
_MUTE = frozenset(
    {"auto_mapping", "base_model_name_or_path", "inference_mode", "megatron_core", "peft_version", "qalora_group_size"}
    | {"revision", "runtime_config"}
)


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """An adapter's shape.

    `target_modules` are ends of module names ("q_proj", "mlp.up_proj"), or one string: "all-linear" or a regular
    expression for whole names. `dropout` acts in training only. `input_token_ids` are the rows of the token table
    that are trained; where output and input are tied, both use the trained rows. Where they are not,
    `output_token_ids` are the trained rows of the output.
    """

    rank: int
    alpha: float
    target_modules: tuple[str, ...] | str
    dropout: float = 0.0
    rslora: bool = False
    input_token_ids: tuple[int, ...] = ()
    output_token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise CheckpointError(f"The adapter's r is {self.rank}.", "It must be at least 1.")
        if not 0.0 <= self.dropout < 1.0:
            raise CheckpointError(f"The adapter's lora_dropout is {self.dropout}.", "It must be from 0 to below 1.")
        for ids in (self.input_token_ids, self.output_token_ids):
            if len(set(ids)) != len(ids) or any(number < 0 for number in ids):
                raise CheckpointError(
                    f"The adapter's trainable_token_indices are {list(ids)}.", "Each id may stand there only once."
                )

    @property
    def scale(self) -> float:
        """What the product of the two low-rank matrices is multiplied by."""
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)

    def targets(self, linear_modules: Iterable[str]) -> list[str]:
        """Which of these modules get an update.

        Raises:
            CheckpointError: `target_modules`, or one of them, matches none.
        """
        modules = list(linear_modules)
        if self.target_modules == ALL_LINEAR:
            return [module for module in modules if module != HEAD]
        if isinstance(self.target_modules, str):
            found = [module for module in modules if re.fullmatch(self.target_modules, module)]
            unmatched = [] if found else [self.target_modules]
        else:
            ends = self.target_modules
            found = [module for module in modules if any(f".{module}".endswith(f".{end}") for end in ends)]
            unmatched = [end for end in ends if not any(f".{module}".endswith(f".{end}") for module in found)]
        if unmatched:
            raise CheckpointError(
                f"The adapter's target_modules name {unmatched[0]!r}, and the model has no such linear layer.",
                "Use it with the kind of model that it was made for.",
            )
        return found

    @classmethod
    def from_peft(cls, data: Mapping[str, Any]) -> "LoraConfig":
        """Reads the content of an `adapter_config.json`.

        Raises:
            CheckpointError: something is missing, or asks for what we do not have; the message names it.
        """
        _refuse_unsupported(data)
        targets: Any = data.get("target_modules")
        if not (_is_pattern(targets) if isinstance(targets, str) else _is_list_of(targets, str)):
            raise CheckpointError(
                f"adapter_config.json says target_modules {targets!r}.",
                "It must name modules, or be one regular expression.",
            )
        inputs, outputs = _token_ids(data.get("trainable_token_indices"))
        return cls(
            rank=_whole(data, "r"),
            alpha=_number(data, "lora_alpha"),
            target_modules=targets if isinstance(targets, str) else tuple(cast("list[str]", targets)),
            dropout=_number(data, "lora_dropout", 0.0),
            rslora=bool(data.get("use_rslora")),
            input_token_ids=inputs,
            output_token_ids=outputs,
        )

    def to_peft(self) -> dict[str, Any]:
        """The content of an `adapter_config.json`, but for the name of the base."""
        rows: list[int] | dict[str, list[int]] | None = list(self.input_token_ids) or None
        if self.output_token_ids:
            given = {"embed_tokens": list(self.input_token_ids), "lm_head": list(self.output_token_ids)}
            rows = {name: ids for name, ids in given.items() if ids}
        targets = self.target_modules
        return {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "inference_mode": True,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.rslora,
            "bias": "none",
            "target_modules": targets if isinstance(targets, str) else sorted(targets),
            "trainable_token_indices": rows,
        }


def _refuse_unsupported(data: Mapping[str, Any]) -> None:
    """Every key must be one that we read, one that is neutral, or switched off."""
    for name, value in data.items():
        if name in _READ or name in _MUTE:
            continue
        if value not in _NEUTRAL[name] if name in _NEUTRAL else value:
            raise CheckpointError(f"The adapter uses {name} = {value!r}, which is not supported.", _REMEDY)


def _number(data: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = data.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise CheckpointError(f"adapter_config.json says {name} {value!r}.", "It must be a number.")
    return value


def _whole(data: Mapping[str, Any], name: str) -> int:
    value = _number(data, name)
    if value != int(value):
        raise CheckpointError(f"adapter_config.json says {name} {value!r}.", "It must be a whole number.")
    return int(value)


def _is_list_of(value: Any, kind: type) -> bool:
    """Whether it is a list of nothing else; `True` and `False` are no numbers."""
    return isinstance(value, list) and all(
        isinstance(item, kind) and not isinstance(item, bool) for item in cast("list[Any]", value)
    )


def _is_pattern(value: str) -> bool:
    try:
        re.compile(value)
    except re.error:
        return False
    return True


def _token_ids(given: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """`trainable_token_indices`: ids of the token table, or ids by module."""
    if given is None:
        return (), ()
    tables = cast("Mapping[str, list[int]]", given if isinstance(given, Mapping) else {"embed_tokens": given})
    if not all(_is_list_of(ids, int) for ids in tables.values()):
        raise CheckpointError(
            f"adapter_config.json says trainable_token_indices {given!r}.", "It must list ids, or do so by module."
        )
    rows = {name.rpartition(".")[2]: tuple(ids) for name, ids in tables.items()}
    unknown = sorted(rows.keys() - {"embed_tokens", "lm_head"})
    if unknown:
        raise CheckpointError(f"The adapter's trainable_token_indices name the unknown module {unknown[0]!r}.", _REMEDY)
    return rows.get("embed_tokens", ()), rows.get("lm_head", ())
