"""The model's side of a run: the steps of a scripted engine, for the answers and for their summaries."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from random import Random

from forethought.engine.protocol import Request
from forethought.engine.script import End, Fail, Hang, Say, Step
from forethought.errors import EngineDown, EngineError, ForethoughtError, GrammarError, QueueFull, RequestError
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Message, Thinking
from forethought.model.renderer.forethought import Markers
from runs.run import Break, Breakage, Output, Refusal, Run, Summariser
from runs.splits import Splitter

CRASHED = EngineDown("The engine process was killed.", "Ask again.")
TITLE = "**A title of its own**"
SENTENCE = "It goes through the matter step by step."
OWN_WORDS = f"{TITLE}\n\n{SENTENCE}"

REFUSALS: Mapping[Refusal, ForethoughtError] = {
    "queue full": QueueFull("1024 requests are waiting, the most there may be.", "Try again later."),
    "engine down": EngineDown("The engine is starting.", "Try again later."),
    "grammar": GrammarError("The grammar cannot be compiled: it is too large.", "Mend it and ask again."),
    "request": RequestError("logprobs is 99.", "It must be between 0 and 20."),
}
STEPS: Mapping[Breakage, Step] = {
    "max_tokens": End("max_tokens"),
    "context": End("context"),
    "cancelled": End("cancelled"),
    "hangs": Hang(),
    "engine error": End("error", "The arithmetic failed."),
    "engine fails": Fail(EngineError("The engine died.", "Ask again.")),
    "engine down": Fail(EngineDown("The engine is down.", "Try again later.")),
    "late refusal": Fail(GrammarError("The JSON schema cannot be compiled: no.", "Mend it and ask again.")),
}
SUMMARY_ENDS: Mapping[Summariser, Step] = {
    "hangs": Hang(),
    "is cut off": End("max_tokens"),
    "fails": Fail(EngineError("The engine died.")),
}


class Stage:
    """Plays one run after another."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._tokenizer = checkpoint.tokenizer
        self._renderer = checkpoint.renderer
        self._splitter = Splitter(checkpoint.tokenizer)
        self._run: Run | None = None
        self._asked = 0
        self._crashed = False
        self._end: Callable[[Breakage], None] | None = None
        self.submitted = threading.Event()
        self.prompt: tuple[int, ...] = ()
        """What the model was last shown."""

    def set(self, run: Run, end: Callable[[Breakage], None]) -> None:
        """From now on this run is played, from its beginning. `end` closes the engine, or ends the server."""
        self._run = run
        self._end = end
        self._asked = 0
        self._crashed = False
        self.submitted.clear()

    def script(self, request: Request) -> Iterable[Step]:
        """What the engine does with a request. Raises what it is refused with."""
        run = self._run
        assert run is not None
        self.submitted.set()
        if self._crashed:
            raise CRASHED
        if request.priority > 0:
            return self._mortal(self._summary(run, self._segment(request)))
        if run.refusal == "bug":
            raise self.bug()
        if run.refusal is not None:
            raise REFUSALS[run.refusal]
        self.prompt = request.prompt_ids
        output = run.outputs[self._asked % len(run.outputs)]
        self._asked += 1
        return self._mortal(self._written(output))

    def tokens(self, output: Output) -> tuple[int, ...]:
        """An output, as this run cuts it into tokens."""
        dice = Random(output.split)
        *written, stop = self._renderer.render_output(output.items)
        for piece in output.raw:
            marker = self._tokenizer.special_tokens.get(piece)
            written += self._tokenizer.encode(piece) if marker is None else [marker]
        tokens = self._splitter.split([*written, stop], dice)
        for place, noise in output.noise:
            at = round(place * len(tokens))
            tokens[at:at] = noise
        return tuple(tokens)

    def bug(self) -> RuntimeError:
        """What no part of the program raises on purpose. It may quote what was thought."""
        run = self._run
        return RuntimeError(f"cannot read {run.thoughts}" if run is not None and run.quotes else "a bug")

    def _written(self, output: Output) -> Generator[Step]:
        tokens = self.tokens(output)
        if output.ends is None:
            yield Say(tokens)
            return
        yield Say(tokens[: int(output.ends.at * len(tokens))])
        yield from self._breakage(output.ends)

    def _breakage(self, ends: Break) -> Iterator[Step]:
        match ends.how:
            case "stops":
                pass  # a script that is over samples the stop token
            case "bug":
                raise self.bug()
            case "engine crashes":
                self._crashed = True
                yield Fail(CRASHED)
            case "engine closes" | "server ends":
                assert self._end is not None
                self._end(ends.how)
                yield Hang()
            case how:
                yield STEPS[how]

    def _mortal(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The steps, until the engine crashes under another request of the run."""
        for step in steps:
            for each in _singly(step):
                if self._crashed and not isinstance(each, Fail):
                    yield Fail(CRASHED)
                    return
                yield each

    def _summary(self, run: Run, segment: str) -> Iterable[Step]:
        """What the summariser writes about a segment. Raises what refuses it."""
        # A part is too short for all of a segment: who copies begins where it matters.
        copied_from = segment[max(0, segment.find(run.secret)) :]
        match how := run.summariser:
            case "refuses":
                raise REFUSALS["queue full"]
            case "has a bug":
                raise self.bug()
            case "says nothing":
                return ()
            case "thinks":
                return (Say(self._renderer.render_output((Message.of("assistant", TITLE), Thinking(copied_from)))),)
            case "calls":
                opening = self._tokenizer.special_id(Markers().call_open)
                return (Say((*self._said(OWN_WORDS)[:-1], opening, *self._said(copied_from))),)
            case "hangs" | "is cut off" | "fails":
                return Say(self._said(OWN_WORDS)[:-4]), SUMMARY_ENDS[how]
            case _:
                return (Say(self._said(copied(how, copied_from))),)

    def _said(self, text: str) -> tuple[int, ...]:
        tokens = self._renderer.render_output((Message.of("assistant", text),))
        return tuple(self._splitter.split(tokens, Random(len(text))))

    def _segment(self, request: Request) -> str:
        """What the summariser is shown."""
        prompt = self._tokenizer.decode(request.prompt_ids)
        return prompt.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]


def _singly(step: Step) -> Iterator[Step]:
    """A step, one token at a time."""
    if isinstance(step, Say):
        yield from (Say((token,), step.every) for token in step.token_ids)
    else:
        yield step


def copied(how: Summariser, segment: str) -> str:
    """A summary in words of its own, or one that tries to show the segment."""
    words = segment.split()
    match how:
        case "quotes":
            return f"{TITLE}\n\nThe notes say: {segment}"
        case "titles":
            return f"**{' '.join(words[:40])}**\n\n{SENTENCE}"
        case "spells":
            return f"{TITLE}\n\n{' '.join(segment).upper()}"
        case "dots":
            return f"{TITLE}\n\n{'.'.join(words).title()}."
        case "chops":
            return f"{TITLE}\n\n{' no '.join(words)}."
        case "shreds":
            return f"{TITLE}\n\n{' no '.join(segment[at : at + 8] for at in range(0, len(segment), 8))}."
        case _:
            return OWN_WORDS
