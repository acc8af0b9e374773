"""`forethought models`: fetch, check, list and describe checkpoints."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from forethought.cli.table import print_facts, print_table

if TYPE_CHECKING:
    from collections.abc import Generator

    from forethought.model.base import Progress
    from forethought.model.checkpoint import Checkpoint
    from forethought.settings import Settings

app = typer.Typer(help="Fetch, check, list and describe models.", no_args_is_help=True)

NameArgument = Annotated[
    str | None, typer.Argument(help="A name from `forethought models list` (default: the model in use).")
]
ModelArgument = Annotated[str | None, typer.Argument(help="A name or a directory (default: the model in use).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command()
def pull(context: typer.Context, name: NameArgument = None, as_json: JsonOption = False) -> None:
    """Fetch a model, unless it is here and unharmed already."""
    from forethought.model import registry

    settings = _settings(context)
    entry = registry.entry(name or settings.model)
    with _progress() as progress:
        directory = entry.pull(settings.cache_dir, progress)
    if as_json:
        _print_json({"name": entry.name, "directory": str(directory), "digest": entry.digest})
    else:
        typer.echo(f"{entry.name} is in {directory}, and its digest is the one it should have.")


@app.command()
def verify(context: typer.Context, name: NameArgument = None, as_json: JsonOption = False) -> None:
    """Hash a fetched model again, and compare with the digest in our source."""
    from forethought.model import registry

    settings = _settings(context)
    entry = registry.entry(name or settings.model)
    directory = registry.existing(entry, settings)
    digest = entry.verify(directory)
    if as_json:
        _print_json({"name": entry.name, "directory": str(directory), "digest": digest})
    else:
        typer.echo(f"{entry.name} is unharmed: {digest}")


@app.command(name="list")
def list_(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the models that have a name."""
    from forethought.model import registry

    settings = _settings(context)
    rows = [
        {
            "name": entry.name,
            "here": entry.directory(settings.cache_dir).exists(),
            "in_use": entry.name == settings.model,
            "parameters": entry.parameters,
            "license": entry.license,
            "description": entry.description,
            "directory": str(entry.directory(settings.cache_dir)),
        }
        for entry in registry.MODELS.values()
    ]
    if as_json:
        _print_json(rows)
        return
    print_table(
        ("model", "here", "parameters", "license", "description"),
        [
            (
                str(row["name"]),
                "yes" if row["here"] else "no: forethought models pull",
                f"{cast(int, row['parameters']) / 1e6:.0f} M",
                str(row["license"]),
                str(row["description"]),
            )
            for row in rows
        ],
    )


@app.command()
def show(context: typer.Context, model: ModelArgument = None, as_json: JsonOption = False) -> None:
    """Describe a model: its architecture, what it can do, how it samples."""
    facts = _facts(_resolve(context, model))
    if as_json:
        _print_json(facts)
    else:
        print_facts([(name.replace("_", " "), _plain(value)) for name, value in facts.items()])


@app.command()
def digest(
    context: typer.Context,
    model: ModelArgument = None,
    quantization: Annotated[Literal["none", "int8"], typer.Option(help="As the engine would load it.")] = "none",
    context_length: Annotated[
        int | None, typer.Option(min=1, help="A context other than the declared one.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the digest of a model: one hash over all that decides how it behaves."""
    from forethought.model.checkpoint import LoadOptions

    checkpoint = _resolve(context, model)
    found = checkpoint.digest(LoadOptions(quantization, context_length))
    if as_json:
        _print_json({"directory": str(checkpoint.directory), "digest": found})
    else:
        typer.echo(found)


def _settings(context: typer.Context) -> Settings:
    return cast("Settings", context.obj)


def _resolve(context: typer.Context, model: str | None) -> Checkpoint:
    from forethought.model import registry

    settings = _settings(context)
    return registry.resolve(model or settings.model, settings)


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    config, renderer = checkpoint.config, checkpoint.renderer
    files = [path for path in checkpoint.directory.glob("*.safetensors") if path.is_file()]
    return {
        "directory": str(checkpoint.directory),
        "adapter": str(checkpoint.adapter) if checkpoint.adapter else None,
        "architecture": config.model_type,
        "parameters": sum(tensor.numel() for tensor in checkpoint.tensors().values()),
        "bytes": sum(path.stat().st_size for path in files),
        "layers": config.layers,
        "hidden_size": config.hidden_size,
        "heads": {"query": config.heads, "key_value": config.kv_heads, "dimensions": config.head_dim},
        "vocabulary": config.vocab_size,
        "renderer": {"name": renderer.name, "version": renderer.version},
        "capabilities": checkpoint.capabilities.model_dump(),
        "generation": checkpoint.generation.to_hf(),
    }


def _plain(value: Any) -> str:
    """A value for a person to read."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return ", ".join(f"{name.replace('_', ' ')} {_plain(item)}" for name, item in items)
    if isinstance(value, bool) or value is None:
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_json(content: object) -> None:
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


@contextmanager
def _progress() -> Generator[Progress]:
    """A progress bar on standard error, where a person sees it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("looking", total=1.0)

        def tell(stage: str, share: float) -> None:
            # Stages that cannot say how far they are come with 0 and pulse.
            bar.update(task, description=stage, completed=share, total=1.0 if share else None)

        yield tell
