"""A grammar lets through what it describes and nothing else."""

import json
import random
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import tiny_tokenizer
from forethought.engine.grammar import GrammarCompiler, GrammarState, allowed_tokens
from forethought.engine.grammar_source import lark_part
from forethought.engine.protocol import Grammar, Limits, Sampling, ThinkingBudget
from forethought.errors import GrammarError, GrammarFailed
from forethought.model.tokenizer import Tokenizer
from json_schemas import conforms, schemas
from runner_double import TOKENIZER, VOCAB, complete, make_core, make_request

STOP = TOKENIZER.special_id("<|im_end|>")
START = TOKENIZER.special_id("<|im_start|>")


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return GrammarCompiler(TOKENIZER, VOCAB, threads=2)


def allowed(compiler: GrammarCompiler, state: GrammarState) -> set[int] | None:
    """The tokens that may come next; None when nothing can."""
    masks = compiler.masks([state])
    return set(np.flatnonzero(allowed_tokens(masks[0], VOCAB)).tolist()) if state.allow(masks[0], VOCAB) else None


def ids(text: str) -> list[int]:
    return [TOKENIZER.encode(character)[0] for character in text]


def test_only_what_fits_is_allowed(compiler: GrammarCompiler) -> None:
    state = compiler.compile(Grammar("regex", "[xy]z"))
    assert allowed(compiler, state) == set(ids("xy"))
    assert not state.observe(ids("x")[0])
    assert allowed(compiler, state) == set(ids("z"))
    assert state.observe(ids("z")[0])


def test_stop_tokens_are_allowed_where_the_text_is_complete(compiler: GrammarCompiler) -> None:
    state = compiler.compile(Grammar("regex", "aa?"), stop_ids=(STOP, START))
    assert allowed(compiler, state) == set(ids("a"))
    assert not state.observe(ids("a")[0])
    assert allowed(compiler, state) == {*ids("a"), STOP, START}


def test_text_of_any_kind_never_allows_special_tokens(compiler: GrammarCompiler) -> None:
    state = compiler.compile(Grammar("regex", r"(.|\n)*"))
    tokens = allowed(compiler, state)
    assert tokens is not None
    assert TOKENIZER.special_ids.isdisjoint(tokens)
    assert max(tokens) < TOKENIZER.vocab_size


def test_a_lark_grammar_may_name_special_tokens(compiler: GrammarCompiler) -> None:
    state = compiler.compile(Grammar("lark", 'start: <|im_start|> "a"'))
    assert allowed(compiler, state) == {START}
    spelled = compiler.compile(Grammar("lark", 'start: "<|im_start|>"'))
    assert START not in (allowed(compiler, spelled) or set())


def test_a_grammar_may_begin_after_a_token(compiler: GrammarCompiler) -> None:
    state = compiler.compile(Grammar("regex", "ab", start_after=STOP))
    for token in ids("xyz"):
        assert not state.active
        assert not state.observe(token)
    assert not state.observe(STOP)
    assert state.active
    assert allowed(compiler, state) == set(ids("a"))


def test_many_masks_at_once_are_the_same_as_one_by_one(compiler: GrammarCompiler) -> None:
    sources = ["a+", "[0-9]{3}", "x|yz", r"\w*"]
    states = [compiler.compile(Grammar("regex", source), (STOP,)) for source in sources]
    together = compiler.masks(states)
    for row, state in enumerate(states):
        assert np.array_equal(together[row], compiler.masks([state])[0])


def test_white_space_that_is_forced_is_cut_as_in_front_of_a_word() -> None:
    description = json.loads(tiny_tokenizer().to_str())
    description["model"]["vocab"]["ĊĊ"] = VOCAB
    description["model"]["merges"].append(["Ċ", "Ċ"])
    tokenizer = Tokenizer(json.dumps(description))
    compiler = GrammarCompiler(tokenizer, VOCAB + 1, threads=1)
    ends = compiler.compile(Grammar("regex", r"a\n\n\n"))
    goes_on = compiler.compile(Grammar("regex", r"a\n\n[ab]"))
    for state, text in ((goes_on, "a\n\nb"), (ends, "a\n\n\n")):
        for token in tokenizer.encode(text):
            masks = compiler.masks([state])
            assert state.allow(masks[0], VOCAB + 1)
            assert allowed_tokens(masks[0], VOCAB + 1)[token], text
            state.observe(token)
    assert VOCAB in tokenizer.encode("\n\n\nb"), "or this tests nothing"


def test_states_of_one_grammar_do_not_disturb_each_other(compiler: GrammarCompiler) -> None:
    one, other = (compiler.compile(Grammar("regex", "[ab]c")) for _ in range(2))
    one.observe(ids("a")[0])
    assert allowed(compiler, one) == set(ids("c"))
    assert allowed(compiler, other) == set(ids("ab"))


