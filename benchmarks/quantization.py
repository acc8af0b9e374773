"""What bfloat16 and int8 cost in quality: perplexity of plain English under each, against float32.

    python benchmarks/quantization.py [--documents 120] [--output docs/results/int8]

The documents are the docstrings of Python's standard library: English prose that every installation has. The value is
the mean difference of negative log-likelihood per token to float32, with a 95 % interval by bootstrap over documents
(the tokens of one document are not independent). Writes a Markdown table and a JSON file.
"""

import argparse
import importlib
import inspect
import json
import random
import statistics
from collections.abc import Callable, Iterator
from math import exp
from pathlib import Path

import numpy as np
import torch

from forethought.engine.compiled import CompiledRunner
from forethought.engine.runner import BLOCK_SIZE, Runner, StepBatch
from forethought.engine.torch_runner import TorchRunner
from forethought.model.checkpoint import Checkpoint
from forethought.model.registry import resolve
from forethought.settings import Settings, load_settings

LENGTH = 256
"""Tokens of a document at most."""
BOOTSTRAPS = 2000
MODULES = """
argparse asyncio collections concurrent.futures csv ctypes datetime decimal difflib doctest email
enum fractions functools heapq http.client inspect ipaddress json logging mailbox multiprocessing
optparse pathlib pickle random shutil smtplib socket sqlite3 statistics string subprocess tarfile
tempfile textwrap threading  typing unittest urllib.request uuid weakref xmlrpc.client
zipfile
""".split()  # noqa: SIM905 (a list would take a line for each)


def documents(count: int) -> Iterator[str]:
    """Docstrings of some length, in a fixed order."""
    found: set[str] = set()
    for name in MODULES:
        module = importlib.import_module(name)
        members = [module, *(member for member in vars(module).values() if inspect.isroutine(member))]
        members += [member for member in vars(module).values() if inspect.isclass(member)]
        found |= {text for member in members if (text := inspect.getdoc(member)) and len(text) > 600}
    yield from random.Random(0).sample(sorted(found), min(count, len(found)))


def log_likelihoods(runner: Runner, tokens: list[int]) -> float:
    """Sum of the negative log-likelihoods of a document's tokens but the first."""
    n = len(tokens)
    batch = StepBatch(
        token_ids_N=np.array(tokens, np.int32),
        positions_N=np.arange(n, dtype=np.int32),
        starts_S=np.array([0, n], np.int32),
        lengths_S=np.array([n], np.int32),
        tables_SB=np.arange(-(-n // BLOCK_SIZE), dtype=np.int32)[None],
        logit_rows_R=np.arange(n, dtype=np.int32),
    )
    logits_RV = runner.forward(batch)[:-1]
    return float(torch.nn.functional.cross_entropy(logits_RV, torch.tensor(tokens[1:]), reduction="sum"))


def runners(checkpoint: Checkpoint, settings: Settings) -> dict[str, Callable[[], Runner]]:
    """Each precision, made when its turn comes."""

    def compiled(quantization: str) -> CompiledRunner:
        return CompiledRunner(
            checkpoint.config,
            checkpoint.merged_tensors(),
            blocks=LENGTH // BLOCK_SIZE,
            cache_dir=settings.cache_dir,
            quantization=quantization,
            threads=torch.get_num_threads(),
            max_tokens=LENGTH,
            max_sequences=LENGTH,
        )

    return {
        "float32": lambda: TorchRunner(checkpoint.decoder(torch.float32), blocks=LENGTH // BLOCK_SIZE),
        "bfloat16": lambda: compiled("none"),
        "int8": lambda: compiled("int8"),
    }


def interval(differences: list[float], weights: list[int]) -> tuple[float, float]:
    """95 % of the bootstrap's means over documents, weighted by their tokens."""
    random_ = np.random.default_rng(0)
    value_D, weight_D = np.array(differences), np.array(weights)
    picks = random_.integers(0, len(value_D), (BOOTSTRAPS, len(value_D)))
    means = value_D[picks].sum(1) / weight_D[picks].sum(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=120)
    parser.add_argument("--output", type=Path, default=Path("docs/results/int8"))
    options = parser.parse_args()
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    texts = [checkpoint.tokenizer.encode(text)[:LENGTH] for text in documents(options.documents)]
    counts = [len(tokens) - 1 for tokens in texts]
    losses: dict[str, list[float]] = {}
    with torch.inference_mode():
        for name, make in runners(checkpoint, settings).items():
            runner = make()
            losses[name] = [log_likelihoods(runner, tokens) for tokens in texts]
    rows = []
    for name, values in losses.items():
        differences = [mine - reference for mine, reference in zip(values, losses["float32"], strict=True)]
        low, high = interval(differences, counts)
        mean = sum(differences) / sum(counts)
        rows.append(
            {"precision": name, "perplexity": exp(sum(values) / sum(counts)), "loss": mean, "interval": [low, high]}
        )
    summary = {"documents": len(texts), "tokens": sum(counts), "median_tokens": statistics.median(counts), "rows": rows}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.with_suffix(".json").write_text(json.dumps(summary, indent=2) + "\n")
    lines = [
        "# What lower precision costs",
        "",
        f"`python benchmarks/quantization.py` on {checkpoint.directory.name}: {len(texts)} docstrings of Python's",
        f"standard library, {sum(counts)} tokens. Loss is the mean negative log-likelihood per token above float32's,",
        "in nats.",
        "",
        "| weights and arithmetic | perplexity | loss | 95 % interval |",
        "|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["interval"]
        lines.append(
            f"| {row['precision']} | {row['perplexity']:.4f} | {row['loss']:+.5f} | {low:+.5f} to {high:+.5f} |"
        )
    options.output.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
