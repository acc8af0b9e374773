"""What a request must be like before it is queued: a wrong one is refused here and never disturbs the others."""

from forethought.engine.protocol import EmbeddingSpan, Grammar, Limits, Request, ThinkingBudget
from forethought.errors import ContextLengthError, GrammarError, RequestError


def check_request(request: Request, *, vocab_size: int, hidden_size: int, context_length: int) -> None:
    """Raises `RequestError`, `ContextLengthError` or `GrammarError` with what is wrong and how to mend it.

    Prompt and `max_tokens` together may exceed the context: the answer then ends with "context".
    """
    check_length(request, context_length)
    _check_ids("prompt_ids", request.prompt_ids, vocab_size)
    _check_spans(request.spans, len(request.prompt_ids), hidden_size)
    _check_limits(request.limits, vocab_size)
    if request.limits.thinking is not None:
        _check_thinking(request.limits.thinking, request.grammar, vocab_size)
    if request.logprobs is not None and not 0 <= request.logprobs <= vocab_size:
        raise RequestError(f"logprobs is {request.logprobs}.", f"It must be between 0 and {vocab_size}, or None.")


def check_length(request: Request, context_length: int) -> None:
    """The part of `check_request` that needs no model: whether there is a prompt and room for an answer."""
    prompt = len(request.prompt_ids)
    if not prompt:
        raise RequestError("The prompt is empty.", "Give at least one token.")
    if prompt >= context_length:
        message = f"The prompt has {prompt} tokens; the context holds {context_length}, the answer included."
        raise ContextLengthError(message, "Shorten the prompt.")


def _check_limits(limits: Limits, vocab_size: int) -> None:
    if limits.max_tokens < 1:
        raise RequestError(f"max_tokens is {limits.max_tokens}.", "It must be at least 1.")
    _check_ids("stop_token_ids", limits.stop_token_ids, vocab_size)
    if not all(limits.stop_strings):
        raise RequestError("A stop string is empty.", "Leave it out.")


def _check_thinking(budget: ThinkingBudget, grammar: Grammar | None, vocab_size: int) -> None:
    for name in ("max_tokens", "reserve"):
        if getattr(budget, name) < 0:
            raise RequestError(f"The thinking budget's {name} is {getattr(budget, name)}.", "It must be 0 or more.")
    if not budget.end_ids:
        raise RequestError("The thinking budget has no end_ids.", "Give the tokens that end the thinking.")
    _check_ids("the thinking budget's ids", (budget.start_id, *budget.end_ids), vocab_size)
    if grammar is not None and grammar.start_after != budget.end_id:
        raise GrammarError(
            "The grammar would apply inside the thinking, whose forced end it may not allow.",
            f"Set its start_after to {budget.end_id}, the end of the thinking.",
        )


def _check_ids(name: str, ids: tuple[int, ...], vocab_size: int) -> None:
    if ids and not 0 <= min(ids) <= max(ids) < vocab_size:
        wrong = min(ids) if min(ids) < 0 else max(ids)
        raise RequestError(f"{name}: there is no token {wrong}.", f"Ids must be between 0 and {vocab_size - 1}.")


def _check_spans(spans: tuple[EmbeddingSpan, ...], prompt: int, hidden_size: int) -> None:
    end = 0
    for span in sorted(spans, key=lambda span: span.position):
        shape = tuple(span.embeddings_TD.shape)
        if len(shape) != 2 or not shape[0] or shape[1] != hidden_size:
            message = f"The embeddings of a span have the shape {shape}."
            raise RequestError(message, f"Give one row of {hidden_size} values for each replaced token.")
        if span.position < end or span.position + shape[0] > prompt:
            message = (
                f"The span at position {span.position} of {shape[0]} tokens overlaps another or leaves the prompt."
            )
            raise RequestError(message, "Spans stand apart, inside the prompt.")
        if not span.embeddings_TD.float().isfinite().all():
            message = f"The embeddings of the span at position {span.position} are not finite numbers."
            raise RequestError(message, "Check the input and the model that they were computed from.")
        end = span.position + shape[0]
