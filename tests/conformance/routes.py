"""The routes that the SDK calls for the two APIs and the models, each asked once."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from openai.resources.chat.completions.completions import Completions
from openai.resources.chat.completions.messages import Messages
from openai.resources.models import Models
from openai.resources.responses.input_items import InputItems
from openai.resources.responses.input_tokens import InputTokens
from openai.resources.responses.responses import Responses

from asgi_client import send
from conformance.house import House

RESOURCES = (Responses, InputItems, InputTokens, Completions, Messages, Models)
CALL = re.compile(r'self\._(get_api_list|get|post|delete)\(\s*(?:path_template\(\s*)?"([^"]+)"')
BODIES: dict[str, Any] = {
    "/responses": {"input": "Hi"},
    "/responses/input_tokens": {"input": "Hi"},
    "/chat/completions": {"messages": [{"role": "user", "content": "Hi"}]},
}


@dataclass(frozen=True)
class Route:
    """A route of OpenAI's, and what came back. In a message `…` stands for the method and the path."""

    method: str
    path: str
    status: int
    code: str | None
    message: str


def known() -> list[tuple[str, str]]:
    """Methods and paths, as the SDK's source has them."""
    return sorted(set(_calls()), key=lambda route: (route[1], route[0]))


async def ask(house: House) -> list[Route]:
    """Asks for all of them, with a body that is in order where one is taken."""
    model = house.models["default"].alias
    routes: list[Route] = []
    for method, path in known():
        asked = re.sub(r"{\w+}", lambda place: model if place[0] == "{model}" else "id_1", path)
        body = {"model": model, **BODIES.get(path, {})} if method == "POST" else None
        answer = await send(house.app, method, f"/v1{asked}", body)
        error = answer.json()["error"] if answer.status != 200 else {"code": None, "message": ""}
        message = error["message"].replace(f"/v1{asked}", "…").replace(method, "…", 1)
        routes.append(Route(method, path, answer.status, error["code"], message))
    return routes


def _calls() -> Iterator[tuple[str, str]]:
    for resource in RESOURCES:
        for method, path in CALL.findall(inspect.getsource(resource)):
            yield {"get_api_list": "GET"}.get(method, method.upper()), path
