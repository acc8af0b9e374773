"""The Chat Completions API: messages become a conversation, and the events of its turns become OpenAI's chunks."""

from forethought.api.chat.create import CreateChatCompletion, parse_create
from forethought.api.chat.launch import start
from forethought.api.chat.stream import ChatStream

__all__ = ["ChatStream", "CreateChatCompletion", "parse_create", "start"]
