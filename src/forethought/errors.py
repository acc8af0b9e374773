"""The exception tree. Each error says what happened and what to do about it.

    ForethoughtError
    ├── SettingsError            a setting has a value that cannot work
    ├── CheckpointError          a checkpoint is missing, incomplete, corrupt or of an unsupported kind
    │   └── DigestMismatch       the tensors are not the ones that were asked for
    ├── RequestError             what was asked for cannot be done; the asker can mend it
    │   ├── ContextLengthError   prompt and answer do not fit the context
    │   ├── GrammarError         a schema, regex or grammar that cannot be compiled
    │   │   └── GrammarFailed    one that could be, and cannot be followed to the end of an output
    │   └── RenderError          a conversation that the renderer cannot express
    ├── TaskError                a family of problems is missing, too small, or cannot do what was asked
    ├── TrainError               a recipe, a row or a run from which nothing can be learned
    │   └── TrainingStopped      an alarm ended a run, whose state has been saved
    ├── ResultError              a file of results that cannot be read, or results that cannot be compared
    └── EngineError              the engine could not finish what was asked
        ├── QueueFull            the bounded queue has no room; try again later
        └── EngineDown           the engine process died or hung; requests in flight are lost

Only a declared boundary (a request, a rollout, an eval sample) may catch `Exception`; there a failure becomes
data. Everything else raises one of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class ForethoughtError(Exception):
    """Base of every error that Forethought raises on purpose.

    `message` says what happened, `remedy` what to do about it (one sentence each).
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross the process border between the engine and its parent.
        return type(self), (self.message, self.remedy)


class SettingsError(ForethoughtError):
    """A setting has a value that cannot work."""


class CheckpointError(ForethoughtError):
    """A checkpoint is missing, incomplete, corrupt or of an unsupported kind."""


class DigestMismatch(CheckpointError):
    """The tensors found are not the ones that were asked for."""


class RequestError(ForethoughtError):
    """What was asked for cannot be done; whoever asked can mend it."""


class ContextLengthError(RequestError):
    """Prompt and answer do not fit the context. The message carries both numbers."""


class GrammarError(RequestError):
    """A JSON schema, regex or grammar cannot be compiled."""


class GrammarFailed(GrammarError):
    """A grammar has been compiled and cannot be followed to the end of an output: it is too complex, or comes to where
    no token fits."""


class RenderError(RequestError):
    """A conversation holds something that the renderer cannot express."""


class TaskError(ForethoughtError):
    """A family of problems is missing, too small, or cannot do what was asked of it."""


class TrainError(ForethoughtError):
    """A recipe, a row or a run from which nothing can be learned."""


class TrainingStopped(TrainError):
    """An alarm ended a run: going on would spoil the model, or teach it to cheat. The state has been saved."""


class ResultError(ForethoughtError):
    """A file of results cannot be read, or two results cannot be compared."""


class EngineError(ForethoughtError):
    """The engine could not finish what was asked."""


class QueueFull(EngineError):
    """The bounded request queue has no room."""


class EngineDown(EngineError):
    """The engine process died, hung or was closed; requests in flight are lost."""


def misfits(error: ValidationError) -> str:
    """What pydantic found wrong, each with the place where it stands; for the message of one of the errors above."""
    return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
