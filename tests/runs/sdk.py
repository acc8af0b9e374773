"""OpenAI's SDK over the bytes of a stream that came already: what its own helpers make of it, event by event."""

from typing import Any, Self

import httpx
import openai
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

ASKED: dict[str, Any] = {"model": "replayed"}


class Sdk:
    """A client whose every request is answered by the stream at hand. Use as `with`."""

    def __init__(self) -> None:
        self._raw = b""
        transport = httpx.MockTransport(self._answer)
        self._client = openai.OpenAI(
            base_url="http://replayed/v1",
            api_key="unused",
            max_retries=0,
            http_client=httpx.Client(transport=transport),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def response(self, raw: bytes) -> tuple[list[str], Response]:
        """The types of the events that `responses.stream` gives, and the response.

        Raises:
            openai.APIError: the stream ended in `error`.
            RuntimeError: the response was not completed.
        """
        self._raw = raw
        with self._client.responses.stream(**ASKED, input="") as stream:
            types = [event.type for event in stream]
            return types, stream.get_final_response()

    def completion(self, raw: bytes) -> tuple[int, ChatCompletion]:
        """The number of chunks that `chat.completions.stream` gives, and the completion.

        Raises:
            openai.APIError: the stream ended in an error.
            openai.LengthFinishReasonError: the completion was cut off.
        """
        self._raw = raw
        with self._client.chat.completions.stream(**ASKED, messages=[]) as stream:
            chunks = sum(event.type == "chunk" for event in stream)
            return chunks, stream.get_final_completion()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=self._raw)
