"""All that is measured, from parameters to routes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel

from conformance import chat, responses, routes, scenarios
from conformance.answers import Fields, Values, compare, fields, inside
from conformance.house import House, open_house
from conformance.routes import Route
from conformance.scenarios import Sent
from conformance.sdk import parameters
from conformance.survey import Attempt, Endpoint, Survey

EVENTS: dict[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(ResponseStreamEvent)[0])
}
"""Of a response, by their types."""


@dataclass(frozen=True)
class Surveyed:
    """The parameters of an endpoint; and those for which null is not the same as nothing."""

    endpoint: Endpoint
    attempts: Sequence[Attempt]
    nulls: Sequence[str]


@dataclass(frozen=True)
class Report:
    """What became of OpenAI's specification."""

    surveys: Sequence[Surveyed]
    events: Sequence[Fields]
    silent: Sequence[str]
    """Events that are never sent."""
    response: Sequence[Fields | Values]
    completion: Sequence[Fields | Values]
    chunk: Sequence[Fields | Values]
    routes: Sequence[Route]


async def measure(checkpoint: Path) -> Report:
    """Everything. Raises `Unproven`."""
    async with open_house(checkpoint) as house:
        responded = await scenarios.play(house, responses.ENDPOINT.path, scenarios.responses(house))
        completed = await scenarios.play(house, chat.ENDPOINT.path, scenarios.chat(house))
        sent = {kind: [event for event in responded.events if event["type"] == kind] for kind in EVENTS}
        return Report(
            surveys=[
                await _surveyed(house, endpoint)
                for endpoint in (responses.ENDPOINT, responses.COUNT_ENDPOINT, chat.ENDPOINT)
            ],
            events=[fields(kind, EVENTS[kind], sent[kind]) for kind in sorted(EVENTS) if sent[kind]],
            silent=[kind for kind in sorted(EVENTS) if not sent[kind]],
            response=_response(responded),
            completion=list(compare("", ChatCompletion, completed.documents)),
            chunk=list(compare("", ChatCompletionChunk, completed.events)),
            routes=await routes.ask(house),
        )


async def _surveyed(house: House, endpoint: Endpoint) -> Surveyed:
    survey = Survey(house, endpoint)
    return Surveyed(endpoint, await survey.run(), survey.nulls)


def _response(sent: Sent) -> list[Fields | Values]:
    """Documents are also in events; and items, not yet complete, in events of their own.

    What a parameter may be, and comes back as, is for its own table to say.
    """
    documents = sent.documents + [event["response"] for event in sent.events if "response" in event]
    items: list[Any] = [item for document in documents for item in document["output"]]
    items += [event["item"] for event in sent.events if "item" in event]
    output = inside("output", Response.model_fields["output"].annotation, [items])
    found = [*compare("", Response, documents, but=("output",)), *output]
    asked = parameters(responses.ENDPOINT.kind).keys()
    return [one for one in found if isinstance(one, Fields) or re.split(r"\W", one.path)[0] not in asked]
