"""Acceptance: the model calls functions that it has never seen, exactly, and calls none where none is needed.

    python tests/acceptance/tools.py [--model forethought-mini] [--output docs/results/tools.json]

Held-out problems of the tool families: the words of their functions' names and of the values are in no training problem
of these families; names of parameters, months and numbers are. In process, and through the HTTP API with OpenAI's SDK,
by turns through Responses and Chat Completions. Takes about half an hour.
"""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from openai import APIError, AsyncOpenAI
from outcome import write_outcome
from trained import Subject

from forethought.api.app import create_app
from forethought.api.hosting import open_model, server_options
from forethought.api.server import Listening, Server
from forethought.evals.figures import Report
from forethought.evals.measurement import Cell
from forethought.model.conversation import Item, Message, ToolCall, ToolDefinition
from forethought.model.registry import resolve
from forethought.settings import Settings, load_settings
from forethought.statistics import Interval, wilson
from forethought.tasks.distinct import distinct_problems
from forethought.tasks.judging import judge
from forethought.tasks.problem import Problem
from forethought.tasks.registry import family

GOALS = {"tool_single": 0.95, "tool_parallel": 0.90, "tool_none": 0.95}
NO_CALL = "tool_none"
"""The family where no call is needed: what counts for its goal is that none is made. Whether the answer is right is
told beside it."""
LEVELS = (1, 2, 3)
IN_PROCESS, OVER_HTTP, AT_ONCE = 150, 40, 32
"""Problems of each level."""
EFFORT = "medium"
LIMIT = 2048
"""Most tokens of a turn over HTTP: twice what the effort may think, so that its budget is the same as in process."""

NO_OUTPUT = ("malformed_tool_call", "no_answer", "grammar_failed")
"""Codes of errors that say that the model's output is none."""

CALLED = ("called a tool", "malformed call")
"""Verdicts on an attempt that made a call, or tried to."""

Ask = Callable[[AsyncOpenAI, str, Problem], Awaitable[tuple[Item, ...]]]


def said(problem: Problem) -> list[dict[str, str]]:
    """The conversation as messages of either API."""
    return [
        {"role": item.role, "content": item.text} for item in problem.conversation.items if isinstance(item, Message)
    ]


def function(tool: ToolDefinition) -> dict[str, Any]:
    """As a client defines it. Optional parameters cannot be had in strict mode."""
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": False}


async def by_responses(client: AsyncOpenAI, model: str, problem: Problem) -> tuple[Item, ...]:
    """What the model does, asked through Responses."""
    tools: Any = [{"type": "function", **function(tool)} for tool in problem.conversation.tools]
    messages: Any = said(problem)
    response = await client.responses.create(
        model=model, input=messages, tools=tools, reasoning={"effort": EFFORT}, max_output_tokens=LIMIT
    )
    if response.status != "completed":
        return ()
    calls = [
        ToolCall(item.call_id, item.name, item.arguments) for item in response.output if item.type == "function_call"
    ]
    text = (Message.of("assistant", response.output_text),) if response.output_text else ()
    return (*text, *calls)


async def by_chat(client: AsyncOpenAI, model: str, problem: Problem) -> tuple[Item, ...]:
    """The same through Chat Completions."""
    tools: Any = [{"type": "function", "function": function(tool)} for tool in problem.conversation.tools]
    messages: Any = said(problem)
    completion = await client.chat.completions.create(
        model=model, messages=messages, tools=tools, reasoning_effort=EFFORT, max_completion_tokens=LIMIT
    )
    message = completion.choices[0].message
    if completion.choices[0].finish_reason == "length":
        return ()
    calls = [
        ToolCall(call.id, call.function.name, call.function.arguments)
        for call in message.tool_calls or ()
        if call.type == "function"
    ]
    text = (Message.of("assistant", message.content),) if message.content else ()
    return (*text, *calls)


