"""A grammar of the client's that cannot be followed to the end of an output is the client's to mend, in both APIs."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from forethought.engine.script import End, Say, Step
from forethought.model.conversation import Thinking, ToolCall
from server_house import serving
from server_scene import ALIAS, House, always, begins, writes

WHY = "The grammar failed: Current row has 2401 items; max is 2000. Simplify it."
FAILED = End("grammar_failed", WHY)
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
FUNCTION: dict[str, Any] = {"name": "look", "parameters": SCHEMA, "strict": True}
NAMED: dict[str, Any] = {"name": "place", "schema": SCHEMA, "strict": True}

ASKED: dict[str, Any] = {"model": ALIAS, "input": "Where?"}
CHATTED: dict[str, Any] = {"model": ALIAS, "messages": [{"role": "user", "content": "Where?"}]}
SHAPED = {"text": {"format": {"type": "json_schema", **NAMED}}}
CHAT_SHAPED = {"response_format": {"type": "json_schema", "json_schema": NAMED}}
TOOLED = {"tools": [{"type": "function", **FUNCTION}]}
CHAT_TOOLED = {"tools": [{"type": "function", "function": FUNCTION}]}

PARTS = [
    ("/v1/responses", ASKED | SHAPED, "text.format.schema"),
    ("/v1/responses", ASKED | TOOLED, "tools"),
    ("/v1/responses", ASKED | SHAPED | TOOLED, None),
    ("/v1/chat/completions", CHATTED | CHAT_SHAPED, "response_format.json_schema.schema"),
    ("/v1/chat/completions", CHATTED | CHAT_TOOLED, "tools"),
    ("/v1/chat/completions", CHATTED | CHAT_SHAPED | CHAT_TOOLED, None),
]


def answer(checkpoint: Path, path: str, body: dict[str, Any], *steps: Step) -> httpx.Response:
    with serving(House(checkpoint, always(*steps)).app) as running:
        return httpx.post(running.url + path, json=body)


def last_event(answer: httpx.Response) -> dict[str, Any]:
    *_, event, done = (line for line in answer.text.splitlines() if line.startswith("data: "))
    assert done == "data: [DONE]"
    return json.loads(event.removeprefix("data: "))


@pytest.mark.parametrize(("path", "body", "param"), PARTS)
@pytest.mark.parametrize("streamed", [False, True])
def test_one_that_fails_at_once_is_refused_before_the_first_event(
    tiny_checkpoint: Path, path: str, body: dict[str, Any], param: str | None, streamed: bool
) -> None:
    refused = answer(tiny_checkpoint, path, body | {"stream": streamed}, FAILED)
    assert refused.status_code == 400
    told = {"message": WHY, "type": "invalid_request_error", "param": param, "code": "grammar_failed"}
    assert refused.json() == {"error": told}


@pytest.mark.parametrize(("path", "body", "param"), PARTS)
def test_one_that_fails_on_the_way_is_the_same_error_for_who_waits(
    tiny_checkpoint: Path, path: str, body: dict[str, Any], param: str | None
) -> None:
    refused = answer(tiny_checkpoint, path, body, begins(tiny_checkpoint), FAILED)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert (error["param"], error["code"], error["message"]) == (param, "grammar_failed", WHY)


@pytest.mark.parametrize(("path", "body", "param"), PARTS)
def test_one_that_fails_on_the_way_ends_a_stream_with_the_client_s_error(
    tiny_checkpoint: Path, path: str, body: dict[str, Any], param: str | None
) -> None:
    event = last_event(answer(tiny_checkpoint, path, body | {"stream": True}, begins(tiny_checkpoint), FAILED))
    if "input" in body:
        # OpenAI's SDK knows no other code for what the client has to mend.
        assert event["response"]["error"] == {"code": "invalid_prompt", "message": WHY}
    else:
        told = {"message": WHY, "type": "invalid_request_error", "param": param, "code": "grammar_failed"}
        assert event == {"error": told}


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/responses", ASKED | TOOLED), ("/v1/chat/completions", CHATTED | CHAT_TOOLED)]
)
def test_one_that_fails_in_a_call_names_the_tool(tiny_checkpoint: Path, path: str, body: dict[str, Any]) -> None:
    call = writes(tiny_checkpoint, Thinking("Hm."), ToolCall("call_1", "look", '{"where": "here"}'))
    refused = answer(tiny_checkpoint, path, body, Say(call.token_ids[:-6]), FAILED)
    assert refused.status_code == 400
    assert refused.json()["error"]["message"] == f"In a call of look: {WHY}"
