"""The learner in this process: the decoder of `model` with an adapter, or with all of its weights, trained by AdamW.

What is trained is float32, with float32 gradients and moments; the arithmetic may be bfloat16, with a float32 stream
between the layers, as in the engine. The weights that it computes with are those that `publish` gives to the engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import TypeVar

import numpy as np
import torch

from forethought.engine.protocol import Engine
from forethought.errors import CheckpointError, TrainError
from forethought.model.checkpoint import Checkpoint
from forethought.model.decoder import Decoder
from forethought.model.layout import new_directory, read_object, write_object
from forethought.model.lora import LoraConfig, attach, load_adapter
from forethought.model.lora_layers import LoraLinear, TokenRowEmbedding, TokenRowHead
from forethought.model.weights import read_file, write_file
from forethought.reasoning.reasoner import Reasoner
from forethought.train.backend import Adapter, LearnedTokens, LearnerSettings, Loss, StepStats, packs_at_once
from forethought.train.memory import return_memory
from forethought.train.optimizer import Optimizer
from forethought.train.packing import Pack, pack_rows
from forethought.train.rows import Row
from forethought.train.scoring import predicting_states, token_logprobs

T = TypeVar("T")

STATE, STATE_TENSORS = "learner.json", "learner.safetensors"
SCHEMA_VERSION = 1


class TorchBackend:
    """A `Backend`.

    Args:
        checkpoint: what to train. One with an adapter goes on with that adapter.
        adapter: a fresh one, for a checkpoint that has none (`train.adapter.fresh_adapter`).
        engine: what to sample with: started, of the same checkpoint.
        keep_reference: keeps a copy of what is trained as it begins, for `logprobs(reference=True)`.
        teacher: whose states taught tokens come with; the checkpoint without its adapter, when none is given.
        device: where the learner computes. Sums are rounded in the same order every time on a CPU only.

    Raises:
        TrainError: an adapter shall be trained, and there is none, or two.
        CheckpointError: the weights cannot be read, or the adapter does not fit them.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        settings: LearnerSettings | None = None,
        *,
        adapter: Adapter | None = None,
        engine: Engine | None = None,
        keep_reference: bool = False,
        teacher: Checkpoint | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self._settings = settings = settings or LearnerSettings()
        self._source, self._engine = checkpoint, engine
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self._dtype = torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
        self._lora: LoraConfig | None = None
        self.trained: dict[str, torch.Tensor]
        """What the optimiser moves, by name; float32."""
        if settings.train == "all":
            self.decoder = Decoder.from_tensors(checkpoint.config, checkpoint.merged_tensors(), self._dtype, device)
            self.trained = self._all_weights()
        else:
            adapter = _the_adapter(checkpoint, adapter)
            base = checkpoint.tensors()
            self.decoder = Decoder.from_tensors(checkpoint.config, base, self._dtype, device)
            self._lora = adapter.config
            rounded = self._dtype != torch.float32
            unrounded = {name: tensor.to(device) for name, tensor in base.items()} if rounded else None
            self.trained = dict(attach(self.decoder, adapter.config, adapter.tensors, unrounded))
            if isinstance(self.decoder.lm_head, LoraLinear):
                raise TrainError(
                    "The adapter changes lm_head by a low-rank update, which is not trained here.",
                    "Merge it into the base first, or train all weights.",
                )
        self._computed = dict(self.decoder.named_parameters()) if self._lora is None else self.trained
        """What gradients are taken of, by the same names: the trained, or what was rounded from them."""
        self.decoder.train(engine is None)  # what is sampled has nothing dropped, so neither has what learns from it
        self._optimizer = Optimizer(self.trained, settings)
        self._reference = self._copies() if keep_reference else None
        self._teacher = teacher
        self._teacher_VC: torch.Tensor | None = None
        self._lock = Lock()

    @property
    def checkpoint(self) -> Checkpoint:
        """What is being trained, as it began; it declares what it is being taught, as far as its format has it."""
        renderer, capabilities = self._source.renderer, self._source.capabilities
        taught = {"thinks": renderer.thinking is not None, "calls_tools": renderer.calls is not None}
        return replace(self._source, capabilities=capabilities.model_copy(update=taught))

    @property
    def reasoner(self) -> Reasoner:
        """Samples with the weights of the last `publish`. Raises `TrainError` without an engine."""
        return Reasoner(self.checkpoint, self._the_engine())

    def forward_backward(self, rows: Sequence[Row], loss: Loss, scale: float) -> StepStats:
        """See `Backend`."""
        began = perf_counter()
        packs = self._packs(rows)
        logprobs_N = np.zeros(sum(row.learned_tokens for row in rows), np.float32)
        total = 0.0
        # In the order of the packs, so that sums are rounded alike however many threads there are.
        for pack, learned in zip(packs, self._each(partial(self._learn, loss=loss, scale=scale), packs), strict=True):
            logprobs_N[pack.order_N.numpy()] = learned.logprobs_N.cpu().numpy()
            total += learned.loss
            self._gather(learned.gradients)
        return StepStats(
            loss=total,
            tokens=sum(pack.tokens for pack in packs),
            learned=len(logprobs_N),
            packs=len(packs),
            seconds=perf_counter() - began,
            logprobs_N=logprobs_N,
        )

    def optimizer_step(self, learning_rate: float) -> float:
        """See `Backend`."""
        norm = self._optimizer.step(learning_rate)
        self._round()
        return norm

    def logprobs(self, rows: Sequence[Row], *, reference: bool = False) -> np.ndarray:
        """See `Backend`."""
        if reference and self._reference is None:
            raise TrainError("No reference was kept.", "Make the backend with keep_reference.")
        present = self._copies() if reference else None
        if reference:
            self._put(self._reference)
        logprobs_N = np.zeros(sum(row.learned_tokens for row in rows), np.float32)
        training = self.decoder.training
        self.decoder.eval()
        try:
            with torch.no_grad():
                packs = self._packs(rows)
                for pack, of_pack in zip(packs, self._each(self._logprobs, packs), strict=True):
                    logprobs_N[pack.order_N.numpy()] = of_pack.cpu().numpy()
        finally:
            self.decoder.train(training)
            if present is not None:
                self._put(present)
        return logprobs_N

    async def publish(self) -> None:
        """See `Backend`."""
        await self._the_engine().update_weights(self.merged())
        return_memory()

    def merged(self) -> dict[str, torch.Tensor]:
        """The weights that differ from the checkpoint's base, as they are computed with, by Hugging Face's names."""
        if self._lora is None:
            return {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.decoder.state_dict().items()}
        merged: dict[str, torch.Tensor] = {}
        modules: dict[str, torch.nn.Module] = dict(self.decoder.named_modules())  # pyright: ignore[reportUnknownArgumentType]
        for name, module in modules.items():
            if isinstance(module, LoraLinear):
                merged[f"{name}.weight"] = module.merged().detach().cpu()
            elif isinstance(module, TokenRowEmbedding | TokenRowHead):
                merged[f"{name}.weight"] = module.token_adapter.merged(module.weight).detach().cpu()
        return merged

    def save_state(self, directory: Path) -> None:
        """See `Backend`."""
        tensors = {f"trained.{name}": tensor.detach() for name, tensor in self.trained.items()}
        with new_directory(directory) as partial:
            write_file(partial / STATE_TENSORS, tensors | self._optimizer.state())
            write_object(partial / STATE, {"schema_version": SCHEMA_VERSION, "steps": self._optimizer.steps})

    def load_state(self, directory: Path) -> None:
        """See `Backend`."""
        state = read_object(directory / STATE)
        if state.get("schema_version") != SCHEMA_VERSION:
            message = f"The state in {directory} has schema version {state.get('schema_version')}."
            raise CheckpointError(message, "Go on with the Forethought that wrote it, or begin anew.")
        tensors = read_file(directory / STATE_TENSORS)
        kept = {name: tensors.get(f"trained.{name}") for name in self.trained}
        present = {name: tensor for name, tensor in kept.items() if tensor is not None}
        shapes = {name: tensor.shape for name, tensor in present.items()}
        if shapes != {name: tensor.shape for name, tensor in self.trained.items()}:
            raise CheckpointError(f"The state in {directory} is of another model.", "Take the state of this run.")
        self._put(present)
        self._optimizer.resume(tensors, int(state["steps"]))

    def adapter(self) -> Adapter | None:
        """See `Backend`."""
        return None if self._lora is None else Adapter(self._lora, self._copies())

    def save_checkpoint(self, directory: Path) -> Checkpoint:
        """See `Backend`."""
        taught = self.checkpoint.capabilities
        if self._lora is None:
            return self._source.save(directory, self.merged(), taught)
        tensors = {name: tensor.to(torch.bfloat16) for name, tensor in self._copies().items()}
        return self._source.save_adapter(directory, self._lora, tensors, taught)

    def _packs(self, rows: Sequence[Row]) -> list[Pack]:
        return pack_rows(rows, self._settings.pack_tokens, self._source.config.max_positions)

    def _logprobs(self, pack: Pack) -> torch.Tensor:
        """The learned tokens' log-probabilities, in the pack's order."""
        teacher_VC = None if pack.taught is None or self._lora is not None else self._teacher_table()
        hidden_NC = predicting_states(self.decoder, pack)
        taught = None if pack.taught is None else pack.taught.to(hidden_NC.device)
        return token_logprobs(self.decoder, hidden_NC, pack.targets_N.to(hidden_NC.device), taught, teacher_VC)

    def _teacher_table(self) -> torch.Tensor:
        """The teacher's output table, when the one that is trained is not it any more."""
        with self._lock:
            if self._teacher_VC is None:
                teacher = self._teacher or Checkpoint.open(self._source.directory)
                name = "model.embed_tokens.weight" if teacher.config.tied else "lm_head.weight"
                self._teacher_VC = teacher.tensors()[name].to(self.decoder.device, self._dtype)
            return self._teacher_VC

    def _learn(self, pack: Pack, loss: Loss, scale: float) -> _Learned:
        """One pack forward and backward."""
        logprobs_N = self._logprobs(pack)
        numbers = (pack.sampler_logprobs_N, pack.reference_logprobs_N)
        sampler_N, reference_N = (None if each is None else each.to(logprobs_N.device) for each in numbers)
        tokens = LearnedTokens(logprobs_N, pack.advantages_N.to(logprobs_N.device), sampler_N, reference_N)
        scaled = loss(tokens).sum() * scale
        gradients = torch.autograd.grad(scaled, list(self._computed.values()), allow_unused=True)
        return _Learned(logprobs_N.detach(), scaled.item(), gradients)

    def _gather(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Adds gradients of what is computed with to those of what is trained."""
        for name, gradient in zip(self._computed, gradients, strict=True):
            master = self.trained[name]
            if gradient is None:
                continue
            if master.grad is None:
                # In the layout of what is trained: the fused optimiser reads both as they lie in memory.
                master.grad = torch.empty_like(master).copy_(gradient)
            else:
                master.grad.add_(gradient)

    def _each(self, work: Callable[[Pack], T], packs: Sequence[Pack]) -> Iterator[T]:
        """The work on each pack, in order. Packs are worked on side by side, which keeps threads busier than sharing
        out every single product."""
        threads = torch.get_num_threads()
        workers = min(packs_at_once(threads), len(packs)) if self.decoder.device.type == "cpu" else 1
        # What is dropped is drawn from a generator that all threads share: in turn, or not the same the next time.
        if workers == 1 or (self._lora is not None and self._lora.dropout and self.decoder.training):
            yield from map(work, packs)
            return
        grad_enabled = torch.is_grad_enabled()

        def work_apart(pack: Pack) -> T:
            with torch.set_grad_enabled(grad_enabled):
                return work(pack)

        try:
            with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:
                waiting: deque[Future[T]] = deque()
                for pack in packs:
                    waiting.append(pool.submit(work_apart, pack))
                    # What is done waits for its turn with all of its gradients, so few may.
                    if len(waiting) > workers:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
        finally:
            # A thread's number of threads is its own, but the last that was set is also that of any new one.
            torch.set_num_threads(threads)

    def _all_weights(self) -> dict[str, torch.Tensor]:
        """The decoder's own parameters in float32; for arithmetic in bfloat16, copies of them."""
        own = dict(self.decoder.named_parameters())
        if self._dtype == torch.float32:
            return dict(own)
        whole = self._source.merged_tensors()
        return {name: torch.nn.Parameter(whole[name].to(self.decoder.device, copy=True)) for name in own}

    def _round(self) -> None:
        """Makes the weights that are computed with anew from those that are trained."""
        if self._lora is None and self._dtype != torch.float32:
            self.decoder.replace({name: tensor.detach() for name, tensor in self.trained.items()})

    def _copies(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.trained.items()}

    @torch.no_grad()
    def _put(self, tensors: Mapping[str, torch.Tensor] | None) -> None:
        for name, tensor in (tensors or {}).items():
            self.trained[name].copy_(tensor)
        self._round()

    def _the_engine(self) -> Engine:
        if self._engine is None:
            raise TrainError("This backend has no engine to sample with.", "Make it with a started engine.")
        return self._engine


@dataclass(frozen=True, slots=True)
class _Learned:
    """What came of a pack; the gradients are in the order of what is computed with, None where it was not used."""

    logprobs_N: torch.Tensor
    loss: float
    gradients: tuple[torch.Tensor | None, ...]


def _the_adapter(checkpoint: Checkpoint, given: Adapter | None) -> Adapter:
    if checkpoint.adapter is not None:
        if given is not None:
            raise TrainError("The checkpoint has an adapter, and another one was given.", "Give one of them.")
        config, tensors = load_adapter(checkpoint.adapter)
        return Adapter(config, {name: tensor.float() for name, tensor in tensors.items()})
    if given is None:
        raise TrainError("There is no adapter to train.", "Make one with fresh_adapter, or train all weights.")
    return given
