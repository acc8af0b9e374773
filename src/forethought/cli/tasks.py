"""`forethought tasks`: list the families of problems, look at one, and prove that they can be trusted."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forethought.cli.table import print_facts, print_table

if TYPE_CHECKING:
    from forethought.model.conversation import Item, ToolDefinition
    from forethought.tasks.problem import Problem, Transcript
    from forethought.tasks.validate import Finding

app = typer.Typer(help="Look at the problems that models learn from, and check them.", no_args_is_help=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command(name="list")
def list_(as_json: JsonOption = False) -> None:
    """List the families, with what each level asks."""
    from forethought.tasks.registry import families

    known = families().values()
    if as_json:
        _print_json([{"name": one.name, "description": one.description, "levels": one.levels} for one in known])
        return
    print_table(
        ("family", "description", "level", "what it asks"),
        [
            (one.name if level == 1 else "", one.description if level == 1 else "", str(level), asks)
            for one in known
            for level, asks in enumerate(one.levels, 1)
        ],
    )


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="A family of `forethought tasks list`, or gym:NAME for a data set of reasoning-gym.")
    ],
    level: Annotated[int, typer.Option(min=1, help="1 is the easiest.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Which problem: the same number makes the same one.")] = 0,
    split: Annotated[
        Literal["train", "test"], typer.Option(help="Models learn from one, and are measured on the other.")
    ] = "train",
    effort: Annotated[
        Literal["low", "medium", "high"], typer.Option(help="How much the worked solution thinks.")
    ] = "medium",
    as_json: JsonOption = False,
) -> None:
    """Show a problem, and the worked solution that a program wrote for it; the answer alone where there is none."""
    from random import Random

    from forethought.tasks.registry import family

    chosen = family(name)
    problem = chosen.problem(seed, level, split)
    trace = chosen.trace(problem, effort, Random(seed)) if chosen.has_traces else chosen.solution(problem)
    if as_json:
        _print_json(_described(problem, trace))
        return
    shown = [("family", f"{name}, level {level}: {chosen.levels[level - 1]}"), ("key", problem.key)]
    shown += [("tool", json.dumps(_definition(tool), ensure_ascii=False)) for tool in problem.conversation.tools]
    shown += [(entry["kind"], entry["text"]) for entry in map(_said, (*problem.conversation.items, *trace))]
    print_facts(shown)


@app.command()
def validate(
    names: Annotated[list[str] | None, typer.Argument(help="Families to check (default: all).")] = None,
    problems: Annotated[
        int, typer.Option(min=2, help="Different problems of each level and split that are looked at.")
    ] = 120,
    as_json: JsonOption = False,
) -> None:
    """Prove that right answers are accepted and wrong ones are not, that the splits are apart, and more.

    Exits with 1 if anything is wrong.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from forethought.tasks import validate as proofs
    from forethought.tasks.registry import families, family

    chosen = [family(name) for name in names] if names else list(families().values())
    with Progress(TextColumn("{task.description}"), BarColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=len(chosen))
        found: dict[str, list[Finding]] = {}
        for one in chosen:
            bar.update(task, description=f"looking at {one.name}")
            found[one.name] = proofs.validate(one, problems=problems)
            bar.advance(task)
    findings = [finding for each in found.values() for finding in each]
    if as_json:
        _print_json({name: [asdict(finding) for finding in each] for name, each in found.items()})
    else:
        rows = [row for name, each in found.items() for row in ([_row(one) for one in each] or [_fine(name)])]
        print_table(("family", "level", "check", "seed", "finding", "times"), rows)
    if findings:
        sys.exit(1)


def _row(finding: Finding) -> tuple[str, ...]:
    level = str(finding.level) if finding.level else "all"
    return finding.family, level, finding.check, str(finding.seed), finding.message, str(finding.times)


def _fine(name: str) -> tuple[str, ...]:
    return name, "all", "all", "", "nothing wrong", ""


def _described(problem: Problem, trace: Transcript) -> dict[str, Any]:
    return {
        "family": problem.family,
        "level": problem.level,
        "split": problem.split,
        "seed": problem.seed,
        "key": problem.key,
        "tools": [_definition(tool) for tool in problem.conversation.tools],
        "conversation": [_said(item) for item in problem.conversation.items],
        "solution": [_said(item) for item in trace],
    }


def _said(item: Item) -> dict[str, str]:
    """An item as two texts. The thinking is a program's, and hides nothing."""
    from forethought.model.conversation import Message, Thinking, ToolCall

    match item:
        case Message(role):
            return {"kind": role, "text": item.text}
        case Thinking(text):
            return {"kind": "thinking", "text": text}
        case ToolCall(_, name, arguments):
            return {"kind": "call", "text": f"{name}\n{arguments}"}
        case _:
            return {"kind": "result", "text": item.text}


def _definition(tool: ToolDefinition) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
