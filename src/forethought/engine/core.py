"""The engine's core: takes requests, runs steps, yields events. Synchronous, and for one thread.

A step is a declared boundary: when the arithmetic fails, the requests that were running end with "error" and the core
goes on with the others.
"""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from time import perf_counter
from typing import Any

import numpy as np
import torch

from forethought import logs
from forethought.engine.batch import BatchBuilder
from forethought.engine.blocks import BlockManager, blocks_for
from forethought.engine.grammar import GrammarCompiler
from forethought.engine.machine import threads_for
from forethought.engine.metrics import EngineMetrics
from forethought.engine.protocol import EngineEvent, Request, StopReason, TokenEvent
from forethought.engine.refusals import id_in_flight
from forethought.engine.request_check import check_request
from forethought.engine.row_blocks import Float32
from forethought.engine.runner import BLOCK_SIZE, Int32, Runner
from forethought.engine.sampler import RowSettings, Sampled, SampledRow, Sampler
from forethought.engine.scheduler import Plan, Scheduler
from forethought.engine.sequence import Sequence
from forethought.engine.stops import StopStrings
from forethought.errors import GrammarFailed
from forethought.model.digest import json_digest, tensor_records
from forethought.model.tokenizer import Tokenizer
from forethought.settings import EngineSettings

log = logs.get_logger(__name__)

Events = list[tuple[str, EngineEvent]]
Ending = tuple[StopReason, str | None]


