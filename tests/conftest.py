"""Fixtures that many tests share."""

import asyncio
import io
import logging
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers, trainers

from command_line import CommandLine
from forethought import logs
from forethought.engine.native import NativeEngine
from forethought.engine.spec import EngineSpec
from forethought.model import base, registry
from forethought.model.checkpoint import Checkpoint
from forethought.model.config import DecoderConfig
from forethought.model.decoder import Decoder
from forethought.model.generation import GenerationDefaults
from forethought.model.layout import CONFIG, GENERATION, TOKENIZER, write_object
from forethought.model.manifest import Capabilities, Manifest, RendererSpec, write_manifest
from forethought.model.renderer.forethought import Markers
from forethought.model.rope_config import RopeConfig
from forethought.model.tokenizer import Tokenizer
from forethought.model.weights import write_tensors
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import EngineSettings, Settings, load_settings
from process_scenario import SpecMaker

# A test says what must hold, not how fast a busy machine shows it.
settings.register_profile("forethought", deadline=None)
settings.load_profile("forethought")


def tiny_tokenizer() -> Backend:
    """Byte-level BPE with a few merges and our renderer's markers."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=sorted(Markers().model_dump().values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(["the model thinks before it answers the user"] * 8, trainer)
    return backend


def write_tiny_checkpoint(directory: Path) -> None:
    """A random Llama of two layers, a byte-level tokenizer and our renderer. It does not think."""
    tokenizer = tiny_tokenizer()
    tokenizer.save(str(directory / TOKENIZER))
    config = DecoderConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=8,
        max_positions=512,
        rope=RopeConfig(theta=10_000.0),
        tied=True,
    )
    torch.manual_seed(0)
    write_object(directory / CONFIG, config.to_hf())
    write_object(directory / GENERATION, GenerationDefaults().to_hf())
    write_manifest(
        directory,
        Manifest(
            renderer=RendererSpec(name="forethought", version=1),
            capabilities=Capabilities(context_length=config.max_positions),
        ),
    )
    write_tensors(directory, {name: tensor.detach() for name, tensor in Decoder(config).state_dict().items()})


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny checkpoint."""
    directory = tmp_path_factory.mktemp("tiny")
    write_tiny_checkpoint(directory)
    return directory


@pytest.fixture(scope="session")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    """The tiny checkpoint, opened."""
    return Checkpoint.open(tiny_checkpoint)


@pytest.fixture
def run(checkpoint: Checkpoint, tmp_path: Path) -> Callable[[Callable[[Reasoner], Awaitable[Any]]], Any]:
    """Runs an async function of a reasoner whose engine, a real one, is started."""
    engine = EngineSettings(runner="torch", dtype="float32", threads=1, cache_tokens=8192)

    def go(body: Callable[[Reasoner], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            native = NativeEngine(checkpoint, Settings(cache_dir=tmp_path, engine=engine))
            await native.start()
            try:
                return await body(Reasoner(checkpoint, native))
            finally:
                await native.close()

        return asyncio.run(main())

    return go


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """All that is logged, debug included."""
    root = logging.getLogger(logs.ROOT)
    before = (list(root.handlers), root.level, root.propagate)
    lines = io.StringIO()
    logs.configure("debug", stream=lines)
    yield lines
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


@pytest.fixture(scope="session")
def base_directory() -> Path:
    """Where the default base lies after `make setup`. Without it a test fails and says how to get it: a skip would
    hide that half of the suite did not run."""
    settings = load_settings()
    return registry.existing(registry.MODELS[base.NAME], settings)


@pytest.fixture(scope="session")
def base_tokenizer(base_directory: Path) -> Tokenizer:
    """The tokenizer of the default base."""
    return Tokenizer.load(base_directory)


@pytest.fixture
def forethought(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_checkpoint: Path, tmp_path: Path
) -> CommandLine:
    """Runs the command line over the tiny checkpoint."""
    return CommandLine(monkeypatch, capsys, tiny_checkpoint, tmp_path / "cache")


@pytest.fixture
def counting_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpecMaker:
    """Makes specs of an engine process that counts instead of computing. Its temporary files go to `tmp_path`."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "digest").write_text("sha256:1")

    def make(factory: str = "build", **engine: object) -> EngineSpec:
        settings = Settings(engine=EngineSettings.model_validate(engine))
        return EngineSpec(tmp_path, None, settings, f"engine_double:{factory}")

    return make
