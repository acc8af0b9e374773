"""Errors as OpenAI's clients expect them: a status, and `{"error": {"message", "type", "param", "code"}}`.

Whatever goes wrong below becomes an `ApiError` here, once; no message ever quotes what the model thought.
"""

from collections.abc import Mapping
from typing import Any

from forethought.errors import (
    ContextLengthError,
    EngineDown,
    ForethoughtError,
    GrammarFailed,
    QueueFull,
    RequestError,
)

INVALID = "invalid_request_error"
SERVER = "server_error"
RETRY_AFTER_SECONDS = 1
RETRY = {"retry-after": str(RETRY_AFTER_SECONDS), "retry-after-ms": str(RETRY_AFTER_SECONDS * 1000)}
"""The headers of what may be tried again in a moment."""


class ApiError(Exception):
    """A refusal or failure, ready to be sent. All four keys of the body are always there."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def error(self) -> dict[str, Any]:
        """The object under `error`."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}

    @property
    def body(self) -> dict[str, Any]:
        """The body of the HTTP response."""
        return {"error": self.error}


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A 400 that names what is wrong with the request."""
    return ApiError(400, message, param=param, code=code)


def unsupported_parameter(name: str, instead: str = "") -> ApiError:
    """A 400 for a parameter that this model does not take, in OpenAI's words."""
    hint = f" Use '{instead}' instead." if instead else ""
    return invalid(
        f"Unsupported parameter: '{name}' is not supported with this model.{hint}", name, "unsupported_parameter"
    )


def unsupported_value(name: str, value: object, allowed: str) -> ApiError:
    """A 400 for a value that this model does not take, in OpenAI's words. `allowed` is a sentence."""
    return invalid(
        f"Unsupported value: '{name}' does not support {value} with this model. {allowed}", name, "unsupported_value"
    )


def only_allowed(name: str, condition: str) -> ApiError:
    """A 400 for a parameter that says nothing without another one, in OpenAI's words."""
    return invalid(f"The '{name}' parameter is only allowed when '{condition}' is enabled.", name, "invalid_value")


def unavailable(message: str, code: str) -> ApiError:
    """A 503 for what will be there in a moment, or not at all."""
    return ApiError(503, message, type=SERVER, code=code, headers=RETRY)


def broken() -> ApiError:
    """A part of ours failed in the middle of an answer. The log says more than a client may read."""
    return ApiError(500, "The server failed while it answered. Please try again.", type=SERVER, code="internal_error")


def api_error(error: ForethoughtError, param: str | None = None) -> ApiError:
    """What a client is told of an error of ours. `param` is the part of the request that it is about."""
    message = str(error)
    match error:
        case ContextLengthError():
            return invalid(message, param, "context_length_exceeded")
        case GrammarFailed():
            return invalid(message, param, "grammar_failed")
        case RequestError():
            return invalid(message, param, "invalid_value")
        case QueueFull():
            return ApiError(429, message, type="rate_limit_error", code="rate_limit_exceeded", headers=RETRY)
        case EngineDown():
            # What it says is for whoever runs the server, and in the log; who asks can only ask again.
            return unavailable("The model cannot answer at present. Ask again in a moment.", "engine_down")
        case _:
            return ApiError(500, message, type=SERVER, code="engine_error")
