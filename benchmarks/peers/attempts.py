"""Attempts by our engine, read from its streams as the rollouts of `rl` are."""

import asyncio
from collections.abc import Sequence
from typing import Any

from learning import reward

from forethought.engine.protocol import EventStream, Finished, Limits, Request, Sampling, TokenEvent
from forethought.model.checkpoint import Checkpoint
from forethought.reasoning.reasoner import Reasoner
from forethought.train.seeds import seed_of


async def attempts(
    reasoner: Reasoner, problems: Sequence[dict[str, Any]], job: dict[str, Any], place: object
) -> list[list[list[TokenEvent]]]:
    """`samples` attempts at each problem at temperature 1, all at once. `place` makes their seeds."""
    limits = Limits(job["new_tokens"], tuple(job["stop_ids"]))

    def request(number: int, sample: int) -> Request:
        sampling = Sampling(seed=seed_of(job["seed"], place, number, sample))
        return Request(f"{place}-{number}-{sample}", tuple(problems[number]["ids"]), limits, sampling, logprobs=0)

    async with asyncio.TaskGroup() as tasks:
        running = [
            [
                tasks.create_task(_tokens(reasoner.engine.submit(request(number, sample))))
                for sample in range(job["samples"])
            ]
            for number in range(len(problems))
        ]
    return [[task.result() for task in group] for group in running]


async def _tokens(stream: EventStream) -> list[TokenEvent]:
    """A stream, read to its end."""
    tokens: list[TokenEvent] = []
    async for event in stream:
        for each in (event, *stream.ready()):
            if isinstance(each, TokenEvent):
                tokens.append(each)
            elif isinstance(each, Finished) and each.error is not None:
                raise RuntimeError(each.error)
    return tokens


def rewarded(checkpoint: Checkpoint, group: Sequence[Sequence[TokenEvent]], answer: str) -> list[float]:
    """The rewards of the attempts at a problem."""
    tokenizer = checkpoint.tokenizer
    texts = (
        tokenizer.decode(token.token_id for token in tokens if token.token_id not in tokenizer.special_ids)
        for tokens in group
    )
    return [reward(text, answer) for text in texts]
