"""What is learned: problems of one family as conversations with worked examples in front, the same for all contestants.

The base gets next to nothing right when it is merely asked, and rewards that are all 0 teach nothing. A worked example
shows it the form: a line of steps, then a line with the answer alone, which is what counts.
"""

from random import Random
from typing import Any

from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Effort, Message, Thinking
from forethought.tasks.distinct import distinct_problems
from forethought.tasks.problem import Problem, Split
from forethought.tasks.registry import family

FAMILY = "letter_count"
"""Its verifier compares the answer with the right one, letter for letter, so it can be one in any Python."""

LEVEL = 1
EFFORT: Effort = "medium"
EXAMPLES = 1

PROMPTS, SAMPLES, NEW_TOKENS = 16, 8, 96
"""Of a step: problems, attempts at each, and tokens of an attempt at most."""

LEARNING_RATES = {"all": 1e-5, "adapter": 1e-4}
RANK, ALPHA = 16, 32


def problems(checkpoint: Checkpoint, split: Split, count: int) -> list[dict[str, Any]]:
    """So many distinct problems, as messages and as the token ids of the prompt, each with its answer."""
    kind = family(FAMILY)
    shown = distinct_problems(kind, LEVEL, "train", EXAMPLES)
    keys = {example.key for example in shown}
    found = [each for each in distinct_problems(kind, LEVEL, split, count + EXAMPLES) if each.key not in keys]
    messages = [message for example in shown for message in (_asked(example), _worked(example))]
    asked = [(each, [*messages, _asked(each)]) for each in found[:count]]
    return [
        {
            "messages": [{"role": message.role, "content": message.text} for message in conversation],
            "ids": list(checkpoint.renderer.render(Conversation(tuple(conversation)), think=False).token_ids),
            "answer": _solved(problem)[1],
        }
        for problem, conversation in asked
    ]


def _asked(problem: Problem) -> Message:
    question = problem.conversation.items[-1]
    assert isinstance(question, Message)
    return question


def _worked(problem: Problem) -> Message:
    return Message.of("assistant", "\n".join(_solved(problem)))


def _solved(problem: Problem) -> tuple[str, str]:
    """The steps, and the answer."""
    trace = family(FAMILY).trace(problem, EFFORT, Random(problem.seed))
    steps = "".join(item.text for item in trace if isinstance(item, Thinking))
    (answer,) = (item.text for item in trace if isinstance(item, Message))
    return steps, answer