@pytest.mark.parametrize(
    ("kind", "source", "says"),
    [
        ("regex", "(", "unclosed group"),
        ("lark", "start: foo", 'unknown name: "foo"'),
        ("json_schema", '{"type": "foo"}', "Invalid type: foo"),
        ("json_schema", "{nonsense", "key must be a string"),
        ("json_schema", "false", "schema is false"),
        ("json_schema", '{"minimum": 3, "maximum": 2, "type": "integer"}', "minimum (3) is greater"),
    ],
)
def test_what_cannot_be_compiled_is_refused_in_llguidances_words(
    compiler: GrammarCompiler, kind: Any, source: str, says: str
) -> None:
    with pytest.raises(GrammarError, match=re.escape(says)):
        compiler.compile(Grammar(kind, source))


def test_a_token_that_does_not_fit_is_an_error(compiler: GrammarCompiler) -> None:
    state = compiler.compile(Grammar("regex", "a"))
    with pytest.raises(GrammarFailed, match="grammar failed") as raised:
        state.observe(ids("b")[0])
    assert "\n" not in str(raised.value), "the output so far and the grammar are nobody's business"


def test_compiled_grammars_are_kept_up_to_a_size_and_a_long_one_counts_for_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("forethought.engine.grammar.COMPILED_BYTES", 2_000_000)
    compiler = GrammarCompiler(TOKENIZER, VOCAB, threads=1)
    for number in range(30):
        compiler.compile(Grammar("regex", f"a{{{number}}}b"))
    small = len(compiler._compiled)
    compiler.compile(Grammar("regex", "a" * 20_000))
    assert 1 < len(compiler._compiled) < small < 30
    assert compiler._compiled.held <= 2_000_000


def test_white_space_between_json_tokens_is_bounded(compiler: GrammarCompiler) -> None:
    state = compiler.compile(Grammar("json_schema", '{"type": "array", "items": {"type": "integer"}}'))
    state.observe(ids("[")[0])
    count = 0
    while ids("\n")[0] in (allowed(compiler, state) or set()):
        state.observe(ids("\n")[0])
        count += 1
    assert 1 <= count <= 20


@pytest.mark.parametrize(
    ("grammar", "text"),
    [
        (
            Grammar("json_schema", '{"$ref": "#/$defs/n", "$defs": {"n": {"type": "array", "items": {"enum": [1]}}}}'),
            "[ 1,",
        ),
        (Grammar("json_schema", "true"), '{"a"\n\n'),
        (Grammar("regex", r"a/\d[/]*"), "a/1/"),
        (Grammar("lark", 'start: "a" b+ // }\n%ignore / +/\nb: /[0-9]/'), "a 1"),
    ],
)
def test_a_constraint_means_the_same_as_a_part_of_a_grammar(
    compiler: GrammarCompiler, grammar: Grammar, text: str
) -> None:
    whole = compiler.compile(grammar)
    part = compiler.compile(Grammar("lark", f"start: part\npart: {lark_part(grammar)}"))
    for token in ids(text):
        assert allowed(compiler, part) == allowed(compiler, whole)
        whole.observe(token)
        part.observe(token)
    assert allowed(compiler, part) == allowed(compiler, whole)


def test_the_schema_of_any_json_is_a_schema(compiler: GrammarCompiler) -> None:
    state = compiler.compile(Grammar("json_schema", "true"))
    assert set(ids('{["-0tfn')) <= (allowed(compiler, state) or set())


@given(schema=schemas, seed=st.integers(0, 2**32), thinks=st.booleans(), stop=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_sampled_under_a_random_schema_is_valid_json(
    schema: dict[str, Any], seed: int, thinks: bool, stop: bool
) -> None:
    core, _ = make_core()
    start_after = START if thinks else None
    budget = ThinkingBudget(10, STOP, (START,)) if thinks else None
    rng = random.Random(seed)
    requests = [
        make_request(
            f"r{index}",
            [rng.randrange(TOKENIZER.vocab_size) for _ in range(5)],
            sampling=Sampling(temperature=rng.choice([0.0, 1.0, 3.0]), seed=rng.randrange(2**40)),
            grammar=Grammar("json_schema", json.dumps(schema), start_after),
            limits=Limits(400, stop_token_ids=(STOP,) if stop else (), thinking=budget),
        )
        for index in range(3)
    ]
    for completion in complete(core, *requests):
        assert completion.finished.reason in ("grammar", "stop_token", "max_tokens", "context")
        if completion.finished.reason in ("grammar", "stop_token"):
            answer = list(completion.token_ids)
            answer = answer[answer.index(START) + 1 :] if thinks else answer
            text = TOKENIZER.decode([token for token in answer if token != STOP])
            assert conforms(json.loads(text), schema), text
