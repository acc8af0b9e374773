"""What a program written for the `openai` SDK does, unchanged; run with the server's URL and the model's name.

It is run by tests/test_clients.py, once with each major version of the SDK.
"""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import openai

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
QUESTION = "What is the weather in Rome?"


def responses(client: openai.OpenAI, model: str) -> None:
    """Responses: plain, streamed, with a tool and its result, structured."""
    plain = client.responses.create(model=model, input="Say hello.")
    assert plain.status == "completed", plain
    assert plain.output_text, plain
    assert plain.usage is not None
    assert plain.usage.total_tokens == plain.usage.input_tokens + plain.usage.output_tokens

    with client.responses.stream(model=model, input="Say hello.", reasoning={"summary": "auto"}) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created", kinds
    assert kinds[-1] == "response.completed", kinds
    assert final.output_text == plain.output_text

    tool: Any = {"type": "function", "name": "weather", "parameters": WEATHER, "strict": True}
    history: list[Any] = [{"role": "user", "content": QUESTION}]
    called = client.responses.create(
        model=model, input=history, tools=[tool], tool_choice="required", include=["reasoning.encrypted_content"]
    )
    calls = [item for item in called.output if item.type == "function_call"]
    assert calls, called
    history += called.output
    history += [{"type": "function_call_output", "call_id": call.call_id, "output": "21 °C"} for call in calls]
    answered = client.responses.create(model=model, input=history, tools=[tool], tool_choice="none")
    assert answered.output_text, answered

    shaped = client.responses.create(
        model=model,
        input=QUESTION,
        text={"format": {"type": "json_schema", "name": "place", "schema": WEATHER, "strict": True}},
    )
    assert shaped.output_text.startswith("{"), shaped.output_text


def chat(client: openai.OpenAI, model: str) -> None:
    """Chat Completions: plain, streamed with usage, with a tool and its result."""
    message: Any = {"role": "user", "content": "Say hello."}
    plain = client.chat.completions.create(model=model, messages=[message])
    assert plain.choices[0].finish_reason == "stop", plain
    chunks = list(
        client.chat.completions.create(
            model=model, messages=[message], stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == plain.choices[0].message.content
    assert chunks[-1].usage is not None
    assert not chunks[-1].choices

    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": WEATHER, "strict": True}}
    history: list[Any] = [{"role": "user", "content": QUESTION}]
    called = client.chat.completions.create(model=model, messages=history, tools=[tool], tool_choice="required")
    calls = called.choices[0].message.tool_calls
    assert called.choices[0].finish_reason == "tool_calls", called
    assert calls, called
    history.append(called.choices[0].message)
    history += [{"role": "tool", "tool_call_id": call.id, "content": "21 °C"} for call in calls]
    answered = client.chat.completions.create(model=model, messages=history, tools=[tool], tool_choice="none")
    assert answered.choices[0].message.content, answered


def refusals(client: openai.OpenAI, model: str) -> None:
    """What the o-series refuses, as the SDK raises it."""
    refused = error_of(lambda: client.responses.create(model=model, input="Hello", temperature=0.1))
    assert isinstance(refused, openai.BadRequestError)
    assert (refused.code, refused.param) == ("unsupported_value", "temperature")
    missing = error_of(lambda: client.models.retrieve("another-model"))
    assert isinstance(missing, openai.NotFoundError)
    assert missing.code == "model_not_found"
    assert model in [each.id for each in client.models.list()]


def error_of(call: Callable[[], object]) -> openai.APIError | None:
    """What the call raises."""
    try:
        call()
    except openai.APIError as error:
        return error
    return None


async def many(base_url: str, model: str) -> None:
    """Ten questions at once."""
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none") as client:
        asked = (client.responses.create(model=model, input=f"Question {n}") for n in range(10))
        assert all(answer.output_text for answer in await asyncio.gather(*asked))


def azure(base_url: str, model: str) -> None:
    """The same for Azure's client: deployments in the path of a chat, `api-key` in the header."""
    endpoint = base_url.removesuffix("/v1")
    with openai.AzureOpenAI(azure_endpoint=endpoint, api_key="none", api_version="2025-04-01-preview") as client:
        answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Say hello."}])
        assert answer.choices[0].message.content, answer
        assert client.responses.create(model=model, input="Say hello.").output_text
        assert model in [each.id for each in client.models.list()]


def main(base_url: str, model: str) -> None:
    """Runs all of it."""
    with openai.OpenAI(base_url=base_url, api_key="none", max_retries=0) as client:
        responses(client, model)
        chat(client, model)
        refusals(client, model)
    azure(base_url, model)
    asyncio.run(many(base_url, model))


if __name__ == "__main__":
    main(*sys.argv[1:])
