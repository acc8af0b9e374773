"""`forethought bench`: how fast our own engine is here. (benchmarks/ compares it with others.)"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from forethought.settings import Settings

from forethought.errors import RequestError

app = typer.Typer(help="Measure this machine.", no_args_is_help=True)

COLUMNS = ("batch", "prefill tok/s", "decode tok/s", "per sequence", "forward", "sampling", "other")


@app.command()
def engine(
    context: typer.Context,
    batch: Annotated[str, typer.Option(help="Sequences at a time; several sizes with commas.")] = "1,8,32",
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Length of each prompt.")] = 40,
    new_tokens: Annotated[int, typer.Option(min=2, help="Tokens generated for each.")] = 128,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Measure prefill and decode of the engine, in this process, on prompts of random tokens."""
    from forethought.cli.table import print_facts, print_table

    sizes = _sizes(batch)
    report = _measure(cast("Settings", context.obj), sizes, prompt_tokens, new_tokens)
    if as_json:
        typer.echo(json.dumps(report, indent=2))
        return
    rows = [
        (
            str(run["batch"]),
            f"{run['prefill_tokens_per_second']:.0f}",
            f"{run['decode_tokens_per_second']:.1f}",
            f"{run['decode_tokens_per_second'] / run['batch']:.1f}",
            *(f"{run[f'{part}_share']:.0%}" for part in ("forward", "sampling", "other")),
        )
        for run in report["runs"]
    ]
    print_table(COLUMNS, rows)
    print_facts(
        [
            ("model", f"{report['model']}, {report['digest']}"),
            ("prompts", f"{prompt_tokens} tokens, and {new_tokens} new ones"),
            ("load", f"{report['load_seconds']:.2f} s"),
            ("peak memory", f"{report['peak_memory_bytes'] / 1e6:.0f} MB"),
        ]
    )


def _measure(settings: Settings, sizes: list[int], prompt_tokens: int, new_tokens: int) -> dict[str, Any]:
    from forethought.engine.spec import EngineSpec
    from forethought.engine.throughput import measure
    from forethought.model.registry import resolve

    began = perf_counter()
    checkpoint = resolve(settings.model, settings)
    core = EngineSpec(checkpoint.directory, checkpoint.adapter, settings).build()
    load_seconds = perf_counter() - began
    vocabulary = checkpoint.config.vocab_size
    lengths = {"prompt_tokens": prompt_tokens, "new_tokens": new_tokens}
    # The first steps touch memory for the first time; they belong to the start.
    measure(core, vocabulary, batch=1, prompt_tokens=prompt_tokens, new_tokens=min(new_tokens, 16), seed=1)
    runs = [asdict(measure(core, vocabulary, batch=size, **lengths)) for size in sizes]
    return {
        "model": settings.model,
        "digest": core.digest,
        "engine": settings.engine.model_dump(),
        "load_seconds": load_seconds,
        "peak_memory_bytes": _peak_memory(),
        "runs": runs,
    }


def _sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise RequestError(f"--batch is {text!r}.", "Give sizes with commas between them: --batch 1,8,32")
    return [int(part) for part in parts]


def _peak_memory() -> int:
    """Bytes that this process had resident at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
