"""OpenAI's SDK against the server, over a socket."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from server_house import Running, serving
from server_scene import ALIAS, ANSWER, SNAPSHOT, House, always, writes

ASKED: dict[str, Any] = {"model": ALIAS, "input": "Two and two?"}
CHATTED: dict[str, Any] = {"model": ALIAS, "messages": [{"role": "user", "content": "Two and two?"}]}


@pytest.fixture(scope="module")
def running(tiny_checkpoint: Path) -> Iterator[Running]:
    with serving(House(tiny_checkpoint, always(writes(tiny_checkpoint))).app) as running:
        yield running


@pytest.fixture
def client(running: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


@pytest.fixture
def azure(running: Running) -> Iterator[openai.AzureOpenAI]:
    with openai.AzureOpenAI(
        azure_endpoint=running.url, api_key="unused", api_version="2024-10-21", max_retries=0
    ) as client:
        yield client


@pytest.mark.parametrize("name", [ALIAS, SNAPSHOT])
def test_a_response_answers_under_both_names_and_says_the_dated_one(client: openai.OpenAI, name: str) -> None:
    response = client.responses.create(**ASKED | {"model": name})
    assert (response.output_text, response.model, response.status) == (ANSWER, SNAPSHOT, "completed")


def test_a_streamed_response_is_the_same(client: openai.OpenAI) -> None:
    with client.responses.stream(**ASKED) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert len(texts) > 1
    assert "".join(texts) == final.output_text == ANSWER


def test_a_completion_answers(client: openai.OpenAI) -> None:
    completion = client.chat.completions.create(**CHATTED)
    assert completion.choices[0].message.content == ANSWER
    assert completion.model == SNAPSHOT


def test_a_streamed_completion_is_the_same(client: openai.OpenAI) -> None:
    chunks = list(client.chat.completions.create(**CHATTED, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == ANSWER
    assert chunks[-1].usage is not None


def test_input_tokens_are_those_that_a_response_is_charged(client: openai.OpenAI) -> None:
    counted = client.responses.input_tokens.count(**ASKED)
    usage = client.responses.create(**ASKED).usage
    assert usage is not None
    assert counted.input_tokens == usage.input_tokens


def test_models_are_listed_and_retrieved_by_both_names(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert set(listed) == {ALIAS, SNAPSHOT}
    for name, model in listed.items():
        assert client.models.retrieve(name) == model
        assert model.owned_by == "forethought"


def test_an_azure_deployment_is_a_model(azure: openai.AzureOpenAI) -> None:
    assert azure.chat.completions.create(**CHATTED).choices[0].message.content == ANSWER
    chunks = list(azure.chat.completions.create(**CHATTED, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == ANSWER


def test_azure_s_new_style_is_the_same_as_openai_s(running: Running) -> None:
    with openai.OpenAI(
        base_url=f"{running.url}/openai/v1/", api_key="unused", default_query={"api-version": "preview"}
    ) as client:
        assert client.responses.create(**ASKED).output_text == ANSWER
        assert client.chat.completions.create(**CHATTED).choices[0].message.content == ANSWER
        assert len(client.models.list().data) == 2


def test_an_unknown_model_is_a_404_that_names_the_known_ones(client: openai.OpenAI) -> None:
    for ask in (
        lambda: client.responses.create(**ASKED | {"model": "gpt-4o"}),
        lambda: client.chat.completions.create(**CHATTED | {"model": "gpt-4o"}),
        lambda: client.responses.input_tokens.count(**ASKED | {"model": "gpt-4o"}),
        lambda: client.models.retrieve("gpt-4o"),
    ):
        with pytest.raises(openai.NotFoundError, match=f"`{ALIAS}`") as raised:
            ask()
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_a_request_that_does_not_fit_is_refused_before_its_stream_begins(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.responses.create(**ASKED, stream=True, temperature=0.1)
    assert (raised.value.code, raised.value.param) == ("unsupported_value", "temperature")
