"""`CompiledRunner`: our C kernels behind the runner's seam, in bfloat16 or float32, CPU only.

In bfloat16 it rounds less often than torch does: sums, norms, rotations, softmax and the residual stream stay in
float32. A request's numbers do not depend on what else is in the batch, on how its prompt was
chunked, or on whether its prefix came from the cache; they are equal bit for bit.
"""

import ctypes
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from forethought.engine.compiled.build import FLOAT32
from forethought.engine.compiled.library import Batch, Layer, Linear, Model, Room, load, release
from forethought.engine.compiled.packing import Packed, Packer, address
from forethought.engine.runner import BLOCK_SIZE, StepBatch
from forethought.errors import EngineError
from forethought.model.config import DecoderConfig
from forethought.model.decoder import fitting_tensors
from forethought.model.rope import rope_tables
from forethought.settings import Quantization

_GATE = 16
"""Rows of the gate that alternate with as many of the values: one half panel."""


class CompiledRunner:
    """The decoder of `model` in compiled form.

    Args:
        config: the decoder's sizes.
        tensors: weights under their Hugging Face names, any float dtype, an adapter already merged. Kept by
            reference, for `update_weights`.
        blocks: KV blocks to allocate.
        dtype: what weights, activations and the cache are made of. bfloat16 uses AMX where there is some.
        quantization: "int8" rounds the weights of all products; "none" loses nothing beyond `dtype`.
        threads: threads to compute with.
        max_tokens: most tokens of one step. max_sequences: most logit rows of one step.
        context_length: positions that the rotary tables cover.

    Raises:
        EngineError: the kernels cannot be built, or memory is short.
        CheckpointError: a tensor is missing, unknown or of the wrong shape.
    """

    def __init__(
        self,
        config: DecoderConfig,
        tensors: Mapping[str, torch.Tensor],
        *,
        blocks: int,
        cache_dir: Path,
        dtype: torch.dtype = torch.bfloat16,
        quantization: Quantization = "none",
        threads: int = 1,
        max_tokens: int = 512,
        max_sequences: int = 256,
        context_length: int | None = None,
        defines: tuple[str, ...] = (),
    ) -> None:
        self._config = config
        self._dtype = dtype
        self._library = load(cache_dir, defines + (FLOAT32 if dtype == torch.float32 else ()))
        self._tensors = fitting_tensors(config, tensors, complete=True)
        self._pool = self._library.forethought_pool(threads)
        if not self._pool:
            raise EngineError("The engine's threads cannot be started.", "Lower the engine's threads.")
        release(self, self._library.forethought_pool_free, self._pool)
        self._packer = Packer(self._library, self._pool, quantization)
        self._packed: dict[str, Packed] = {}
        self._kept: dict[str, torch.Tensor] = {}
        self._blocks = blocks
        padded_dim = -(-config.head_dim // BLOCK_SIZE) * BLOCK_SIZE
        positions = config.layers * blocks * BLOCK_SIZE
        self._cache = Room(self._library, positions * config.kv_heads * 2 * padded_dim * dtype.itemsize)
        cos, sin = rope_tables(config, context_length or config.max_positions)
        self._rope = cos.float().contiguous(), sin.float().contiguous()
        self._layers = (Layer * config.layers)()
        self._model = Model(
            layers=config.layers,
            hidden=config.hidden_size,
            intermediate=config.intermediate_size,
            heads=config.heads,
            kv_heads=config.kv_heads,
            head_dim=config.head_dim,
            vocabulary=config.vocab_size,
            window=config.sliding_window or 0,
            rms_epsilon=config.rms_eps,
            cosine=address(self._rope[0]),
            sine=address(self._rope[1]),
            layer=self._layers,
            cache=self._cache.address,
            blocks=blocks,
        )
        self._load(range(config.layers), outer=True)
        self._max_tokens = max(max_tokens, max_sequences)
        self._state = self._library.forethought_state(self._pool, ctypes.byref(self._model), self._max_tokens)
        if not self._state:
            raise EngineError("There is no room for the engine's buffers.", "Lower the engine's max_step_tokens.")
        self._logits_RV = torch.empty(max_sequences, config.vocab_size)
        release(self, self._library.forethought_state_free, self._state)

    @property
    def blocks(self) -> int:
        """KV blocks allocated."""
        return self._blocks

    @property
    def vocab_size(self) -> int:
        """Columns of the logits."""
        return self._config.vocab_size

    @property
    def hidden_size(self) -> int:
        """Values of an embedding."""
        return self._config.hidden_size

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed matrices: what one step reads."""
        return sum(packed.room.size for packed in self._packed.values())

    @property
    def formats(self) -> dict[str, str]:
        """The format of each packed matrix, by name."""
        return {name: packed.format for name, packed in self._packed.items()}

    def forward(self, batch: StepBatch) -> torch.Tensor:
        """Writes the KV of the batch's tokens; float32 `logits_RV`, valid until the next call."""
        rows = len(batch.logit_rows_R)
        if rows > len(self._logits_RV) or len(batch.token_ids_N) > self._max_tokens:
            raise EngineError(
                f"A step of {len(batch.token_ids_N)} tokens and {rows} logit rows exceeds what was allocated.",
                "Raise the engine's max_step_tokens and max_running.",
            )
        pieces = [(row, span.embeddings_TD.detach().to("cpu", torch.float32).contiguous()) for row, span in batch.spans]
        given = _given_rows(pieces, len(batch.token_ids_N), self._config.hidden_size)
        step = Batch(
            tokens=len(batch.token_ids_N),
            sequences=len(batch.lengths_S),
            table_width=batch.tables_SB.shape[1],
            logit_rows=rows,
            token_ids=_data(batch.token_ids_N),
            positions=_data(batch.positions_N),
            starts=_data(batch.starts_S),
            tables=_data(batch.tables_SB),
            wanted=_data(batch.logit_rows_R),
            embeddings=None if given is None else given.ctypes.data,
            logits=self._logits_RV.data_ptr(),
        )
        if self._library.forethought_forward(self._state, ctypes.byref(step)) != 0:
            raise EngineError("The step exceeds the engine's buffers.", "Raise the engine's max_step_tokens.")
        return self._logits_RV[:rows]

    def copy_block(self, source: int, target: int) -> None:
        """Copies the KV of one block in all layers."""
        self._library.forethought_copy_block(ctypes.byref(self._model), source, target)

    def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replaces tensors by their Hugging Face names and packs again what they are part of. They are kept by
        reference until they are replaced.

        Raises:
            CheckpointError: a name is unknown or a shape is wrong; then nothing has changed.
        """
        given = fitting_tensors(self._config, tensors, complete=False)
        self._tensors.update(given)
        touched = {int(name.split(".")[2]) for name in given if name.startswith("model.layers.")}
        self._load(touched, outer=any(not name.startswith("model.layers.") for name in given))

    def _load(self, layers: Iterable[int], outer: bool) -> None:
        for index in layers:
            self._layers[index] = self._load_layer(index)
        if not outer:
            return
        config, model = self._config, self._model
        model.final_norm = self._vector("model.norm.weight")
        table = self._tensor("model.embed_tokens.weight")
        self._kept["embedding"] = table.to(self._dtype, copy=True)
        model.embedding = address(self._kept["embedding"])
        head = table if config.tied else self._tensor("lm_head.weight")
        model.head = self._product("head", [head])

    def _load_layer(self, index: int) -> Layer:
        config, prefix = self._config, f"model.layers.{index}."
        attention, mlp = prefix + "self_attn.", prefix + "mlp."
        qkv_bias = self._bias([f"{attention}{name}_proj.bias" for name in "qkv"]) if config.qkv_bias else None
        output_bias = self._bias([attention + "o_proj.bias"]) if config.o_bias else None
        norms = [self._vector(f"{attention}{name}_norm.weight") if config.qk_norm else None for name in "qk"]
        qkv = [self._tensor(f"{attention}{name}_proj.weight") for name in "qkv"]
        gate, up = self._tensor(mlp + "gate_proj.weight"), self._tensor(mlp + "up_proj.weight")
        return Layer(
            attention_norm=self._vector(prefix + "input_layernorm.weight"),
            mlp_norm=self._vector(prefix + "post_attention_layernorm.weight"),
            query_norm=norms[0],
            key_norm=norms[1],
            qkv=self._product(prefix + "qkv", qkv, qkv_bias),
            output=self._product(prefix + "output", [self._tensor(attention + "o_proj.weight")], output_bias),
            gate_up=self._gated(prefix + "gate_up", gate, up),
            down=self._product(prefix + "down", [self._tensor(mlp + "down_proj.weight")]),
        )

    def _product(self, name: str, matrices: list[torch.Tensor], bias: torch.Tensor | None = None) -> Linear:
        rows = [row for matrix in matrices for row in _rows(matrix)]
        return self._pack(name, rows, matrices[0].shape[1], bias)

    def _gated(self, name: str, gate: torch.Tensor, up: torch.Tensor) -> Linear:
        padding = [0] * (-len(gate) % _GATE)
        halves = [*_rows(gate), *padding], [*_rows(up), *padding]
        starts = range(0, len(halves[0]), _GATE)
        rows = [row for start in starts for half in halves for row in half[start : start + _GATE]]
        return self._pack(name, rows, gate.shape[1], None)

    def _pack(self, name: str, rows: list[int], depth: int, bias: torch.Tensor | None) -> Linear:
        packed = self._packer.pack(rows, depth, self._packed.get(name))
        self._packed[name] = packed
        return packed.linear(bias)

    def _vector(self, name: str) -> int:
        self._kept[name] = self._tensor(name).clone()  # a trainer goes on changing its own
        return address(self._kept[name])

    def _bias(self, names: list[str]) -> torch.Tensor:
        self._kept[names[0]] = torch.cat([self._tensor(name) for name in names])
        return self._kept[names[0]]

    def _tensor(self, name: str) -> torch.Tensor:
        return self._tensors[name].detach().to("cpu", torch.float32).contiguous()


def _rows(matrix_NK: torch.Tensor) -> list[int]:
    start = address(matrix_NK)
    return [start + row * matrix_NK.shape[1] * 4 for row in range(matrix_NK.shape[0])]


def _data(array: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> int:
    if array.dtype != np.int32 or not array.flags.c_contiguous:
        raise EngineError("A step's arrays must be contiguous int32.", "This is a bug; please report it.")
    return array.ctypes.data


def _given_rows(
    pieces: list[tuple[int, torch.Tensor]], tokens: int, hidden: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]] | None:
    """Per token the address of its given embedding, or 0; None when no token has one."""
    if not pieces:
        return None
    given = np.zeros(tokens, np.uint64)
    for row, embeddings in pieces:
        if embeddings.shape[1] != hidden:
            raise EngineError(f"An embedding has {embeddings.shape[1]} values, not {hidden}.", "Give the model's own.")
        count = min(len(embeddings), tokens - row)
        given[row : row + count] = embeddings.data_ptr() + np.arange(count, dtype=np.uint64) * np.uint64(hidden * 4)
    return given
