"""The Responses API: a request becomes a conversation, and the events of its turn become OpenAI's."""

from forethought.api.responses.create import CreateResponse, parse_create
from forethought.api.responses.input_tokens import count_input_tokens
from forethought.api.responses.launch import start
from forethought.api.responses.stream import ResponseStream

__all__ = ["CreateResponse", "ResponseStream", "count_input_tokens", "parse_create", "start"]
