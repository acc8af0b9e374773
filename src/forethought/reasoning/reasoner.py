"""The way from a conversation to a turn: render it, set the budget and the grammar, submit it.

Nothing is accepted and ignored: an effort for a checkpoint that does not think, an image whose embeddings are missing
or a stop string that is empty is an error before the engine hears of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Unpack

from forethought.engine.grammar_source import check_grammar
from forethought.engine.protocol import EmbeddingSpan, Engine, Grammar, Limits, Request, Sampling, ThinkingBudget
from forethought.errors import ContextLengthError, RequestError
from forethought.model.conversation import Conversation, Effort, ToolCall
from forethought.reasoning.answer_text import LogprobQueue, StopCutter
from forethought.reasoning.assembly import Assembly
from forethought.reasoning.effort import DEFAULT_EFFORT, answer_reserve, thinking_budget
from forethought.reasoning.format import FreeText, OutputFormat
from forethought.reasoning.output_grammar import format_grammar, output_grammar
from forethought.reasoning.tool_choice import CallBounds, ToolChoice, call_bounds
from forethought.reasoning.turn import PreparedTurn, Turn
from forethought.reasoning.turn_options import SamplingOverrides, TurnOptions

if TYPE_CHECKING:
    import torch

    from forethought.model.checkpoint import Checkpoint
    from forethought.model.renderer.protocol import Parser, Prompt

MAX_LOGPROBS = 20
FREE_TEXT = FreeText()


@dataclass(frozen=True, slots=True)
class Reasoner:
    """Takes turns with one checkpoint on one (started) engine. Holds no state of its own."""

    checkpoint: Checkpoint
    engine: Engine

    @property
    def context_length(self) -> int:
        """Tokens of prompt and output together. Raises `EngineDown` before the engine's start."""
        return self.engine.context_length

    @property
    def digest(self) -> str:
        """Of the checkpoint as the engine has loaded it. Raises `EngineDown` before the engine's start."""
        return self.engine.digest

    def prepare(
        self,
        conversation: Conversation,
        *,
        effort: Effort | None = None,
        think: bool | None = None,
        output_format: OutputFormat = FREE_TEXT,
        tool_choice: ToolChoice = "auto",
        parallel_tool_calls: bool = True,
        max_output_tokens: int | None = None,
        stop: tuple[str, ...] = (),
        sampling: SamplingOverrides | None = None,
        seed: int | None = None,
        logprobs: int | None = None,
        priority: int = 0,
        images: Mapping[str, torch.Tensor] | None = None,
    ) -> PreparedTurn:
        """The model's next output, ready to be queued. May be called from any thread: a long conversation takes long to
        become tokens.

        Args:
            effort: how much to think; None takes the conversation's, or medium. The conversation's own `budget`, when
                set, replaces the number of tokens that the effort stands for.
            think: None does as the checkpoint declares. True makes an untrained model think, False keeps any from it.
            output_format: what the answer must look like. Thinking is never bound by it, nor are tool calls.
            tool_choice: whether tools may or must be called, and which.
            parallel_tool_calls: whether there may be several calls.
            max_output_tokens: thinking and answer together; None allows what the context holds.
            stop: strings that end the visible answer. They are cut off, and looked for in messages only.
            sampling: what differs from the checkpoint's generation defaults.
            seed: makes the turn reproducible; None draws one.
            logprobs: log-probabilities of the visible tokens, and of this many alternatives each.
            priority: lower runs first.
            images: embeddings_TD of each image in the conversation, by its content hash; T as the image says.

        Raises:
            RequestError: something that was asked for cannot be done (`ContextLengthError`, `RenderError`,
                `GrammarError` among them).
            EngineDown: the engine has not been started.
        """
        _check_options(max_output_tokens, stop, logprobs)
        bounds = call_bounds(conversation.tools, tool_choice, parallel=parallel_tool_calls)
        conversation = self._with_effort(conversation, effort, think, max_output_tokens)
        prompt = self.checkpoint.renderer.render(conversation, think=conversation.budget is not None)
        max_tokens = self._room(prompt, max_output_tokens)
        thinking = self._thinking(conversation.budget, prompt, max_tokens)
        grammar = self._grammar(conversation, bounds, output_format, prompt)
        if grammar is not None and grammar.start_after is None:
            # Bound from its first token, the output cannot open a thinking that would have to be closed.
            thinking = None
        request = Request(
            id="",
            prompt_ids=prompt.token_ids,
            limits=Limits(max_tokens, self._stop_token_ids(), thinking=thinking),
            sampling=self._sampling(sampling or {}, seed),
            grammar=grammar,
            spans=_spans(prompt, images or {}),
            logprobs=logprobs,
            priority=priority,
        )

        def assembly() -> Assembly:
            return Assembly(
                self._parser(conversation, output_format, prompt),
                StopCutter(stop),
                LogprobQueue(self.checkpoint.tokenizer.token_bytes),
                frozenset(tool.name for tool in bounds.tools),
                "max_output_tokens" if max_tokens == max_output_tokens else "context",
            )

        return PreparedTurn(self.engine, request, assembly)

    def turn(self, conversation: Conversation, **options: Unpack[TurnOptions]) -> Turn:
        """Queues the model's next output and returns its events: `prepare`, with the same options, and `submit`.

        Raises:
            RequestError: something that was asked for cannot be done.
            QueueFull: the engine has no room.
            EngineDown: the engine is not running.
        """
        return self.prepare(conversation, **options).submit()

    def prompt(
        self,
        conversation: Conversation,
        *,
        effort: Effort | None = None,
        think: bool | None = None,
        max_output_tokens: int | None = None,
    ) -> Prompt:
        """The prompt that `turn` would begin with, whether it fits the context or not.

        Raises:
            RequestError: something that was asked for cannot be done.
        """
        conversation = self._with_effort(conversation, effort, think, max_output_tokens)
        return self.checkpoint.renderer.render(conversation, think=conversation.budget is not None)

    def _with_effort(
        self, conversation: Conversation, effort: Effort | None, think: bool | None, max_output_tokens: int | None
    ) -> Conversation:
        """The conversation with the effort and the budget of this turn; both None when it does not think."""
        thinks = self.checkpoint.capabilities.thinks if think is None else think
        effort = effort or conversation.effort
        if not thinks:
            if effort or conversation.budget is not None:
                why = "this checkpoint does not think" if think is None else "thinking is turned off"
                raise RequestError(f"An effort cannot act here: {why}.", "Leave it out, or force thinking.")
            return conversation
        markers = self.checkpoint.renderer.thinking
        if markers is None:
            raise RequestError("The prompt format of this checkpoint has no place for thinking.", "Ask without it.")
        if not markers.single:
            raise RequestError(
                "The thinking markers of this checkpoint are several tokens each, so no budget can be kept.",
                "Add them to its tokenizer as one token each, or ask without thinking.",
            )
        effort = effort or DEFAULT_EFFORT
        budget = conversation.budget
        if budget is None:
            budget = thinking_budget(effort, self.context_length, max_output_tokens)
        return replace(conversation, effort=effort, budget=budget)

    def _stop_token_ids(self) -> tuple[int, ...]:
        return tuple({*self.checkpoint.renderer.stop_token_ids, *self.checkpoint.generation.stop_token_ids})

    def _sampling(self, overrides: SamplingOverrides, seed: int | None) -> Sampling:
        defaults = self.checkpoint.generation
        sampling = Sampling(
            temperature=defaults.temperature,
            top_p=defaults.top_p,
            top_k=defaults.top_k,
            min_p=defaults.min_p,
            repetition_penalty=defaults.repetition_penalty,
            seed=seed,
        )
        return replace(sampling, **overrides)

    def _room(self, prompt: Prompt, max_output_tokens: int | None) -> int:
        """The most tokens that the output can have."""
        length, context = len(prompt.token_ids), self.context_length
        if length >= context:
            message = f"The conversation has {length} tokens, and the context holds {context} with the answer."
            raise ContextLengthError(message, "Shorten the conversation, or begin a new one.")
        return min(context - length, max_output_tokens or context)

    def _thinking(self, budget: int | None, prompt: Prompt, max_tokens: int) -> ThinkingBudget | None:
        """How the engine bounds the thinking. A turn without any closes at once what the model opens by itself."""
        markers = self.checkpoint.renderer.thinking
        if markers is None or not markers.single:
            return None
        reserve = 0 if budget is None else answer_reserve(max_tokens)
        return ThinkingBudget(budget or 0, markers.start_id, markers.end_ids, prompt.thinking_open, reserve)

    def _grammar(
        self, conversation: Conversation, bounds: CallBounds, output_format: OutputFormat, prompt: Prompt
    ) -> Grammar | None:
        """What binds the output, from the end of the thinking on."""
        renderer = self.checkpoint.renderer
        thinking = renderer.thinking if prompt.thinking_open else None
        start_after = None if thinking is None else thinking.end_ids[-1]
        # A model that sees calls in its past may write another, though no tool is on offer any more.
        may_call = conversation.tools or any(isinstance(item, ToolCall) for item in conversation.items)
        layout = "" if thinking is None else thinking.layout
        if renderer.calls is None or not may_call:
            grammar = format_grammar(output_format, layout, start_after)
            if grammar is not None:
                check_grammar(grammar)
            return grammar
        return output_grammar(renderer.calls, bounds, output_format, layout, start_after)

    def _parser(self, conversation: Conversation, output_format: OutputFormat, prompt: Prompt) -> Parser:
        return self.checkpoint.renderer.parser(
            thinking_open=prompt.thinking_open,
            custom_tools=frozenset(tool.name for tool in conversation.tools if tool.custom is not None),
            formatted=not isinstance(output_format, FreeText),
            stops=self.checkpoint.generation.stop_token_ids,
        )