async def over_http(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """The outcome of each problem, by family, from a server and a client of it."""
    app = create_app([open_model(settings)], server_options(settings, key=None))
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = Server(app, Listening(port=0), on_listening=url.set_result)
    serving = asyncio.create_task(server.run_until_ended())
    await asyncio.wait({url, serving}, return_when=asyncio.FIRST_COMPLETED)
    while not serving.done() and app.state.engines.state != "ready":
        await asyncio.sleep(0.1)
    if serving.done():
        serving.result()  # raises what kept it from serving
    places = asyncio.Semaphore(AT_ONCE)

    async def one(client: AsyncOpenAI, ask: Ask, problem: Problem) -> dict[str, Any]:
        told = {"api": ask.__name__, "level": problem.level, "seed": problem.seed}
        async with places:
            try:
                items = await ask(client, settings.serve.name, problem)
            except APIError as error:
                if error.code not in NO_OUTPUT:  # not the model's fault
                    raise
                return told | {"correct": False, "reason": str(error), "called": True}
        verdict = judge(family(problem.family), problem, items)
        called = not items or any(isinstance(item, ToolCall) for item in items)
        return told | {"correct": verdict.correct, "reason": verdict.reason, "called": called}

    try:
        async with AsyncOpenAI(base_url=f"{url.result()}/v1", api_key="none", timeout=1200, max_retries=0) as client:
            found: dict[str, list[dict[str, Any]]] = {}
            for name in GOALS:
                drawn = [p for level in LEVELS for p in distinct_problems(family(name), level, "test", OVER_HTTP)]
                asks: Sequence[Ask] = (by_responses, by_chat)
                found[name] = list(
                    await asyncio.gather(*(one(client, asks[n % 2], problem) for n, problem in enumerate(drawn)))
                )
            return found
    finally:
        server.should_exit = True
        await serving


async def run(options: argparse.Namespace) -> None:
    settings = load_settings(model=options.model)
    cells = [Cell(name, level) for name in GOALS for level in LEVELS]
    async with Subject("model", resolve(options.model, settings), settings) as subject:
        measured = await subject.measured("tools", cells, problems=IN_PROCESS, effort=EFFORT)
    exact: dict[str, Interval] = {name: f.pass_1 for name, f in Report.of(measured).families.items()}
    answered = [record.samples[0].answered for record in measured.of(family=NO_CALL)]
    silent = [record.samples[0].verdict not in CALLED for record in measured.of(family=NO_CALL)]
    quiet = [one and other for one, other in zip(answered, silent, strict=True)]
    inside = exact | {NO_CALL: wilson(sum(quiet), len(quiet))}
    outcomes = await over_http(settings)
    outside = {name: wilson(sum(_good(name, one) for one in found), len(found)) for name, found in outcomes.items()}
    exact_outside = {name: wilson(sum(one["correct"] for one in found), len(found)) for name, found in outcomes.items()}
    verdict = {
        f"{name} {where}: at least {goal:.0%}": found[name].value >= goal
        for name, goal in GOALS.items()
        for where, found in (("in process", inside), ("over HTTP", outside))
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".jsonl").write_text(
        "".join(json.dumps({"family": name, **one}) + "\n" for name, found in outcomes.items() for one in found)
    )
    figures = {
        "digest": subject.digest,
        "in_process_exact": {name: asdict(found) for name, found in exact.items()},
        "in_process": {name: asdict(found) for name, found in inside.items()},
        "over_http_exact": {name: asdict(found) for name, found in exact_outside.items()},
        "over_http": {name: asdict(found) for name, found in outside.items()},
        "cells": Report.of(measured).as_json()["cells"],
    }
    write_outcome(options.output, verdict, figures)


def _good(name: str, one: dict[str, Any]) -> bool:
    return not one["called"] if name == NO_CALL else one["correct"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="forethought-mini")
    parser.add_argument("--output", type=Path, default=Path("docs/results/tools.json"))
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
