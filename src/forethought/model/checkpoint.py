"""A checkpoint: everything that makes a model behave as it does, opened from a directory.

Base weights, an optional adapter, the tokenizer, the renderer and the generation defaults, in the layout of Hugging
Face and PEFT. Any directory of a supported architecture opens; `forethought.json` may declare what the Hugging Face
files cannot say. `model/digest.py` turns all of it into one digest.

What needs torch is imported where tensors are touched: who only renders and parses (the command line, whose engine
lives in another process) starts a second sooner.
"""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forethought.errors import CheckpointError, DigestMismatch
from forethought.model.config import DecoderConfig
from forethought.model.digest import DigestParts, LoadOptions, checkpoint_digest
from forethought.model.generation import GenerationDefaults
from forethought.model.layout import (
    ADAPTER_CONFIG,
    CONFIG,
    FORMAT_FILES,
    GENERATION,
    MANIFEST,
    TOKENIZER,
    TOKENIZER_FILES,
    new_directory,
    read_object,
    write_object,
)
from forethought.model.manifest import Capabilities, Manifest, read_manifest, write_manifest
from forethought.model.renderer import load_renderer
from forethought.model.renderer.protocol import Renderer
from forethought.model.renderer.template_files import has_template
from forethought.model.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

    from forethought.model.decoder import Decoder
    from forethought.model.lora_config import LoraConfig

__all__ = ["Capabilities", "Checkpoint", "GenerationDefaults", "LoadOptions"]

# Which ids begin, end and pad a text: nothing to our decoder, but transformers and vLLM look here.
_TOKEN_KEYS = ("bos_token_id", "eos_token_id", "pad_token_id")

