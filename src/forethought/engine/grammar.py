"""Constraints on the output, enforced with llguidance: which tokens may come next.

The end of the output is a pseudo token behind the vocabulary, so that llguidance's idea of an end token never
collides with a real one. Where the grammar allows the end, the request's own stop tokens are allowed.
"""

import threading
from functools import partial

import llguidance
import llguidance.numpy as bitmask
import numpy as np
import numpy.typing as npt

from forethought.engine.grammar_source import grammar_source, refusal
from forethought.engine.protocol import Grammar, GrammarKind
from forethought.engine.runner import Int32
from forethought.engine.sized_cache import SizedCache
from forethought.errors import GrammarFailed
from forethought.model.tokenizer import Tokenizer

COMPILED_BYTES = 128 * 2**20
"""That compiled grammars may take together, as far as can be told from outside."""
_BITS = 32
_WORD = "a"
"""Stands for any one."""


class GrammarState:
    """The constraint of one request. `active` is False until the token has been seen after which it starts."""

    __slots__ = ("_matcher", "_start_after", "_stop_ids", "active")

    def __init__(
        self, matcher: llguidance.LLMatcher, start_after: int | None = None, stop_ids: tuple[int, ...] = ()
    ) -> None:
        self._matcher = matcher
        self._start_after = start_after
        self._stop_ids = stop_ids
        self.active = start_after is None

    def observe(self, token: int) -> bool:
        """Takes the next token of the output; True when nothing can follow it.

        Raises:
            GrammarFailed: it cannot go on (llguidance hit one of its limits).
        """
        if not self.active:
            self.active = token == self._start_after
            return False
        if not self._matcher.consume_token(token):
            raise self._failure()
        return self._matcher.is_stopped()

    def allow(self, mask_W: Int32, vocab_size: int) -> bool:
        """Turns llguidance's end token in a filled mask into the request's stop tokens; False when nothing is left
        to come.

        Raises:
            GrammarFailed: it cannot go on (llguidance hit one of its limits).
        """
        if self._matcher.is_error():
            raise self._failure()
        word, bit = divmod(vocab_size, _BITS)
        bits = mask_W.view(np.uint32)
        ending = bool(bits[word] >> np.uint32(bit) & 1)
        bits[word] &= ~np.uint32(1 << bit)
        if ending:
            for token in self._stop_ids:
                bits[token // _BITS] |= np.uint32(1 << token % _BITS)
        if bits.any():
            return True
        if ending:
            return False
        raise GrammarFailed("The grammar allows no token here.", "Change the grammar: it demands what no token spells.")

    def fill(self, masks_GW: Int32, index: int) -> None:
        """Writes llguidance's mask of the next token into one row."""
        bitmask.fill_next_token_bitmask(self._matcher, masks_GW, index)

    def task(self, index: int) -> tuple[llguidance.LLMatcher, int]:
        """What llguidance's executor wants to know to do the same."""
        return self._matcher, index

    def _failure(self) -> GrammarFailed:
        # What follows the first line is llguidance's state: the output so far and the whole grammar.
        reason = self._matcher.get_error().strip().partition("\n")[0]
        return GrammarFailed(f"The grammar failed: {reason}.", "Simplify it.")


class GrammarCompiler:
    """Compiles grammars for one tokenizer and keeps the last ones. May be called from any thread."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int, threads: int) -> None:
        self._source = tokenizer
        self._vocab_size = vocab_size
        self._threads = threads
        self._lock = threading.Lock()
        self._compiled: SizedCache[tuple[GrammarKind, str], llguidance.LLMatcher] = SizedCache(
            COMPILED_BYTES, lambda key, _: _compiled_size(key[1])
        )
        self._tokenizer: llguidance.LLTokenizer | None = None
        self._executor: llguidance.LLExecutor | None = None

    def compile(self, grammar: Grammar, stop_ids: tuple[int, ...] = ()) -> GrammarState:
        """A fresh state.

        Raises:
            GrammarError: with llguidance's own words.
        """
        key = grammar.kind, grammar.source
        with self._lock:
            matcher = self._compiled.get(key, partial(self._matcher, grammar))
            return GrammarState(matcher.deep_copy(), grammar.start_after, stop_ids)

    def masks(self, states: list[GrammarState]) -> Int32:
        """llguidance's masks of the next token, one row a state. Pass each row through `GrammarState.allow`."""
        masks_GW = np.zeros((len(states), self._vocab_size // _BITS + 1), np.int32)
        if len(states) == 1:
            states[0].fill(masks_GW, 0)
            return masks_GW
        if self._executor is None:
            self._executor = llguidance.LLExecutor(self._threads)
        tasks = [state.task(index) for index, state in enumerate(states)]
        bitmask.fill_next_token_bitmask_par(self._executor, tasks, masks_GW)
        return masks_GW

    def _matcher(self, grammar: Grammar) -> llguidance.LLMatcher:
        if self._tokenizer is None:
            vocabulary = _Vocabulary(self._source, self._vocab_size)
            self._tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary))
        matcher = llguidance.LLMatcher(self._tokenizer, grammar_source(grammar), log_level=0)
        if matcher.is_error():
            raise refusal(grammar.kind, matcher.get_error())
        return matcher


def allowed_tokens(mask_W: Int32, vocab_size: int) -> npt.NDArray[np.bool_]:
    """A mask as one boolean per token."""
    return np.unpackbits(mask_W.view(np.uint8), count=vocab_size, bitorder="little").view(np.bool_)


def _compiled_size(source: str) -> int:
    """About how many bytes a grammar takes when it is compiled: measured on schemas and grammars of all lengths."""
    return 100_000 + 64 * len(source)


class _Vocabulary:
    """Our tokenizer in the form that `llguidance.TokenizerWrapper` wants, with one more token: the end."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        self._tokenizer = tokenizer
        end = b"<|end of output|>"
        self.tokens = [*map(tokenizer.token_bytes, range(vocab_size)), end]
        self.special_token_ids = [*(id_ for id_ in tokenizer.special_ids if id_ < vocab_size), vocab_size]
        self.eos_token_id = vocab_size
        self.bos_token_id = None

    def __call__(self, text: str) -> list[int]:
        """The tokens of a text that the grammar leaves no choice about, and that goes on: how white space at its end is
        cut depends on what comes then (GPT-2's pattern keeps the last line break apart in front of a word)."""
        if text[-1:].isspace():
            *tokens, last = self._tokenizer.encode(text + _WORD)
            if self._tokenizer.token_bytes(last) == _WORD.encode():
                return tokens
        return self._tokenizer.encode(text)