class EngineCore:
    """Continuous batching over a runner.

    Args:
        context_length: most tokens of prompt and answer; less where the KV cache holds less.
        digest: of the checkpoint whose tensors the runner has loaded.
    """

    def __init__(
        self, runner: Runner, tokenizer: Tokenizer, settings: EngineSettings, context_length: int, digest: str = ""
    ) -> None:
        self.context_length = min(context_length, runner.blocks * BLOCK_SIZE)
        self._digest = digest
        self._replaced: dict[str, list[Any]] = {}
        self._runner = runner
        most = blocks_for(self.context_length)
        self._blocks = BlockManager(runner.blocks, most=most, sharing=settings.prefix_sharing)
        self._scheduler = Scheduler(self._blocks, settings)
        self._batches = BatchBuilder(settings.max_step_tokens, settings.max_running, most)
        self._sampler = Sampler(runner.vocab_size, threads_for(settings))
        self._grammars = GrammarCompiler(tokenizer, runner.vocab_size, threads_for(settings))
        self._bytes_of = lru_cache(maxsize=1 << 16)(tokenizer.token_bytes)
        self._sequences: dict[str, Sequence] = {}
        self._pending: Events = []
        self._rows: list[Sequence] = []
        self._row_settings = RowSettings([])
        self._metrics = EngineMetrics(total_blocks=runner.blocks)

    @property
    def digest(self) -> str:
        """The digest of the checkpoint as loaded. After `update_weights` that of no checkpoint, but of what was
        loaded and the tensors that replace some of it."""
        if not self._replaced:
            return self._digest
        records = [self._replaced[name] for name in sorted(self._replaced)]
        return json_digest({"loaded": self._digest, "replaced": records})

    @property
    def has_work(self) -> bool:
        """Whether `step` has something to do."""
        return bool(self._sequences or self._pending)

    @property
    def queued(self) -> int:
        """Requests that wait."""
        return len(self._scheduler.waiting)

    def add(self, request: Request) -> None:
        """Queues a request.

        Raises:
            QueueFull: too many wait.
            RequestError: something about it cannot be done; its id is in flight. `ContextLengthError`,
                `GrammarError` are such.
        """
        self._scheduler.check_room()
        self.enqueue(self.prepare(request))

    def prepare(self, request: Request) -> Sequence:
        """Checks a request and compiles its grammar. May be called from any thread. Raises what `add` raises, except
        `QueueFull`."""
        runner = self._runner
        sizes = {"vocab_size": runner.vocab_size, "hidden_size": runner.hidden_size}
        check_request(request, **sizes, context_length=self.context_length)
        limits, grammar, seed = request.limits, request.grammar, request.sampling.seed
        return Sequence(
            request,
            length_limit=self.context_length,
            seed=secrets.randbits(63) if seed is None else seed,
            stops=StopStrings(limits.stop_strings, self._bytes_of) if limits.stop_strings else None,
            grammar=None if grammar is None else self._grammars.compile(grammar, limits.stop_token_ids),
        )

    def enqueue(self, sequence: Sequence) -> None:
        """Queues what `prepare` returned. Raises `RequestError` if its id is in flight."""
        if sequence.id in self._sequences:
            raise id_in_flight(sequence.id)
        self._sequences[sequence.id] = sequence
        self._scheduler.add(sequence)
        self._metrics.requests += 1

    def cancel(self, request_id: str) -> None:
        """Ends a request and frees its memory at once; the next step yields its `Finished`. Unknown ids are
        ignored."""
        sequence = self._sequences.get(request_id)
        if sequence is not None:
            self._end(sequence, "cancelled", self._pending)

    def step(self) -> Events:
        """Computes one batch. The events of all requests, in order within each."""
        began = perf_counter()
        events, self._pending = self._pending, []
        if not self._sequences:
            return events
        metrics = self._metrics
        counted = metrics.forward_seconds + metrics.sampling_seconds
        try:
            self._compute(self._scheduler.schedule(), events)
        except Exception as error:  # noqa: BLE001 (the boundary of a step: what ran ends, the rest goes on)
            log.error("step failed", error=error, running=len(self._scheduler.running))
            for sequence in list(self._scheduler.running):
                self._end(sequence, "error", events, f"The engine's step failed: {error}", discard=True)
        metrics.steps += 1
        counted = metrics.forward_seconds + metrics.sampling_seconds - counted
        metrics.other_seconds += perf_counter() - began - counted
        return events

    def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replaces tensors by name. Requests in flight go on with the new weights: what they have emitted stays, its
        KV is computed again.

        Raises:
            CheckpointError: a name is unknown or a shape is wrong; then nothing has changed.
        """
        self._runner.update_weights(tensors)
        self._scheduler.preempt_all()
        self._replaced |= {record[0]: record for record in tensor_records(tensors)}

    def metrics(self) -> EngineMetrics:
        """A snapshot."""
        scheduler = self._scheduler
        return replace(
            self._metrics,
            queued=len(scheduler.waiting),
            running=len(scheduler.running),
            free_blocks=self._blocks.available,
            preemptions=scheduler.preemptions,
            cached_tokens=scheduler.cached_tokens,
        )

    @torch.inference_mode()
    def _compute(self, plan: Plan, events: Events) -> None:
        for source, target in plan.copies:
            self._runner.copy_block(source, target)
        batch, rows = self._batches.build(plan)
        began = perf_counter()
        logits_RV = self._runner.forward(batch)
        self._metrics.forward_seconds += perf_counter() - began
        for sequence, count in plan.counts:
            if sequence.computed < sequence.prompt_length:
                self._metrics.prefill_tokens += min(count, sequence.prompt_length - sequence.computed)
            self._scheduler.advance(sequence, count)
        if rows:
            self._sample(logits_RV.to("cpu", torch.float32).numpy(), rows, events)

    def _sample(self, logits_RV: Float32, rows: list[Sequence], events: Events) -> None:
        began = perf_counter()
        if rows != self._rows:
            self._rows, self._row_settings = rows, RowSettings([_row(sequence) for sequence in rows])
        emitted_R = np.array([sequence.produced for sequence in rows], np.int64)
        thinking = ((row, sequence.forced_token()) for row, sequence in enumerate(rows) if sequence.thinking)
        forced = {row: token for row, token in thinking if token is not None}
        masks, ended = self._masks(rows, forced)
        sampled = self._sampler.sample(logits_RV, self._row_settings, emitted_R, masks)
        self._metrics.sampling_seconds += perf_counter() - began
        self._emit(rows, sampled, forced, ended, events)

    def _masks(self, rows: list[Sequence], forced: dict[int, int]) -> tuple[dict[int, Int32], dict[int, Ending]]:
        """Grammar masks by row, and the rows that end without another token."""
        states = [
            (row, sequence.grammar)
            for row, sequence in enumerate(rows)
            if sequence.grammar is not None and sequence.grammar.active and row not in forced
        ]
        masks: dict[int, Int32] = {}
        ended: dict[int, Ending] = {}
        if states:
            masks_GW = self._grammars.masks([state for _, state in states])
            for (row, state), mask_W in zip(states, masks_GW, strict=True):
                try:
                    if state.allow(mask_W, self._runner.vocab_size):
                        masks[row] = mask_W
                    else:
                        ended[row] = "grammar", None
                except GrammarFailed as error:
                    ended[row] = "grammar_failed", str(error)
        return masks, ended

    def _emit(
        self, rows: list[Sequence], sampled: Sampled, forced: dict[int, int], ended: dict[int, Ending], events: Events
    ) -> None:
        for row in np.flatnonzero(sampled.broken_R).tolist():
            ended.setdefault(row, ("error", "The model's logits are not finite numbers. Check the weights."))
        tokens: list[int] = sampled.token_ids_R.tolist()
        for row, sequence in enumerate(rows):
            if row in ended:
                reason, error = ended[row]
                self._end(sequence, reason, events, error, discard=error is not None)
                continue
            given = forced.get(row)
            if given is None:
                given = sequence.instead_of(tokens[row])
            event = _event(sampled, row, tokens[row] if given is None else given, sequence, forced=given is not None)
            events.append((sequence.id, event))
            self._metrics.generated_tokens += 1
            try:
                reason = sequence.accept(event.token_id, forced=event.forced)
            except GrammarFailed as failure:
                self._end(sequence, "grammar_failed", events, str(failure))
                continue
            if reason is not None:
                self._end(sequence, reason, events)

    def _end(
        self,
        sequence: Sequence,
        reason: StopReason,
        events: Events,
        error: str | None = None,
        *,
        discard: bool = False,
    ) -> None:
        self._scheduler.remove(sequence, discard=discard)
        del self._sequences[sequence.id]
        events.append((sequence.id, sequence.finished(reason, error)))
        if reason == "cancelled":
            self._metrics.cancelled += 1
        else:
            self._metrics.finished += 1


def _event(sampled: Sampled, row: int, token: int, sequence: Sequence, *, forced: bool) -> TokenEvent:
    count = sequence.request.logprobs
    if count is None:
        return TokenEvent(token, forced)
    return TokenEvent(token, forced, sampled.logprob(row, token), sampled.top_logprobs(row, count) if count else ())


def _row(sequence: Sequence) -> SampledRow:
    request = sequence.request
    return SampledRow(request.sampling, sequence.seed, request.logprobs, sequence.penalties)
