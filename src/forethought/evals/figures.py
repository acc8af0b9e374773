"""The figures of a measurement, and of the difference between two.

Each carries an interval and the number of problems it rests on. Samples of one problem are alike, so problems are what
is drawn when an interval is made; one that two levels of a family have in common is one problem.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from forethought.errors import ResultError
from forethought.evals.measurement import Cell, Measurement, ProblemRecord, Sample
from forethought.statistics import (
    Interval,
    PairedDifference,
    bootstrap_mean,
    holm,
    paired_difference,
    pass_at_k,
    rate,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Figures:
    """What some samples come to.

    `pass_1` is the share of right samples; `pass_k` the chance that one of k samples of a problem is right, for the
    powers of two up to their number. `thinking_tokens` is a mean. `capped` is the share whose thinking was ended for
    want of room, `answered` of those that came to an answer by themselves. `reasons` counts how they ended; "error"
    stands for what is not the model's fault, and counts as wrong all the same.
    """

    problems: int
    samples: int
    pass_1: Interval
    pass_k: dict[int, Interval]
    thinking_tokens: Interval
    capped: Interval
    answered: Interval
    reasons: dict[str, int]

    @classmethod
    def of(cls, records: Sequence[ProblemRecord]) -> Figures:
        """Raises `ResultError` when there are no samples."""
        if not records:
            raise ResultError("There are no samples to count.", "Name a family and a level that were measured.")
        every = [sample for record in records for sample in record.samples]
        fewest = min(len(record.samples) for record in records)
        ks = [1 << power for power in range(1, fewest.bit_length())]
        return cls(
            problems=len(records),
            samples=len(every),
            pass_1=_share(records, lambda sample: sample.correct),
            pass_k={k: _pass_k(records, k) for k in ks},
            thinking_tokens=bootstrap_mean(_clusters(records, lambda r: [float(s.thinking_tokens) for s in r.samples])),
            capped=_share(records, lambda sample: sample.capped),
            answered=_share(records, lambda sample: sample.answered),
            reasons=dict(sorted(Counter(sample.reason for sample in every).items())),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of all samples together, of each level, each family and each cell."""

    pooled: Figures
    levels: dict[int, Figures]
    families: dict[str, Figures]
    cells: dict[Cell, Figures]

    @classmethod
    def of(cls, measurement: Measurement) -> Report:
        """Raises `ResultError` when nothing was measured."""
        cells = measurement.cells
        return cls(
            pooled=Figures.of(measurement.of()),
            levels={level: Figures.of(measurement.of(level=level)) for level in sorted({cell.level for cell in cells})},
            families={
                name: Figures.of(measurement.of(family=name)) for name in sorted({cell.family for cell in cells})
            },
            cells={cell: Figures.of(measurement.of(family=cell.family, level=cell.level)) for cell in cells},
        )

    def as_json(self) -> dict[str, Any]:
        """For a file, or a page."""
        return {
            "pooled": asdict(self.pooled),
            "levels": {str(level): asdict(figures) for level, figures in self.levels.items()},
            "families": {name: asdict(figures) for name, figures in self.families.items()},
            "cells": [asdict(cell) | asdict(figures) for cell, figures in self.cells.items()],
        }


@dataclass(frozen=True, slots=True)
class FamilyDifference:
    """The paired difference of a family. `adjusted` is its p-value after Holm's correction over all families."""

    difference: Interval
    p_value: float
    adjusted: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much more the second measurement is right than the first, problem by problem; `pairs` counts those of every
    level."""

    k: int
    pairs: int
    pooled: PairedDifference
    families: dict[str, FamilyDifference]

    def worse(self, level: float = 0.05) -> list[str]:
        """Families that are significantly down, all tests taken together."""
        return [name for name, d in self.families.items() if d.difference.value < 0 and d.adjusted <= level]


def compare(before: Measurement, after: Measurement, *, k: int = 1) -> Comparison:
    """The differences in pass@k on the problems that both tried.

    Raises:
        ResultError: there are none, or fewer than `k` samples of one; the problems are of different splits.
    """
    if before.split != after.split:
        raise ResultError("One measurement is of training problems, the other of test problems.", "Measure one again.")
    first = {(record.cell, record.key): record for record in before.records}
    pairs = [(first[record.cell, record.key], record) for record in after.records if (record.cell, record.key) in first]
    if not pairs:
        raise ResultError("The two measurements have no problem in common.", "Measure the same families and levels.")
    if k > min(len(record.samples) for pair in pairs for record in pair):
        raise ResultError(f"There are fewer than {k} samples of a problem.", "Take more samples, or compare pass@1.")
    names = sorted({record.cell.family for record, _ in pairs})
    found = [_difference([pair for pair in pairs if pair[0].cell.family == name], k) for name in names]
    adjusted = holm([each.p_value for each in found])
    return Comparison(
        k,
        len(pairs),
        _difference(pairs, k),
        {
            name: FamilyDifference(each.difference, each.p_value, p_value)
            for name, each, p_value in zip(names, found, adjusted, strict=True)
        },
    )


def _difference(pairs: Sequence[tuple[ProblemRecord, ProblemRecord]], k: int) -> PairedDifference:
    return paired_difference(
        [_pass(one, k) for one, _ in pairs],
        [_pass(other, k) for _, other in pairs],
        problems=[_problem(one) for one, _ in pairs],
    )


def _pass(record: ProblemRecord, k: int) -> float:
    return pass_at_k(len(record.samples), sum(sample.correct for sample in record.samples), k)


def _pass_k(records: Sequence[ProblemRecord], k: int) -> Interval:
    clusters = _clusters(records, lambda record: [_pass(record, k)])
    if all(value in (0.0, 1.0) for values in clusters for value in values):
        return rate([[value == 1.0 for value in values] for values in clusters])
    return bootstrap_mean(clusters)


def _share(records: Sequence[ProblemRecord], counts: Callable[[Sample], bool]) -> Interval:
    return rate(_clusters(records, lambda record: [counts(sample) for sample in record.samples]))


def _clusters(records: Sequence[ProblemRecord], values: Callable[[ProblemRecord], list[T]]) -> list[list[T]]:
    """The values of each problem."""
    found: dict[tuple[str, str], list[T]] = {}
    for record in records:
        found.setdefault(_problem(record), []).extend(values(record))
    return list(found.values())


def _problem(record: ProblemRecord) -> tuple[str, str]:
    """What names a problem, whatever the level it was drawn for."""
    return record.cell.family, record.key
