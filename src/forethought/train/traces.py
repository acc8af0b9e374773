"""A worked solution as a row: what the model would have read and written, token for token as serving renders it.

Only its own outputs are learned: thinking, calls and answers. The prompt, and what tools gave back, are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Literal, cast

from forethought.errors import TrainError
from forethought.model.conversation import Conversation, Effort, Item, Thinking, ToolResult
from forethought.reasoning.effort import thinking_budget
from forethought.tasks.registry import family
from forethought.train.rows import Branch, Row

if TYPE_CHECKING:
    from forethought.model.checkpoint import Checkpoint
    from forethought.tasks.problem import Problem, Transcript

Pressure = Literal["", "tight", "cut"]
"""How little thinking is allowed: as the effort has it, just enough, or not enough."""

ROOM = 3
"""A tight budget is at most so many times what is needed."""


def worked(problem: Problem, effort: Effort, rng: Random) -> Transcript | None:
    """A worked solution; None of a family that has none (`gym:NAME`), which can only be tried."""
    known = family(problem.family)
    return known.trace(problem, effort, rng) if known.has_traces else None


def trace_row(
    checkpoint: Checkpoint,
    conversation: Conversation,
    transcript: Transcript,
    effort: Effort | None,
    *,
    rng: Random,
    pressure: Pressure = "",
) -> Row:
    """The row of one solution; without an effort, of one that needs no thinking. The budget that the prompt tells is
    what the effort stands for, or under `pressure` a `tight_budget` or a `cut_budget`. Thinking that is cut ends there,
    as if the engine had ended it; in solutions of several turns none is.

    Raises:
        RenderError: the transcript holds what no output can hold.
        TrainError: its turns do not continue each other in this checkpoint's format.
    """
    renderer = checkpoint.renderer
    thinks = effort is not None
    outputs = [(results, _thought(items) if thinks else items) for results, items in _outputs(transcript)]
    said, cut = conversation, pressure == "cut" and thinks and len(outputs) == 1
    budget = 0
    if effort is not None:
        budget = thinking_budget(effort, checkpoint.capabilities.context_length)
        if cut:
            budget = cut_budget(checkpoint, transcript, rng)
        elif pressure:
            budget = tight_budget(checkpoint, transcript, budget, rng)
        said = replace(conversation, effort=effort, budget=budget)
    prompt: tuple[int, ...] = ()
    token_ids: list[int] = []
    learned: list[bool] = []
    for results, items in outputs:
        said = replace(said, items=(*said.items, *results))
        present = renderer.render(said, think=thinks).token_ids
        prompt = prompt or present
        # What came since the last output: the end of its turn, the results of tools, the next beginning.
        between = present[len(prompt) + len(token_ids) :]
        if present != (*prompt, *token_ids, *between):
            raise TrainError("A later turn does not continue the earlier one.", "Train such solutions turn by turn.")
        output = renderer.render_output(items)
        token_ids += [*between, *output]
        learned += [False] * len(between) + [True] * len(output)
        if cut:
            token_ids, learned = _cut(checkpoint, token_ids, budget)
        said = replace(said, items=(*said.items, *items))
    return Row(prompt, (Branch(tuple(token_ids), tuple(learned)),))


def _cut(checkpoint: Checkpoint, token_ids: list[int], budget: int) -> tuple[list[int], list[bool]]:
    """An output whose thinking was ended after so many tokens, and which of its tokens the model chose."""
    markers = checkpoint.renderer.thinking
    assert markers is not None
    end = list(markers.end_ids)
    place = next(index for index in range(len(token_ids)) if token_ids[index : index + len(end)] == end)
    if place <= budget:
        return token_ids, [True] * len(token_ids)
    rest = token_ids[place + len(end) :]
    return [*token_ids[:budget], *end, *rest], [*[True] * budget, *[False] * len(end), *[True] * len(rest)]


def tight_budget(checkpoint: Checkpoint, transcript: Transcript, most: int, rng: Random) -> int:
    """Thinking tokens between what the longest thinking of a worked solution needs and `ROOM` times that; above `most`
    only where that is needed."""
    needed = _needed(checkpoint, transcript)
    return rng.randint(needed, max(needed, min(most, ROOM * needed)))


def cut_budget(checkpoint: Checkpoint, transcript: Transcript, rng: Random) -> int:
    """Fewer thinking tokens than the longest thinking of a worked solution needs, so that it is ended for the model."""
    return rng.randint(1, max(1, _needed(checkpoint, transcript) - 1))


def _needed(checkpoint: Checkpoint, transcript: Transcript) -> int:
    """Tokens of the longest thinking of a worked solution."""
    thoughts = (_thought(items) for _, items in _outputs(transcript))
    return max(1, *(_thinking_tokens(checkpoint, items) for items in thoughts))


def _outputs(transcript: Transcript) -> Iterator[tuple[tuple[Item, ...], tuple[Item, ...]]]:
    """The model's outputs, each with the results of tools that came before it."""
    results: list[Item] = []
    items: list[Item] = []
    for item in transcript:
        if isinstance(item, ToolResult):
            if items:
                yield tuple(results), tuple(items)
                results, items = [], []
            results.append(item)
        else:
            items.append(item)
    if items:
        yield tuple(results), tuple(items)


def _thought(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """An output of a model that thinks begins with thinking, be it empty: its prompt opens one."""
    return items if isinstance(items[0], Thinking) else (Thinking(""), *items)


def _thinking_tokens(checkpoint: Checkpoint, items: Sequence[Item]) -> int:
    """Tokens of an output's thinking, without the marker that ends it."""
    return len(checkpoint.tokenizer.encode(cast("Thinking", items[0]).text))