UNDATED = datetime.date(1970, 1, 1)
"""Of checkpoints that do not say when they were made. When their files were written here says nothing about them."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An opened checkpoint. Opening reads no weights, except to check that an adapter belongs to its base. `created` is
    the day on which it was made, as it says itself: the same on every machine."""

    directory: Path
    adapter: Path | None
    config: DecoderConfig
    tokenizer: Tokenizer
    renderer: Renderer
    capabilities: Capabilities
    generation: GenerationDefaults
    created: datetime.date = UNDATED

    @classmethod
    def open(cls, directory: Path, adapter: Path | None = None) -> Checkpoint:
        """Opens a Hugging Face directory, with the PEFT adapter in another one on top of it.

        What the adapter's own `forethought.json` and `generation_config.json` declare takes the place of what the base
        declares. A chat template of its own counts only when it declares a renderer.

        Raises:
            CheckpointError: a file is missing, broken, or asks for something unsupported.
            DigestMismatch: the adapter was made for another base.
        """
        base = cls._open_base(directory)
        return base if adapter is None else base._with_adapter(adapter)

    @classmethod
    def _open_base(cls, directory: Path) -> Checkpoint:
        config = DecoderConfig.from_hf(read_object(directory / CONFIG))
        tokenizer = Tokenizer.load(directory)
        if tokenizer.vocab_size > config.vocab_size:
            raise CheckpointError(
                f"The tokenizer in {directory} has {tokenizer.vocab_size} ids, the model {config.vocab_size}.",
                "Tokenizer and weights do not belong together; fetch the checkpoint again.",
            )
        renderer = load_renderer(directory, tokenizer)
        manifest = read_manifest(directory)
        capabilities = manifest.capabilities or _detected(renderer, config)
        generation = directory / GENERATION
        return cls(
            directory=directory,
            adapter=None,
            config=config,
            tokenizer=tokenizer,
            renderer=renderer,
            capabilities=_fitting(capabilities, config, directory),
            generation=GenerationDefaults.from_hf(
                read_object(generation) if generation.exists() else {}, config.vocab_size
            ),
            created=manifest.created or UNDATED,
        )

    def _with_adapter(self, adapter: Path) -> Checkpoint:
        if not (adapter / ADAPTER_CONFIG).exists():
            raise CheckpointError(f"There is no adapter in {adapter}: no {ADAPTER_CONFIG}.", "Give its directory.")
        manifest = read_manifest(adapter)
        _check_base(adapter, manifest, self)
        own_tokenizer = adapter / TOKENIZER
        if own_tokenizer.exists() and read_object(own_tokenizer) != read_object(self.directory / TOKENIZER):
            raise CheckpointError(
                f"{own_tokenizer} is not the tokenizer of {self.directory}.",
                "An adapter with a tokenizer of its own must be merged into a checkpoint first.",
            )
        generation = adapter / GENERATION
        return replace(
            self,
            adapter=adapter,
            renderer=load_renderer(adapter, self.tokenizer, self._template_directory(adapter))
            if manifest.renderer
            else self.renderer,
            capabilities=_fitting(manifest.capabilities or self.capabilities, self.config, adapter),
            generation=GenerationDefaults.from_hf(read_object(generation), self.config.vocab_size)
            if generation.exists()
            else self.generation,
            created=manifest.created or self.created,
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """The base's tensors under their Hugging Face names, mapped from disk; the adapter is not applied."""
        from forethought.model.weights import read_tensors

        return read_tensors(self.directory)

    def merged_tensors(self, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
        """The tensors that the model computes with, in `dtype` (float32): the adapter merged into the base, if there
        is one.

        Those that did not have to change are mapped from disk: copy one before you write to it.
        """
        import torch

        return {name: tensor.to(dtype or torch.float32) for name, tensor in self._merged().items()}

    def decoder(self, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Decoder:
        """A decoder that owns a copy of the merged tensors, in `dtype` (float32)."""
        import torch

        from forethought.model.decoder import Decoder

        return Decoder.from_tensors(self.config, self._merged(), dtype or torch.float32, device)

    def digest(self, load: LoadOptions | None = None, tensors: Mapping[str, torch.Tensor] | None = None) -> str:
        """The checkpoint's digest (design.md, "digest").

        Args:
            load: how it is loaded; as it stands, by default.
            tensors: the base tensors as loaded; read from the directory by default.
        """
        adapter_config, adapter = (None, None) if self.adapter is None else _adapter(self.adapter)
        return checkpoint_digest(
            DigestParts(
                base=self.tensors() if tensors is None else tensors,
                config=self.config.to_hf(),
                tokenizer=json.loads(self.tokenizer.json),
                renderer=self._renderer_identity(),
                generation=self.generation.to_hf(),
                capabilities=self.capabilities.model_dump(),
                adapter=adapter,
                adapter_config=None if adapter_config is None else replace(adapter_config, dropout=0.0).to_peft(),
                load=load or LoadOptions(),
            )
        )

    def save(
        self,
        directory: Path,
        tensors: Mapping[str, torch.Tensor] | None = None,
        capabilities: Capabilities | None = None,
    ) -> Checkpoint:
        """Writes a directory without adapter that we and transformers open, and opens it.

        Args:
            tensors: weights under Hugging Face names; this checkpoint's merged tensors, in their own dtype, by
                default.
            capabilities: what the new checkpoint declares; the same as this one by default.

        Raises:
            CheckpointError: `directory` exists already.
        """
        from forethought.model.weights import write_tensors

        with new_directory(directory) as partial:
            weights = self._merged() if tensors is None else tensors
            write_tensors(partial, weights)
            dtype = str(next(iter(weights.values())).dtype).removeprefix("torch.")
            source = read_object(self.directory / CONFIG)
            named = {key: source[key] for key in _TOKEN_KEYS if key in source}
            write_object(partial / CONFIG, self.config.to_hf() | named | {"dtype": dtype})
            sources = [self.directory] if self.adapter is None else [self.directory, self.adapter]
            _copy(TOKENIZER_FILES, self.directory, partial)
            _copy(FORMAT_FILES, self._template_directory(self.adapter), partial)
            _declare(partial, sources, capabilities or self.capabilities)
        return Checkpoint.open(directory)

    def save_adapter(
        self,
        directory: Path,
        config: LoraConfig,
        tensors: Mapping[str, torch.Tensor],
        capabilities: Capabilities | None = None,
    ) -> Checkpoint:
        """Writes a PEFT adapter that names this checkpoint's base, and opens the base with it.

        The base stands there by its digest, and for PEFT by its name, or, when it has none, by its directory.

        Raises:
            CheckpointError: `directory` exists already.
        """
        from forethought.model.lora import save_adapter
        from forethought.model.registry import entry_of  # which imports this module

        base = self if self.adapter is None else Checkpoint.open(self.directory)
        digest = base.digest()
        known = entry_of(digest)
        with new_directory(directory) as partial:
            save_adapter(partial, config, tensors, base=known.name if known else str(base.directory.resolve()))
            sources = [] if self.adapter is None else [self.adapter]
            for source in sources:
                _copy(FORMAT_FILES, source, partial)
            _declare(partial, sources, capabilities or self.capabilities, digest)
        return Checkpoint.open(self.directory, directory)

    def _merged(self) -> dict[str, torch.Tensor]:
        """The merged tensors in the dtype that they have on disk."""
        from forethought.model.lora import merge

        return self.tensors() if self.adapter is None else merge(self.tensors(), *_adapter(self.adapter))

    def _template_directory(self, adapter: Path | None) -> Path:
        """Where the chat template lies that counts: with an adapter that declares a renderer and has one, or here."""
        if adapter is not None and read_manifest(adapter).renderer is not None and has_template(adapter):
            return adapter
        return self.directory

    def _renderer_identity(self) -> dict[str, Any]:
        return {"name": self.renderer.name, "version": self.renderer.version, "options": dict(self.renderer.options)}


def _adapter(directory: Path) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    from forethought.model.lora import load_adapter

    return load_adapter(directory)


def _copy(names: Iterable[str], source: Path, target: Path) -> None:
    """Copies those of the files that there are."""
    for name in names:
        if (source / name).exists():
            (target / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(source / name, target / name)


def _declare(target: Path, sources: list[Path], capabilities: Capabilities, base: str | None = None) -> None:
    """Copies what the sources declare beside their weights; what comes last wins. The weights are of today."""
    renderer = None
    for source in sources:
        _copy((GENERATION,), source, target)
        renderer = read_manifest(source).renderer or renderer
    today = datetime.datetime.now(datetime.UTC).date()
    write_manifest(target, Manifest(renderer=renderer, capabilities=capabilities, base=base, created=today))


def _detected(renderer: Renderer, config: DecoderConfig) -> Capabilities:
    """For a checkpoint that declares nothing: what its chat template is seen to have markers for."""
    return Capabilities(
        thinks=renderer.options.get("thinking") is not None,
        calls_tools=renderer.options.get("tool_calls") is not None,
        context_length=config.max_positions,
    )


def _fitting(capabilities: Capabilities, config: DecoderConfig, directory: Path) -> Capabilities:
    if capabilities.context_length > config.max_positions:
        raise CheckpointError(
            f"{directory / MANIFEST} declares a context of {capabilities.context_length} tokens, and the model has"
            f" {config.max_positions} positions.",
            "Declare no more than the config's max_position_embeddings.",
        )
    return capabilities


def _check_base(adapter: Path, manifest: Manifest, base: Checkpoint) -> None:
    found = base.digest()
    if manifest.base is None:
        raise CheckpointError(
            f"The adapter in {adapter} does not say which base it belongs to.",
            f'If it is this one, write {{"schema_version": 1, "base": "{found}"}} into {adapter / MANIFEST}.',
        )
    if manifest.base != found:
        raise DigestMismatch(
            f"The adapter in {adapter} belongs to base {manifest.base}, and {base.directory} is {found}.",
            "Open it with the base that it was trained on.",
        )
