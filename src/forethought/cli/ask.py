"""`forethought ask`: one question, one answer, for a person or for a script."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from forethought.errors import GrammarError, RequestError
from forethought.model.conversation import Conversation, Effort, Message, Thinking

if TYPE_CHECKING:
    from forethought.cli.session import Loaded
    from forethought.cli.terminal import Terminal
    from forethought.reasoning.answer import Answer
    from forethought.reasoning.events import Event, ItemDone
    from forethought.reasoning.format import OutputFormat
    from forethought.reasoning.turn import Turn
    from forethought.reasoning.turn_options import SamplingOverrides
    from forethought.settings import Settings

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""

ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="A name or a directory (default: the model in use).")
]
EffortOption = Annotated[
    Literal["low", "medium", "high"] | None, typer.Option(help="How much to think before the answer.")
]
ThinkOption = Annotated[
    bool | None, typer.Option("--think/--no-think", help="Force thinking, or turn it off (default: as the model does).")
]
ShowThinkingOption = Annotated[bool, typer.Option("--show-thinking", help="Show the hidden chain of thought.")]
SystemOption = Annotated[str, typer.Option(help="Instructions for the model.")]
MaxTokensOption = Annotated[int | None, typer.Option(min=1, help="Most tokens of thinking and answer together.")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Makes the answer reproducible.")]
TemperatureOption = Annotated[float | None, typer.Option(min=0, help="0 always takes the likeliest token.")]


@dataclass(frozen=True, slots=True)
class Question:
    """What `ask` was asked."""

    text: str
    system: str
    effort: Effort | None
    think: bool | None
    schema: Path | None
    max_tokens: int | None
    seed: int | None
    temperature: float | None
    stop: tuple[str, ...]

    def conversation(self) -> Conversation:
        """The instructions, if any, and the question."""
        system = (Message.of("system", self.system),) if self.system else ()
        return Conversation((*system, Message.of("user", self.text)))

    def submit(self, loaded: Loaded) -> Turn:
        """Asks. Raises what `Reasoner.turn` raises."""
        sampling: SamplingOverrides = {} if self.temperature is None else {"temperature": self.temperature}
        return loaded.reasoner.turn(
            self.conversation(),
            effort=self.effort,
            think=self.think,
            output_format=_format(self.schema),
            max_output_tokens=self.max_tokens,
            stop=self.stop,
            sampling=sampling,
            seed=self.seed,
        )


def ask(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="The question; - reads it from standard input.")],
    model: ModelOption = None,
    effort: EffortOption = None,
    think: ThinkOption = None,
    show_thinking: ShowThinkingOption = False,
    system: SystemOption = "",
    schema: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A file with the JSON schema of the answer.")
    ] = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    temperature: TemperatureOption = None,
    stop: Annotated[list[str] | None, typer.Option(help="A string that ends the answer; may be repeated.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the items of the answer as JSON, at its end.")] = False,
) -> None:
    """Ask one question. The answer is printed as it comes."""
    text = sys.stdin.read() if question == "-" else question
    if not text.strip():
        raise RequestError("The question is empty.", 'Ask, for example: forethought ask "Why is the sky blue?"')
    asked = Question(text, system, effort, think, schema, max_tokens, seed, temperature, tuple(stop or ()))
    raise typer.Exit(asyncio.run(_answer(settings_for(context, model), asked, as_json, show_thinking)))


def settings_for(context: typer.Context, model: str | None) -> Settings:
    """The settings of this command line, with the model that the command itself names."""
    settings = cast("Settings", context.obj)
    return settings if model is None else settings.model_copy(update={"model": model})


async def _answer(settings: Settings, asked: Question, as_json: bool, show_thinking: bool) -> int:
    """Asks and prints; the exit status."""
    from forethought.cli.interrupt import interrupting
    from forethought.cli.session import Session
    from forethought.cli.terminal import Terminal, TurnView
    from forethought.reasoning.answer import Answer

    terminal = Terminal()
    events: list[Event] = []
    async with Session(settings) as session:
        with TurnView(terminal, show_thinking=show_thinking, show_text=not as_json) as view:
            view.wait("loading the model…")
            loaded = await session.ready()
            view.wait("reading the question…")
            async with asked.submit(loaded) as turn:
                with interrupting(turn.cancel):
                    async for event in turn:
                        events.append(event)
                        view.show(event)
        answer = Answer.of(events)
        if as_json:
            terminal.out.out(json.dumps(_as_json(answer, loaded, settings), ensure_ascii=False, indent=2))
    return _status(answer, asked, terminal)


def _status(answer: Answer, asked: Question, terminal: Terminal) -> int:
    """0 for an answer that is what was asked for; a text that was cut off is one, a cut JSON document is not."""
    done = answer.done
    if done.status == "failed" and done.error is not None:
        terminal.error(done.error.message, done.error.remedy)
        return 1
    if done.status == "cancelled":
        return INTERRUPTED
    return 1 if done.status == "incomplete" and asked.schema else 0


def _as_json(answer: Answer, loaded: Loaded, settings: Settings) -> dict[str, Any]:
    """The answer for a program. Thinking is not in it; its tokens are counted in the usage."""
    done = answer.done
    return {
        "model": settings.model,
        "digest": loaded.engine.digest,
        "status": done.status,
        "incomplete_reason": done.incomplete_reason,
        "thinking_closed": done.thinking_closed,
        "error": asdict(done.error) if done.error else None,
        "items": [_item(item) for item in answer.items if not isinstance(item.item, Thinking)],
        "usage": asdict(done.usage),
    }


def _item(done: ItemDone) -> dict[str, Any]:
    kind = "message" if isinstance(done.item, Message) else "tool_call"
    content = {"text": done.item.text} if isinstance(done.item, Message) else asdict(done.item)
    return {"type": kind, "status": done.status, **content}


def _format(schema: Path | None) -> OutputFormat:
    from forethought.reasoning.format import FreeText, JsonSchema

    if schema is None:
        return FreeText()
    try:
        content: Any = json.loads(schema.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GrammarError(f"{schema} cannot be read as JSON: {error}.", "Write a JSON schema into it.") from None
    if not isinstance(content, dict):
        raise GrammarError(f"{schema} holds no JSON object.", "Write a JSON schema into it.")
    return JsonSchema(cast("dict[str, Any]", content))
