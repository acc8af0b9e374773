"""docs/conformance.md says what is the case, and nothing of OpenAI's goes unnoticed."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypedDict

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from conformance import chat
from conformance.__main__ import DOCUMENT
from conformance.document import render
from conformance.house import open_house
from conformance.probe import Probe, echoed, inert
from conformance.report import Report, measure
from conformance.survey import Endpoint, Survey, Unproven


@pytest.fixture(scope="module")
def report(tiny_checkpoint: Path) -> Report:
    return asyncio.run(measure(tiny_checkpoint))


def test_the_document_says_what_is_the_case(report: Report) -> None:
    assert DOCUMENT.read_text() == render(report), "docs/conformance.md is out of date: run `make conformance`"


def test_null_is_the_same_as_nothing_wherever_openai_lets_a_parameter_be_null(report: Report) -> None:
    assert [surveyed.nulls for surveyed in report.surveys] == [[], [], []]


class NewerParams(CompletionCreateParamsNonStreaming, total=False):
    """What a newer SDK may bring."""

    dreams: str


class FewParams(TypedDict, total=False):
    """So that a survey is short."""

    n: int
    seed: int
    user: str


FEW: Mapping[str, Probe] = {name: chat.PROBES[name] for name in FewParams.__annotations__}


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"kind": NewerParams}, "OpenAI has dreams, and the server does not know it"),
        ({"probes": {**FEW, "n": Probe()}}, "n = 1 .* no probe says how it acts|nothing shows that it acts"),
        ({"probes": {**FEW, "user": Probe(echoed("user"))}}, "user is taken by the default model, and nothing shows"),
        ({"probes": {**FEW, "seed": inert("it is not")}}, "seed = 1 changes a run of the default model"),
        ({"probes": {**FEW, "dreams": Probe()}}, "dreams has a probe, and is not there"),
    ],
)
def test_what_cannot_be_told_of_a_parameter_is_an_error(
    tiny_checkpoint: Path, changed: Mapping[str, object], complaint: str
) -> None:
    endpoint = replace(Endpoint(chat.ENDPOINT.path, FewParams, chat.BASES, FEW), **changed)  # type: ignore[arg-type]
    with pytest.raises(Unproven, match=complaint):
        asyncio.run(survey(tiny_checkpoint, endpoint))


async def survey(checkpoint: Path, endpoint: Endpoint) -> None:
    async with open_house(checkpoint) as house:
        await Survey(house, endpoint).run()
