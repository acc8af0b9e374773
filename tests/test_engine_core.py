"""The core answers each request as if it were alone, and each request is answered once, whatever happens around it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought.engine.core import EngineCore
from forethought.engine.protocol import (
    Completion,
    EmbeddingSpan,
    Finished,
    Grammar,
    Limits,
    Request,
    Sampling,
    ThinkingBudget,
    TokenEvent,
)
from forethought.engine.torch_runner import TorchRunner
from forethought.errors import CheckpointError, ContextLengthError, GrammarError, QueueFull, RequestError
from forethought.model.checkpoint import Checkpoint
from forethought.settings import EngineSettings
from runner_double import TOKENIZER, VOCAB, HashRunner, Recorder, complete, make_core, make_request

END = TOKENIZER.special_id("<|im_end|>")
OPEN = TOKENIZER.special_id("<|im_start|>")
PROMPT = list(range(40))


def alone(request: Request, context_length: int = 512) -> Completion:
    """What the request yields with nothing around it, in a cache that is large enough."""
    core, _ = make_core(prefix_sharing=False, context_length=context_length)
    return complete(core, request)[0]


def one(request: Request) -> Completion:
    core, _ = make_core()
    return complete(core, request)[0]


def span(position: int, rows: int, content: str) -> EmbeddingSpan:
    values = torch.arange(rows * HashRunner.hidden_size).reshape(rows, -1) + sum(content.encode())
    return EmbeddingSpan(position, values.float(), content)


# How an answer ends


def test_an_answer_ends_at_its_token_limit() -> None:
    completion = one(make_request("r", PROMPT, 5))
    assert completion.finished == Finished("max_tokens", prompt_tokens=40, cached_tokens=0, completion_tokens=5)
    assert len(completion.token_ids) == 5


def test_an_answer_ends_with_its_stop_token() -> None:
    said = one(make_request("r", PROMPT, 20)).token_ids
    completion = one(make_request("r", PROMPT, limits=Limits(20, stop_token_ids=(said[3],))))
    assert completion.token_ids == said[: said.index(said[3]) + 1]
    assert completion.finished.reason == "stop_token"


def test_an_answer_ends_with_the_token_that_completes_a_stop_string() -> None:
    said = one(make_request("r", PROMPT, 30)).token_ids
    text = b"".join(TOKENIZER.token_bytes(token) for token in said)
    stop = next(text[i : i + 4].decode() for i in range(8, len(text)) if text[i : i + 4].isascii())
    completion = one(make_request("r", PROMPT, limits=Limits(30, stop_strings=("never said", stop))))
    heard = b"".join(TOKENIZER.token_bytes(token) for token in completion.token_ids)
    assert completion.finished.reason == "stop_string"
    assert stop.encode() in heard
    assert stop.encode() not in b"".join(TOKENIZER.token_bytes(token) for token in completion.token_ids[:-1])


def test_an_answer_ends_where_the_context_does() -> None:
    core, _ = make_core(context_length=50)
    completion = complete(core, make_request("r", PROMPT, 100))[0]
    assert (completion.finished.reason, len(completion.token_ids)) == ("context", 10)


def test_a_small_cache_is_a_small_context() -> None:
    core, _ = make_core(blocks=2, context_length=500)
    assert core.context_length == 64
    assert len(complete(core, make_request("r", PROMPT, 100))[0].token_ids) == 24


def test_an_answer_ends_with_its_grammar() -> None:
    completion = one(make_request("r", PROMPT, 20, grammar=Grammar("regex", "[ab]{3}")))
    assert completion.finished.reason == "grammar"
    assert TOKENIZER.decode(completion.token_ids).strip("ab") == ""


def test_the_model_may_end_an_answer_where_its_grammar_allows_it() -> None:
    limits = Limits(400, stop_token_ids=(END,))
    completion = one(make_request("r", PROMPT, limits=limits, grammar=Grammar("regex", "(ab)*")))
    assert completion.finished.reason == "stop_token"
    assert TOKENIZER.decode(completion.token_ids[:-1]).replace("ab", "") == ""


def test_a_grammar_that_no_token_can_follow_ends_its_request_only() -> None:
    vocab_size = 100
    core = EngineCore(HashRunner(64, vocab_size), TOKENIZER, EngineSettings(), 512)
    letter = TOKENIZER.decode([60])
    assert all(TOKENIZER.encode(character)[0] >= vocab_size for character in "é")
    core.add(make_request("dead", [1, 2], 20, grammar=Grammar("regex", f"{letter}é")))
    core.add(make_request("other", [1, 2], 5))
    recorder = Recorder(core).run()
    assert (recorder.finished["dead"].reason, recorder.finished["dead"].completion_tokens) == ("grammar_failed", 1)
    assert "grammar" in (recorder.finished["dead"].error or "")
    assert recorder.finished["other"].reason == "max_tokens"


def test_a_grammar_that_grows_too_complex_on_the_way_ends_its_request_and_says_why() -> None:
    width = 260
    rules = [f'a{index}: "x" a{index} "y" | "x" s "z{index}" | "x"' for index in range(width)]
    source = "\n".join(["start: s", f"s: {' | '.join(f'a{index}' for index in range(width))}", *rules])
    finished = one(make_request("r", PROMPT, 20, grammar=Grammar("lark", source))).finished
    assert finished.reason == "grammar_failed"
    assert re.fullmatch(r"The grammar failed: .*row has \d+ items; max is \d+.* Simplify it\.", finished.error or "")


# Thinking


def think(budget: int = 1000, max_tokens: int = 60, reserve: int = 0, **fields: object) -> Completion:
    thinking = ThinkingBudget(budget, OPEN, (11, END), reserve=reserve)
    limits = Limits(max_tokens, thinking=thinking, **fields.pop("limits", {}))  # type: ignore[arg-type]
    return one(make_request("r", PROMPT, limits=limits, sampling=Sampling(seed=3), **fields))


def test_a_budget_used_up_ends_the_thinking() -> None:
    completion = think(budget=7)
    assert [event.forced for event in completion.tokens[:10]] == [False] * 7 + [True] * 2 + [False]
    assert completion.token_ids[7:9] == (11, END)
    assert completion.finished.thinking_tokens == 7
    assert completion.finished.thinking_closed == "budget"
    assert completion.finished.completion_tokens == 60


def test_thinking_ends_while_the_answer_still_fits() -> None:
    completion = think(max_tokens=30, reserve=12)
    end = completion.token_ids.index(END)
    assert end == 30 - 12 - 1
    assert completion.finished.thinking_closed == "limit"


def test_thinking_ends_before_the_context_does() -> None:
    core, _ = make_core(context_length=60)
    limits = Limits(1000, thinking=ThinkingBudget(1000, OPEN, (END,), reserve=5))
    completion = complete(core, make_request("r", PROMPT, limits=limits))[0]
    assert completion.token_ids[14] == END
    assert len(completion.token_ids) == 20
    assert completion.finished.thinking_closed == "limit"


def test_forced_tokens_are_read_by_the_model_like_its_own() -> None:
    greedy = Sampling(temperature=0)
    limits = Limits(10, thinking=ThinkingBudget(7, OPEN, (11, END)))
    said = one(make_request("r", PROMPT, limits=limits, sampling=greedy)).token_ids
    assert said[7:9] == (11, END)
    assert said[9:] == one(make_request("r", [*PROMPT, *said[:9]], 1, sampling=greedy)).token_ids


def test_a_grammar_begins_after_a_forced_end() -> None:
    completion = think(budget=7, grammar=Grammar("regex", "x[ab]{4}", start_after=END))
    assert completion.finished.reason == "grammar"
    assert TOKENIZER.decode(completion.token_ids[9:])[0] == "x"


def test_stop_strings_are_not_looked_for_in_the_thinking() -> None:
    said = think(budget=20).token_ids
    thought = next(piece for piece in map(TOKENIZER.token_bytes, said[:20]) if piece.isascii()).decode()
    completion = think(budget=20, limits={"stop_strings": (thought,)})
    assert len(completion.token_ids) > 22
    plain = make_request("r", PROMPT, limits=Limits(60, stop_strings=(thought,)), sampling=Sampling(seed=3))
    assert len(one(plain).token_ids) <= 20


def test_forced_tokens_have_logprobs_and_count_for_penalties() -> None:
    completion = think(budget=3, logprobs=2)
    assert all(event.logprob is not None and len(event.top_logprobs) == 2 for event in completion.tokens)
    limits = Limits(10, thinking=ThinkingBudget(0, OPEN, (*[11] * 8, END)))
    # A negative penalty favours what was said: eight times 11, by force.
    for penalty, follows in ((0.0, False), (-2.0, True)):
        sampling = Sampling(temperature=0, frequency_penalty=penalty)
        said = one(make_request("r", PROMPT, limits=limits, sampling=sampling)).token_ids
        assert (said[-1] == 11) == follows


def test_a_stop_token_inside_the_thinking_ends_the_thinking_only() -> None:
    thought = think(budget=20).token_ids[:20]
    stop = thought[4]
    completion = think(budget=20, logprobs=1, limits={"stop_token_ids": (stop,)})
    first = thought.index(stop)
    assert completion.token_ids[: first + 2] == (*thought[:first], 11, END)
    assert [event.forced for event in completion.tokens[: first + 2]] == [False] * first + [True, True]
    assert all(event.logprob is not None and event.top_logprobs for event in completion.tokens)
    assert (completion.finished.thinking_closed, completion.finished.thinking_tokens) == ("stop", first)


# Sharing


def test_many_answers_to_one_prompt_compute_it_once() -> None:
    core, runner = make_core()
    requests = [make_request(f"r{index}", PROMPT, 6, sampling=Sampling(seed=index)) for index in range(16)]
    completions = complete(core, *requests)
    assert [step.tokens for step in runner.steps[:2]] == [40, 16]
    assert [c.token_ids for c in completions] == [alone(request).token_ids for request in requests]
    assert [c.finished.cached_tokens for c in completions] == [0] + [39] * 15
    assert core.metrics().cache_hit_rate == pytest.approx(39 * 15 / (40 * 16))


def test_the_next_turn_of_a_conversation_computes_only_what_is_new() -> None:
    core, runner = make_core()
    first = complete(core, make_request("one", PROMPT, 30))[0]
    runner.steps.clear()
    history = [*PROMPT, *first.token_ids, 5, 6, 7]
    second = complete(core, make_request("two", history, 3))[0]
    # All but the last token of the answer, which was never fed, and the three new ones.
    assert second.finished.cached_tokens == 69
    assert runner.steps[0].tokens == 4
    assert second.token_ids == alone(make_request("two", history, 3)).token_ids


def test_images_are_told_apart_by_their_content() -> None:
    core, _ = make_core()
    cat, dog = (
        make_request(name, PROMPT, 4, spans=(span(5, 20, name),), sampling=Sampling(seed=1)) for name in ("cat", "dog")
    )
    assert complete(core, cat)[0].token_ids == alone(cat).token_ids
    again = complete(core, replace(cat, id="again"))[0]
    assert again.token_ids == alone(cat).token_ids
    assert again.finished.cached_tokens == 39
    other = complete(core, dog)[0]
    assert other.token_ids == alone(dog).token_ids != alone(cat).token_ids
    assert other.finished.cached_tokens == 5


def test_an_image_may_be_computed_in_pieces() -> None:
    request = make_request("r", PROMPT, 4, spans=(span(0, 10, "a"), span(25, 15, "b")))
    core, runner = make_core(max_step_tokens=32)
    assert complete(core, request)[0].token_ids == alone(request).token_ids
    assert [step.tokens for step in runner.steps[:2]] == [32, 8]


# Failure


def test_a_failing_step_ends_what_ran_and_nothing_else() -> None:
    core, runner = make_core(max_running=2)
    recorder = Recorder(core)
    for index in range(4):
        core.add(make_request(f"r{index}", [index], 5))
    recorder.step()
    runner.fail = True
    recorder.run()
    reasons = {id_: finished.reason for id_, finished in recorder.finished.items()}
    assert reasons == {"r0": "error", "r1": "error", "r2": "max_tokens", "r3": "max_tokens"}
    assert "the arithmetic went wrong" in (recorder.finished["r0"].error or "")
    assert recorder.completion("r2").token_ids == alone(make_request("r2", [2], 5)).token_ids
    assert core.metrics().free_blocks == 64


def test_nothing_that_a_failed_step_computed_is_reused() -> None:
    core, runner = make_core()
    recorder = Recorder(core)
    runner.fail = True
    core.add(make_request("broken", PROMPT, 3))
    recorder.run()
    again = complete(core, make_request("again", PROMPT, 3))[0]
    assert again.finished.cached_tokens == 0
    assert again.token_ids == alone(make_request("again", PROMPT, 3)).token_ids


def test_logits_that_are_not_finite_end_their_request_and_leave_no_trace() -> None:
    core, runner = make_core()
    runner.poison = PROMPT[-1]
    bad, good = make_request("bad", PROMPT, 5), make_request("good", [1, 2, 3], 5)
    completions = complete(core, bad, good)
    assert completions[0].finished.reason == "error"
    assert "not finite" in (completions[0].finished.error or "")
    assert completions[0].token_ids == ()
    assert completions[1].token_ids == alone(good).token_ids
    runner.poison = None
    assert complete(core, replace(bad, id="again"))[0].finished.cached_tokens == 0


def test_numbers_without_measure_disturb_nobody() -> None:
    huge = 10**30
    thinking = ThinkingBudget(huge, OPEN, (11, END), reserve=huge)
    bold = make_request("bold", PROMPT, limits=Limits(huge, thinking=thinking), priority=-huge)
    core, _ = make_core()
    completions = complete(core, bold, make_request("other", [1, 2], 5, priority=huge))
    assert [completion.finished.reason for completion in completions] == ["context", "max_tokens"]


@pytest.mark.parametrize("top_k", [-1, 2**31, 2**63])
def test_a_top_k_that_no_array_holds_is_refused(top_k: int) -> None:
    with pytest.raises(RequestError, match=rf"top_k is {top_k}.*between 0 and 2\^31 - 1"):
        Sampling(top_k=top_k)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"prompt_ids": ()}, RequestError, "empty"),
        ({"prompt_ids": (1,) * 512}, ContextLengthError, "512 tokens; the context holds 512"),
        ({"prompt_ids": (VOCAB,)}, RequestError, f"no token {VOCAB}"),
        ({"prompt_ids": (-1,)}, RequestError, "no token -1"),
        ({"limits": Limits(0)}, RequestError, "max_tokens is 0"),
        ({"limits": Limits(1, stop_token_ids=(VOCAB,))}, RequestError, "stop_token_ids"),
        ({"limits": Limits(1, stop_strings=("a", ""))}, RequestError, "empty"),
        ({"limits": Limits(1, thinking=ThinkingBudget(-1, 1, (2,)))}, RequestError, "max_tokens is -1"),
        ({"limits": Limits(1, thinking=ThinkingBudget(1, 1, ()))}, RequestError, "end_ids"),
        ({"limits": Limits(1, thinking=ThinkingBudget(1, VOCAB, (2,)))}, RequestError, "no token"),
        ({"logprobs": -1}, RequestError, "logprobs is -1"),
        ({"logprobs": VOCAB + 1}, RequestError, "logprobs"),
        ({"grammar": Grammar("regex", "(")}, GrammarError, "unclosed group"),
        ({"spans": (span(30, 11, "x"),)}, RequestError, "leaves the prompt"),
        ({"spans": (span(3, 4, "x"), span(0, 4, "y"))}, RequestError, "overlaps"),
        ({"spans": (EmbeddingSpan(0, torch.zeros(2, 3), "x"),)}, RequestError, "shape"),
        ({"spans": (EmbeddingSpan(0, torch.full((2, 4), float("nan")), "x"),)}, RequestError, "not finite"),
        (
            {"spans": (EmbeddingSpan(0, torch.full((2, 4), 1e300, dtype=torch.float64), "x"),)},
            RequestError,
            "not finite",
        ),
        (
            {"grammar": Grammar("regex", "a"), "limits": Limits(5, thinking=ThinkingBudget(1, 1, (2,)))},
            GrammarError,
            "start_after",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_request_is_refused_before_it_is_queued(
    change: dict[str, object], error: type[Exception], says: str
) -> None:
    core, _ = make_core()
    with pytest.raises(error, match=says.replace("(", r"\(")):
        core.add(replace(make_request("r", PROMPT), **change))  # type: ignore[arg-type]
    assert not core.has_work


def test_an_id_in_flight_cannot_be_used_again() -> None:
    core, _ = make_core()
    complete(core, make_request("r", PROMPT, 2))
    core.add(make_request("r", PROMPT, 2))
    with pytest.raises(RequestError, match="'r' is in flight"):
        core.add(make_request("r", PROMPT, 2))


def test_a_full_queue_refuses() -> None:
    core, _ = make_core(max_queued=1)
    core.add(make_request("a", PROMPT))
    with pytest.raises(QueueFull):
        core.add(make_request("b", PROMPT))
    core.step()
    core.add(make_request("c", PROMPT))


# Cancelling, weights, numbers


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_cancelling_frees_the_memory_at_once(steps: int) -> None:
    core, _ = make_core(max_step_tokens=32)
    recorder = Recorder(core)
    core.add(make_request("r", PROMPT, 50))
    for _ in range(steps):
        recorder.step()
    core.cancel("r")
    core.cancel("r")
    core.cancel("never heard of")
    assert core.metrics().free_blocks == 64
    assert core.has_work
    recorder.run()
    assert recorder.finished["r"].reason == "cancelled"
    assert recorder.finished["r"].completion_tokens == len(recorder.tokens.get("r", ()))
    assert core.metrics().cancelled == 1


def test_new_weights_apply_at_once_and_empty_the_prefix_cache() -> None:
    core, _ = make_core()
    recorder = Recorder(core)
    core.add(make_request("r", PROMPT, 10))
    for _ in range(4):
        recorder.step()
    before = core.digest
    core.update_weights({"salt": torch.tensor(99)})
    recorder.run()
    fresh, runner = make_core()
    runner.salt = 99
    said = recorder.completion("r").token_ids
    assert said[:4] == alone(make_request("r", PROMPT, 10)).token_ids[:4]
    # From there on as if all had been said to the new weights. (The next number drawn is the fifth: greedy has none.)
    greedy = make_request("g", [*PROMPT, *said], 3, sampling=Sampling(temperature=0))
    assert complete(core, greedy)[0].token_ids == complete(fresh, greedy)[0].token_ids
    assert core.digest != before == "sha256:double"


def test_nothing_computed_with_old_weights_is_found_again() -> None:
    core, _ = make_core()
    complete(core, make_request("before", PROMPT, 5))
    core.update_weights({"salt": torch.tensor(99)})
    after = complete(core, make_request("after", PROMPT, 5))[0]
    fresh, runner = make_core()
    runner.salt = 99
    assert after == complete(fresh, make_request("after", PROMPT, 5))[0]
    assert after.finished.cached_tokens == 0


def test_the_digest_after_updates_says_what_replaced_what() -> None:
    core, other = make_core()[0], make_core()[0]
    for value in (1, 2):
        core.update_weights({"salt": torch.tensor(value)})
    other.update_weights({"salt": torch.tensor(2)})
    assert core.digest == other.digest
    other.update_weights({"salt": torch.tensor(3)})
    assert core.digest != other.digest


def test_refused_weights_change_nothing() -> None:
    core, _ = make_core()
    expected = alone(make_request("r", PROMPT, 6)).token_ids
    recorder = Recorder(core)
    core.add(make_request("r", PROMPT, 6))
    recorder.step()
    with pytest.raises(CheckpointError):
        core.update_weights({"pepper": torch.tensor(1)})
    recorder.run()
    assert recorder.completion("r").token_ids == expected
    assert core.digest == "sha256:double"


def test_requests_without_a_seed_differ() -> None:
    core, _ = make_core()
    requests = [make_request(f"r{index}", PROMPT, 10, sampling=Sampling()) for index in range(4)]
    assert len({completion.token_ids for completion in complete(core, *requests)}) == 4


def test_metrics_count() -> None:
    core, _ = make_core()
    complete(core, make_request("a", PROMPT, 5), make_request("b", [7] * 10, 3))
    metrics = core.metrics()
    assert (metrics.requests, metrics.finished, metrics.queued, metrics.running) == (2, 2, 0, 0)
    assert (metrics.prefill_tokens, metrics.generated_tokens, metrics.steps) == (50, 8, 5)
    assert metrics.total_blocks == metrics.free_blocks == 64
    assert metrics.forward_seconds > 0 < metrics.sampling_seconds


def test_only_who_asks_gets_logprobs() -> None:
    core, _ = make_core()
    plain, asked = complete(core, make_request("a", PROMPT, 3), make_request("b", PROMPT, 3, logprobs=0))
    assert all(event.logprob is None for event in plain.tokens)
    assert all(isinstance(event.logprob, float) and event.logprob < 0 for event in asked.tokens)
    assert plain.token_ids == asked.token_ids


# Everything at once

prompts = st.builds(
    lambda family, length, tail: [*([family] * length), *tail],
    st.integers(0, 2),
    st.integers(1, 70),
    st.lists(st.integers(0, 3), max_size=3),
)
samplings = st.sampled_from(
    [
        Sampling(temperature=0),
        Sampling(seed=1),
        Sampling(seed=2, temperature=0.8, top_p=0.9),
        Sampling(seed=3, repetition_penalty=1.3, top_k=20),
    ]
)
thoughts = st.none() | st.builds(
    ThinkingBudget, st.integers(0, 8), st.just(OPEN), st.just((11, END)), st.booleans(), st.integers(0, 6)
)
grammars = st.sampled_from([None, None, Grammar("regex", "[a-f]{3,9}")])


@st.composite
def requests(draw: st.DrawFn) -> Request:
    prompt = draw(prompts)
    thinking = draw(thoughts)
    grammar = draw(grammars) if thinking is None else None
    spans = (span(0, draw(st.integers(1, len(prompt))), draw(st.sampled_from("xy"))),) if draw(st.booleans()) else ()
    stop_strings = draw(st.sampled_from([(), ("the",), ("a", "é")]))
    return make_request(
        "",
        prompt,
        limits=Limits(draw(st.integers(1, 25)), draw(st.sampled_from([(), (END, 40)])), stop_strings, thinking),
        sampling=draw(samplings),
        grammar=grammar,
        spans=spans,
        logprobs=draw(st.sampled_from([None, 0, 2])),
        priority=draw(st.integers(0, 2)),
    )


actions = st.one_of(
    requests(),
    requests(),
    st.tuples(st.just("cancel"), st.integers(0, 30)),
    st.tuples(st.just("steps"), st.integers(1, 6)),
)


@given(
    script=st.lists(actions, min_size=1, max_size=25),
    blocks=st.integers(3, 14),
    max_running=st.integers(1, 8),
    max_step_tokens=st.integers(32, 64),
    sharing=st.booleans(),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_request_is_answered_once_and_as_if_it_were_alone(
    script: list[Request | tuple[str, int]], blocks: int, max_running: int, max_step_tokens: int, sharing: bool
) -> None:
    core, _ = make_core(blocks, 96, max_running=max_running, max_step_tokens=max_step_tokens, prefix_sharing=sharing)
    recorder, added, cancelled = Recorder(core), list[Request](), set[str]()
    for action in script:
        if isinstance(action, Request):
            added.append(replace(action, id=str(len(added))))
            core.add(added[-1])
        elif action[0] == "cancel" and action[1] < len(added):
            core.cancel(str(action[1]))
            cancelled.add(str(action[1]))
        else:
            for _ in range(action[1] if action[0] == "steps" else 0):
                recorder.step()
    recorder.run()
    assert recorder.finished.keys() == {request.id for request in added}
    for request in added:
        check_answer(recorder.completion(request.id), alone(request, core.context_length), request.id in cancelled)
    metrics = core.metrics()
    assert metrics.free_blocks == blocks
    assert metrics.finished + metrics.cancelled == metrics.requests == len(added)
    assert metrics.queued == metrics.running == 0


def check_answer(completion: Completion, expected: Completion, may_be_cancelled: bool) -> None:
    if may_be_cancelled and completion.finished.reason == "cancelled":
        assert completion.tokens == expected.tokens[: len(completion.tokens)]
        return
    assert completion.tokens == expected.tokens
    assert replace(completion.finished, cached_tokens=0) == expected.finished


@given(
    sizes=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 20)), min_size=2, max_size=12),
    sharing=st.booleans(),
    blocks=st.integers(4, 20),
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_real_model_says_the_same_in_company(
    tiny_checkpoint: Path, sizes: list[tuple[int, int]], sharing: bool, blocks: int
) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    vocab_size = checkpoint.tokenizer.vocab_size
    wanted = [
        make_request(f"r{i}", [(j * j + i % 2) % vocab_size for j in range(size)], count, sampling=Sampling(seed=i))
        for i, (size, count) in enumerate(sizes)
    ]

    def core(blocks: int, **fields: object) -> EngineCore:
        runner = TorchRunner(checkpoint.decoder(), blocks)
        return EngineCore(runner, checkpoint.tokenizer, EngineSettings.model_validate(fields), 100)

    crowded = complete(core(blocks, prefix_sharing=sharing, max_step_tokens=48), *wanted)
    for request, completion in zip(wanted, crowded, strict=True):
        assert completion.token_ids == complete(core(20, prefix_sharing=False), request)[0].token_ids


def test_events_of_a_request_are_tokens_and_then_its_end() -> None:
    core, _ = make_core()
    core.add(make_request("r", PROMPT, 3))
    events = [event for _ in range(3) for _, event in core.step()]
    assert [type(event) for event in events] == [TokenEvent] * 3 + [Finished]
    assert not core.has_work
