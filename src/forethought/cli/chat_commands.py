"""What can be typed in a chat besides messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from forethought.errors import RequestError
from forethought.model.conversation import Effort

if TYPE_CHECKING:
    from forethought.cli.chat_room import Chat

T = TypeVar("T")

EFFORTS: Mapping[str, Effort | None] = {"low": "low", "medium": "medium", "high": "high", "default": None}
SWITCH: Mapping[str, bool] = {"on": True, "off": False}
THINK: Mapping[str, bool | None] = {**SWITCH, "default": None}


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its argument and its purpose as /help shows them, and what it does.

    `act` gets the chat and the argument (empty when there is none) and returns what to tell the person.
    """

    argument: str
    purpose: str
    act: Callable[[Chat, str], Awaitable[str]]


async def obey(chat: Chat, line: str) -> bool:
    """Carries out a command. True when the chat is over.

    Raises:
        ForethoughtError: there is no such command, or it cannot be carried out like this.
    """
    name, _, argument = line.strip().partition(" ")
    if name not in COMMANDS:
        raise RequestError(f"There is no command {name}.", "/help lists them.")
    told = await COMMANDS[name].act(chat, argument.strip())
    if told:
        chat.terminal.note(told)
    return name == "/quit"


async def _help(chat: Chat, argument: str) -> str:
    lines = [(f"{name} {command.argument}".strip(), command.purpose) for name, command in COMMANDS.items()]
    width = max(len(usage) for usage, _ in lines) + 2
    keys = [("Ctrl-C", "end the answer"), ("Ctrl-D", "leave"), ("Alt-Enter", 'new line (or put """ around a text)')]
    return "\n".join(f"{usage:<{width}}{purpose}" for usage, purpose in [*lines, *keys])


async def _effort(chat: Chat, argument: str) -> str:
    if argument:
        chat.talk.effort = _choice("/effort", EFFORTS, argument)
        await _check_thinking(chat)
    return f"effort: {chat.talk.effort or 'default'}"


async def _think(chat: Chat, argument: str) -> str:
    if argument:
        chat.talk.think = _choice("/think", THINK, argument)
        if chat.talk.think is False:
            chat.talk.effort = None
    return f"think: {_name(THINK, chat.talk.think)}"


async def _show_thinking(chat: Chat, argument: str) -> str:
    chat.talk.show_thinking = _choice("/show-thinking", SWITCH, argument) if argument else not chat.talk.show_thinking
    return f"show thinking: {_name(SWITCH, chat.talk.show_thinking)}"


async def _system(chat: Chat, argument: str) -> str:
    if argument:
        chat.talk.system = "" if argument == "none" else argument
    return f"instructions: {chat.talk.system or 'none'}"


async def _reset(chat: Chat, argument: str) -> str:
    chat.talk.items.clear()
    chat.talk.cost = None
    return "A new conversation; instructions and settings stay."


async def _save(chat: Chat, argument: str) -> str:
    if not argument:
        raise RequestError("/save needs the name of a file.", "For example: /save chat.json")
    path = Path(argument).expanduser()
    try:
        chat.talk.save(path, chat.session.settings.model)
    except OSError as error:
        raise RequestError(f"{path} cannot be written: {error.strerror}.", "Choose another file.") from None
    return f"Saved to {path}, without any thinking."


async def _model(chat: Chat, argument: str) -> str:
    if argument:
        await chat.switch(argument)
    loaded = chat.session.loaded
    digest = f" {loaded.engine.digest}" if loaded else ""
    return f"model: {chat.session.settings.model} ({chat.session.state}){digest}"


async def _stats(chat: Chat, argument: str) -> str:
    cost, loaded = chat.talk.cost, chat.session.loaded
    if cost is None or loaded is None:
        return "Nothing has been answered yet."
    usage, metrics = cost.usage, loaded.engine.metrics()
    return "\n".join(
        (
            f"last answer   {usage.output_tokens} tokens ({usage.reasoning_tokens} of them thinking)"
            f" in {cost.seconds:.2f} s; first after {cost.first_seconds:.2f} s; {cost.tokens_per_second:.1f} tokens/s",
            f"last prompt   {usage.input_tokens} tokens, {usage.cached_tokens} of them cached",
            f"context       {usage.total_tokens} of {loaded.engine.context_length} tokens",
            f"engine        {metrics.generated_tokens} tokens in {metrics.finished} answers,"
            f" {metrics.tokens_per_second:.1f} tokens/s",
        )
    )


async def _quit(chat: Chat, argument: str) -> str:
    return ""


async def _check_thinking(chat: Chat) -> None:
    """An effort that cannot act is refused at once, not at the next message."""
    loaded = chat.session.loaded
    if chat.talk.effort and not chat.talk.think and loaded and not loaded.checkpoint.capabilities.thinks:
        chat.talk.effort = None
        raise RequestError("This model does not think.", "/think on forces it.")


def _choice(command: str, choices: Mapping[str, T], argument: str) -> T:
    if argument not in choices:
        raise RequestError(f"{command} does not know {argument!r}.", f"Say one of: {', '.join(choices)}.")
    return choices[argument]


def _name(choices: Mapping[str, T], value: T) -> str:
    return next(name for name, choice in choices.items() if choice == value)


COMMANDS: dict[str, Command] = {
    "/help": Command("", "this list", _help),
    "/effort": Command("low|medium|high|default", "how much to think before an answer", _effort),
    "/think": Command("on|off|default", "force thinking, or turn it off", _think),
    "/show-thinking": Command("[on|off]", "show the hidden chain of thought, for your eyes only", _show_thinking),
    "/system": Command("TEXT|none", "instructions for the model", _system),
    "/model": Command("NAME|DIRECTORY", "go on with another model", _model),
    "/stats": Command("", "what the last answer cost", _stats),
    "/save": Command("FILE", "write the conversation as JSON, without thinking", _save),
    "/reset": Command("", "begin a new conversation", _reset),
    "/quit": Command("", "leave", _quit),
}
