"""Acceptance: strict JSON and tool arguments are valid in every run on the real model, while it is made to think.

    python tests/acceptance/structured.py [--output docs/results/structured.json]

A thousand random schemas, by turns as the format of an answer and as a strict tool, through Responses and through Chat
Completions, sampled at the checkpoint's own temperature. Every run must end by itself, and what it wrote must be a JSON
document that the schema admits. Takes about fifteen minutes.
"""

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from outcome import write_outcome
from prompts import PROMPTS

from forethought.api import chat, responses
from forethought.api.content_keys import ContentKeys
from forethought.api.served import LOCAL_TENANT, ServedModel
from forethought.engine.native import NativeEngine
from forethought.model.registry import resolve
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import load_settings
from json_schemas import conforms, object_schemas

RUNS, AT_ONCE, SEED = 1000, 64, 20261123
MODEL = "forethought-mini"
LIMIT = 2048
"""Most tokens of a run: more than the thinking of a low effort and any document of these schemas take."""

Schema = dict[str, Any]
Written = tuple[str, str, int]
"""How a run ended, what it wrote, and the tokens of its thinking."""


def random_schemas(count: int) -> list[Schema]:
    """The same ones every time."""
    drawn: list[Schema] = []

    @seed(SEED)
    @settings(max_examples=count, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(object_schemas)
    def draw(schema: Schema) -> None:
        drawn.append(schema)

    while len(drawn) < count:
        draw()
    return drawn[:count]


async def response(served: ServedModel, prompt: str, more: dict[str, Any]) -> dict[str, Any]:
    body = {"model": MODEL, "input": prompt, "reasoning": {"effort": "low"}, "max_output_tokens": LIMIT, **more}
    return await (await responses.start(served, responses.parse_create(body), LOCAL_TENANT)).final()


async def completion(served: ServedModel, prompt: str, more: dict[str, Any]) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    limits = {"reasoning_effort": "low", "max_completion_tokens": LIMIT}
    body = {"model": MODEL, "messages": messages, **limits, **more}
    return await (await chat.start(served, chat.parse_create(body), LOCAL_TENANT)).final()


async def format_in_responses(served: ServedModel, prompt: str, schema: Schema) -> Written:
    shape = {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}
    done = await response(served, prompt, {"text": {"format": shape}})
    texts = [item["content"][0]["text"] for item in done["output"] if item["type"] == "message"]
    return done["status"], "".join(texts), done["usage"]["output_tokens_details"]["reasoning_tokens"]


async def tool_in_responses(served: ServedModel, prompt: str, schema: Schema) -> Written:
    tool = {"type": "function", "name": "act", "parameters": schema, "strict": True}
    forced = {"tools": [tool], "tool_choice": {"type": "function", "name": "act"}}
    done = await response(served, prompt, forced)
    calls = [item["arguments"] for item in done["output"] if item["type"] == "function_call"]
    return done["status"], "".join(calls), done["usage"]["output_tokens_details"]["reasoning_tokens"]


async def format_in_chat(served: ServedModel, prompt: str, schema: Schema) -> Written:
    shape = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    done = await completion(served, prompt, {"response_format": shape})
    choice = done["choices"][0]
    ended = "completed" if choice["finish_reason"] == "stop" else choice["finish_reason"]
    return ended, choice["message"]["content"], done["usage"]["completion_tokens_details"]["reasoning_tokens"]


async def tool_in_chat(served: ServedModel, prompt: str, schema: Schema) -> Written:
    tool = {"type": "function", "function": {"name": "act", "parameters": schema, "strict": True}}
    forced = {"tools": [tool], "tool_choice": {"type": "function", "function": {"name": "act"}}}
    done = await completion(served, prompt, forced)
    choice = done["choices"][0]
    ended = "completed" if choice["finish_reason"] == "tool_calls" else choice["finish_reason"]
    calls = choice["message"].get("tool_calls") or []
    written = "".join(call["function"]["arguments"] for call in calls)
    return ended, written, done["usage"]["completion_tokens_details"]["reasoning_tokens"]


WAYS: dict[str, Callable[[ServedModel, str, Schema], Awaitable[Written]]] = {
    "format, Responses": format_in_responses,
    "strict tool, Responses": tool_in_responses,
    "format, Chat Completions": format_in_chat,
    "strict tool, Chat Completions": tool_in_chat,
}


def judge(ended: str, written: str, schema: Schema) -> str:
    """`valid`, or what is wrong."""
    if ended != "completed":
        return ended
    try:
        return "valid" if conforms(json.loads(written), schema) else "against the schema"
    except ValueError:
        return "no JSON"


async def run_all(served: ServedModel, schemas: list[Schema]) -> Iterator[tuple[str, str, int]]:
    """Way, verdict and thinking tokens of each run."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(way: str, prompt: str, schema: Schema) -> tuple[str, str, int]:
        async with places:
            ended, written, thought = await WAYS[way](served, prompt, schema)
        return way, judge(ended, written, schema), thought

    each = zip(cycle(WAYS), cycle(PROMPTS), schemas, strict=False)
    return iter(await asyncio.gather(*(one(*run) for run in each)))


async def measure(schemas: list[Schema]) -> tuple[dict[str, Counter[str]], list[int]]:
    config = load_settings()
    checkpoint = resolve(config.model, config)
    with NativeEngine(checkpoint, config) as engine:
        keys = ContentKeys.ephemeral()
        served = ServedModel(MODEL, f"{MODEL}-2026-11-23", 0, Reasoner(checkpoint, engine), keys, thinks=True)
        verdicts: dict[str, Counter[str]] = {way: Counter() for way in WAYS}
        thinking: list[int] = []
        for way, verdict, thought in await run_all(served, schemas):
            verdicts[way][verdict] += 1
            thinking.append(thought)
        return verdicts, thinking


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/results/structured.json"))
    options = parser.parse_args()
    verdicts, thinking = asyncio.run(measure(random_schemas(RUNS)))
    valid = sum(counts["valid"] for counts in verdicts.values())
    write_outcome(
        options.output,
        {
            f"all of {RUNS} runs are valid": valid == RUNS,
            "every run thought first": min(thinking) > 0,
        },
        {
            "runs": RUNS,
            "valid": valid,
            "verdicts": {way: dict(counts) for way, counts in verdicts.items()},
            "mean_thinking_tokens": sum(thinking) / len(thinking),
            "runs_without_thinking": thinking.count(0),
        },
    )


if __name__ == "__main__":
    main()