def _check_options(max_output_tokens: int | None, stop: tuple[str, ...], logprobs: int | None) -> None:
    if max_output_tokens is not None and max_output_tokens < 1:
        raise RequestError(f"max_output_tokens is {max_output_tokens}.", "It must be 1 or more.")
    if "" in stop:
        raise RequestError("A stop string is empty.", "Leave it out.")
    if logprobs is not None and not 0 <= logprobs <= MAX_LOGPROBS:
        raise RequestError(f"logprobs is {logprobs}.", f"It must be between 0 and {MAX_LOGPROBS}.")


def _spans(prompt: Prompt, images: Mapping[str, torch.Tensor]) -> tuple[EmbeddingSpan, ...]:
    missing = [place.content_hash for place in prompt.images if place.content_hash not in images]
    if missing:
        raise RequestError(f"No embeddings were given for the image {missing[0]}.", "Pass them in `images`.")
    unused = images.keys() - {place.content_hash for place in prompt.images}
    if unused:
        raise RequestError(f"The conversation has no image {min(unused)}.", "Pass only those that it holds.")
    for place in prompt.images:
        shape = tuple(images[place.content_hash].shape)
        if len(shape) != 2 or shape[0] != place.tokens:
            raise RequestError(
                f"The embeddings of the image {place.content_hash} have shape {shape}.",
                f"Pass a row for each of its {place.tokens} tokens.",
            )
    return tuple(
        EmbeddingSpan(place.position, images[place.content_hash], place.content_hash) for place in prompt.images
    )
