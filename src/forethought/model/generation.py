"""How a checkpoint samples when nobody says otherwise: Hugging Face's `generation_config.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from forethought.errors import CheckpointError

# Keys of the file that would change what is sampled and that our sampler does not have, with their neutral value.
_NEUTRAL: Mapping[str, Any] = {
    "num_beams": 1,
    "num_beam_groups": 1,
    "penalty_alpha": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "length_penalty": 1.0,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "sequence_bias": None,
    "guidance_scale": None,
    "min_length": 0,
    "min_new_tokens": None,
    "stop_strings": None,
}


@dataclass(frozen=True, slots=True)
class GenerationDefaults:
    """Sampling parameters as in `engine.protocol.Sampling`; `stop_token_ids` end an output besides the renderer's.

    How long an output may be (`max_new_tokens`, `max_length` in the file) is no default of ours: the limits of each
    request and the context length rule.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop_token_ids: tuple[int, ...] = ()

    @classmethod
    def from_hf(cls, data: Mapping[str, Any], vocab_size: int) -> "GenerationDefaults":
        """Reads the keys of a `generation_config.json`. `do_sample: false` is a temperature of 0, beside which nothing
        is cut off; a key that is absent or null is off.

        Raises:
            CheckpointError: the file asks for a way of sampling that we do not have, or with what cannot be.
        """
        for name, neutral in _NEUTRAL.items():
            value = data.get(name)
            if value not in (None, neutral):
                raise CheckpointError(
                    f"generation_config.json says {name} {value!r}, which is not supported.",
                    f"Take {name} out of the file.",
                )
        found = cls(
            temperature=_number(data, "temperature", 1.0, 0.0, 100.0),
            top_p=_number(data, "top_p", 1.0, 1e-6, 1.0),
            top_k=int(_number(data, "top_k", 0, 0, 2**31 - 1)),
            min_p=_number(data, "min_p", 0.0, 0.0, 1.0),
            repetition_penalty=_number(data, "repetition_penalty", 1.0, 1e-6, 10.0),
            stop_token_ids=_token_ids(data.get("eos_token_id"), vocab_size),
        )
        greedy = data.get("do_sample") is False or found.temperature == 0
        return replace(found, temperature=0.0, top_p=1.0, top_k=0, min_p=0.0) if greedy else found

    def to_hf(self) -> dict[str, Any]:
        """The keys of a `generation_config.json`."""
        data: dict[str, Any] = {"do_sample": self.temperature > 0}
        if self.temperature > 0:
            sampling = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "min_p": self.min_p}
            data |= sampling
        if self.repetition_penalty != 1.0:
            data["repetition_penalty"] = self.repetition_penalty
        if self.stop_token_ids:
            data["eos_token_id"] = list(self.stop_token_ids)
        return data


def _number(data: Mapping[str, Any], name: str, default: float, least: float, most: float) -> float:
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise CheckpointError(
            f"generation_config.json says {name} {value!r}.", f"It must be a number between {least:g} and {most:g}."
        )
    return float(value)


def _token_ids(value: Any, vocab_size: int) -> tuple[int, ...]:
    """One id, several, or none."""
    if value is None:
        return ()
    ids: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not all(isinstance(item, int) and not isinstance(item, bool) and 0 <= item < vocab_size for item in ids):
        raise CheckpointError(
            f"generation_config.json says eos_token_id {value!r}.",
            f"It must be an id below {vocab_size}, or a list of them.",
        )
    return tuple(ids)
