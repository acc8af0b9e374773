"""Supervised fine-tuning: what is shown, what is learned of it, and that a run that was cut off ends the same."""

import asyncio
import re
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from forethought.engine.native import NativeEngine
from forethought.engine.protocol import Completion, Request
from forethought.errors import TaskError, TrainError
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Message, Thinking, ToolCall, ToolDefinition, ToolResult
from forethought.reasoning.effort import thinking_budget
from forethought.settings import EngineSettings, Settings
from forethought.train import replay
from forethought.train.adapter import fresh_adapter
from forethought.train.replay import Answer, Halted, made_up_prompts, ordinary_prompts, replay_answers
from forethought.train.replay_rows import Replay, plain_row, replay_row, taught
from forethought.train.replay_settings import ReplaySettings
from forethought.train.rows import Row
from forethought.train.sft import SftLoop, TaughtRows
from forethought.train.sft_settings import SftSettings
from forethought.train.teacher import Teacher
from forethought.train.torch_backend import TorchBackend
from forethought.train.traces import trace_row
from learner_scene import FLOAT32, learner

QUESTION = Conversation((Message.of("user", "What is 2 + 3?"),))
SOLUTION = (Thinking("2+3=5"), Message.of("assistant", "5"))
NO_REPLAY = ReplaySettings(share=0)


def taught_rows(
    checkpoint: Checkpoint, settings: SftSettings, place: tuple[object, ...], answers: tuple[Answer, ...] = ()
) -> TaughtRows:
    """What a stage learns from, its replay without a teacher."""
    return TaughtRows(checkpoint, settings, place, Replay(checkpoint, settings.replay, answers))


def sft_settings(**changes: object) -> SftSettings:
    given = {"steps": 6, "families": ["chain_sum"], "tokens": 150, "replay": NO_REPLAY, "learning_rate": 0.01}
    return SftSettings.model_validate(given | changes)


def loop(checkpoint: Checkpoint, settings: SftSettings, backend: TorchBackend) -> SftLoop:
    return SftLoop("cold", settings, backend, 11, Replay(backend.checkpoint, settings.replay))


def backend(checkpoint: Checkpoint) -> TorchBackend:
    return TorchBackend(checkpoint, FLOAT32, adapter=fresh_adapter(checkpoint, rank=4))


def text(checkpoint: Checkpoint, token_ids: tuple[int, ...]) -> str:
    return checkpoint.tokenizer.decode(token_ids)


def test_a_solution_is_learned_and_its_prompt_is_what_serving_renders(checkpoint: Checkpoint) -> None:
    row = trace_row(checkpoint, QUESTION, SOLUTION, "low", rng=Random(0))
    budget = thinking_budget("low", checkpoint.capabilities.context_length)
    asked = Conversation(QUESTION.items, effort="low", budget=budget)
    assert row.prompt_ids == checkpoint.renderer.render(asked, think=True).token_ids
    (branch,) = row.branches
    assert branch.token_ids == checkpoint.renderer.render_output(SOLUTION)
    assert all(branch.learned)


def test_results_of_tools_are_read_and_not_learned(checkpoint: Checkpoint) -> None:
    tools = (ToolDefinition("add", parameters={"type": "object"}),)
    asked = Conversation(QUESTION.items, tools)
    call = ToolCall("1", "add", '{"a":2}')
    transcript = (Thinking("I call."), call, ToolResult("1", Message.of("user", "five").parts), *SOLUTION)
    row = trace_row(checkpoint, asked, transcript, "high", rng=Random(0))
    (branch,) = row.branches
    learned = tuple(token for token, is_learned in zip(branch.token_ids, branch.learned, strict=True) if is_learned)
    render = checkpoint.renderer.render_output
    assert learned == (*render((Thinking("I call."), call)), *render(SOLUTION))
    read = tuple(token for token, is_learned in zip(branch.token_ids, branch.learned, strict=True) if not is_learned)
    assert "five" in text(checkpoint, read)
    budget = thinking_budget("high", checkpoint.capabilities.context_length)
    second = Conversation((*QUESTION.items, *transcript[:3]), tools, "high", budget)
    whole = row.prompt_ids + branch.token_ids
    assert whole == checkpoint.renderer.render(second, think=True).token_ids + render(SOLUTION)


def test_an_output_without_thinking_closes_it_at_once(checkpoint: Checkpoint) -> None:
    row = trace_row(checkpoint, QUESTION, SOLUTION[1:], "low", rng=Random(0))
    assert row.branches[0].token_ids == checkpoint.renderer.render_output((Thinking(""), *SOLUTION[1:]))


def test_a_problem_that_needs_no_thinking_is_shown_as_serving_shows_it_without(checkpoint: Checkpoint) -> None:
    row = trace_row(checkpoint, QUESTION, SOLUTION[1:], None, rng=Random(0), pressure="tight")
    assert row.prompt_ids == checkpoint.renderer.render(QUESTION, think=False).token_ids
    assert row.branches[0].token_ids == checkpoint.renderer.render_output(SOLUTION[1:])


def test_a_tight_budget_has_room_for_the_thinking_and_not_for_much_more(checkpoint: Checkpoint) -> None:
    needed = len(checkpoint.tokenizer.encode("2+3=5"))
    told = set()
    for seed in range(40):
        row = trace_row(checkpoint, QUESTION, SOLUTION, "high", rng=Random(seed), pressure="tight")
        line = text(checkpoint, row.prompt_ids).split("Thinking budget: ")[1]
        told.add(int(line.split(" ")[0]))
    assert min(told) >= needed
    assert max(told) <= 3 * needed
    assert len(told) > 5


def test_thinking_that_is_cut_ends_at_its_budget_and_the_end_is_read_only(checkpoint: Checkpoint) -> None:
    markers = checkpoint.renderer.thinking
    assert markers is not None
    whole = checkpoint.renderer.render_output(SOLUTION)
    needed = len(checkpoint.tokenizer.encode("2+3=5"))
    told = set()
    for seed in range(40):
        row = trace_row(checkpoint, QUESTION, SOLUTION, "medium", rng=Random(seed), pressure="cut")
        budget = int(text(checkpoint, row.prompt_ids).split("Thinking budget: ")[1].split(" ")[0])
        told.add(budget)
        (branch,) = row.branches
        end = budget + len(markers.end_ids)
        assert branch.token_ids == whole[:budget] + markers.end_ids + whole[needed + len(markers.end_ids) :]
        assert branch.learned == tuple(not budget <= place < end for place in range(len(branch.token_ids)))
    assert told == set(range(1, needed))


def test_thinking_of_several_turns_is_not_cut(checkpoint: Checkpoint) -> None:
    asked = Conversation(QUESTION.items, (ToolDefinition("add", parameters={"type": "object"}),))
    called = (Thinking("I call."), ToolCall("1", "add", "{}"), ToolResult("1", Message.of("user", "five").parts))
    row = trace_row(checkpoint, asked, (*called, *SOLUTION), "low", rng=Random(0), pressure="cut")
    assert "I call." in text(checkpoint, row.branches[0].token_ids)


def test_the_rows_of_a_step_follow_from_seed_stage_and_step_alone(checkpoint: Checkpoint) -> None:
    settings = sft_settings()
    rows = taught_rows(checkpoint, settings, (1, "cold"))
    later = rows.draw(5)
    again = taught_rows(checkpoint, settings, (1, "cold"))
    first = again.draw(0)
    assert again.draw(5) == later
    assert first != later
    assert taught_rows(checkpoint, settings, (2, "cold")).draw(5) != later
    assert taught_rows(checkpoint, settings, (1, "warm")).draw(5) != later


def test_a_step_has_the_tokens_that_it_shall_have(checkpoint: Checkpoint) -> None:
    rows = taught_rows(checkpoint, sft_settings(tokens=2000), (1, "cold")).draw(0)
    assert sum(row.tokens for row in rows[:-1]) < 2000 <= sum(row.tokens for row in rows)


def prompts_with(checkpoint: Checkpoint, rows: list[Row], words: str) -> float:
    return sum(words in text(checkpoint, row.prompt_ids) for row in rows) / len(rows)


def test_efforts_and_replay_come_as_often_as_they_shall(checkpoint: Checkpoint) -> None:
    settings = sft_settings(
        tokens=60_000, efforts={"low": 1, "high": 3}, replay=ReplaySettings(share=0.5, thinking=0.5), tight=0
    )
    answers = (Answer("Hello!", (40, 41)),)
    rows = taught_rows(checkpoint, settings, (1, "cold"), answers).draw(0)
    assert prompts_with(checkpoint, rows, "Hello!") == pytest.approx(0.5, abs=0.07)
    assert prompts_with(checkpoint, rows, "effort") == pytest.approx(0.75, abs=0.07)
    assert prompts_with(checkpoint, rows, "effort: high") == pytest.approx(0.75 * 0.75, abs=0.07)


def test_levels_come_by_their_weights(checkpoint: Checkpoint) -> None:
    settings = sft_settings(families={"products": {"levels": [0, 1]}}, tokens=3000)
    rows = taught_rows(checkpoint, settings, (1, "cold")).draw(0)
    questions = [text(checkpoint, row.prompt_ids).split("user\n")[1] for row in rows]
    assert all(re.search(r"\d{3}", question) for question in questions)
    factors = [int(number) for question in questions for number in re.findall(r"\d{3}", question)]
    assert min(factors) >= 300


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"families": ["no_such_family"]}, TaskError),
        ({"families": {"chain_sum": {"levels": [1] * 9}}}, TrainError),
    ],
)
def test_what_cannot_be_taught_is_refused_at_the_start(
    checkpoint: Checkpoint, changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        taught_rows(checkpoint, sft_settings(**changes), (1, "cold"))


def test_a_replay_without_answers_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(TrainError, match="needs the base's answers"):
        Replay(checkpoint, ReplaySettings(share=0.1))


def test_replayed_answers_stand_with_thinking_and_without(checkpoint: Checkpoint) -> None:
    answer = Answer("Hello!", (40, 41, 42))
    plain = replay_row(checkpoint, answer, None, Random(0))
    asked = Conversation((Message.of("user", "Hello!"),))
    assert plain.prompt_ids == checkpoint.renderer.render(asked, think=False).token_ids
    assert plain.branches[0].token_ids == answer.token_ids
    thought = replay_row(checkpoint, answer, "medium", Random(0)).branches[0].token_ids
    assert thought[-3:] == answer.token_ids
    assert checkpoint.renderer.thinking is not None
    assert thought[-4] == checkpoint.renderer.thinking.end_ids[-1]


def test_nothing_is_left_to_learn_of_an_answer_while_the_model_is_the_base(checkpoint: Checkpoint) -> None:
    answers = [Answer("Hello!", (40, 41, 42)), Answer("Why?", (43, 44, 45, 46))]
    settings = sft_settings(replay=ReplaySettings(share=0.99, thinking=0))
    fresh, replay = backend(checkpoint), Replay(checkpoint, settings.replay, answers, Teacher(checkpoint, FLOAT32))
    stage = SftLoop("cold", settings, fresh, 11, replay)
    step = asyncio.run(stage.step(0))
    assert step.metrics["divergence"] == pytest.approx(0, abs=2e-4)  # the rows of the markers are new
    moved = SftLoop("cold", settings, learner(checkpoint), 11, replay)
    assert asyncio.run(moved.step(0)).metrics["divergence"] > 1e-3


def test_the_teacher_stays_the_base_while_all_weights_move(checkpoint: Checkpoint) -> None:
    rows = [plain_row(checkpoint, Answer("Hello!", (40, 41, 42)))]
    [states_LC] = Teacher(checkpoint, FLOAT32).states(rows)
    rows = [taught(rows[0], states_LC)]
    settings = FLOAT32.model_copy(update={"train": "all"})
    whole = TorchBackend(checkpoint, settings)
    assert whole.logprobs(rows) == pytest.approx(0, abs=1e-5)
    table = whole.trained["model.embed_tokens.weight"]
    with torch.no_grad():
        table.mul_(-30)  # in and out: what such a model says is far from the base
    moved = whole.logprobs(rows)
    asked = np.array(rows[0].prompt_ids + rows[0].branches[0].token_ids[:-1])[None]
    with torch.no_grad():
        logits_LV = whole.decoder.logits(whole.decoder(torch.from_numpy(asked)))[0, -3:]
        base_VC = checkpoint.tensors()["model.embed_tokens.weight"].float()
        wanted_LV = (torch.from_numpy(states_LC) @ base_VC.T).log_softmax(-1)
        expected = (wanted_LV.exp() * (logits_LV.log_softmax(-1) - wanted_LV)).sum(-1)
    assert moved == pytest.approx(expected.numpy(), rel=1e-3)
    assert (moved < -0.05).all()


def test_a_replayed_answer_counts_as_much_as_it_shall(checkpoint: Checkpoint) -> None:
    settings = sft_settings(replay=ReplaySettings(share=0.99, weight=2.5))
    rows = taught_rows(checkpoint, settings, (1, "cold"), (Answer("Hello!", (40, 41)),)).draw(0)
    replayed = [row for row in rows if row.branches[0].token_ids[-2:] == (40, 41)]
    assert replayed
    assert {row.branches[0].advantage for row in replayed} == {2.5}


def test_what_is_thought_before_an_answer_has_no_teacher(checkpoint: Checkpoint) -> None:
    answer = Answer("Hello!", (40, 41, 42))
    [states_LC] = Teacher(checkpoint, FLOAT32).states([plain_row(checkpoint, answer)])
    [branch] = taught(replay_row(checkpoint, answer, "low", Random(0)), states_LC).branches
    assert branch.teacher_LC is not None
    taught_L = ~np.isnan(branch.teacher_LC).any(-1)
    assert taught_L.tolist() == [False] * (len(branch.token_ids) - 3) + [True] * 3


def test_the_base_makes_up_prompts(checkpoint: Checkpoint, tmp_path: Path) -> None:
    engine = EngineSettings(runner="torch", dtype="float32", threads=1, cache_tokens=8192)
    prompts = made_up_prompts(checkpoint, Settings(cache_dir=tmp_path, engine=engine), 24, seed=1)
    assert len(set(prompts)) == len(prompts)
    assert all(prompt == prompt.strip() != "" for prompt in prompts)


def test_the_bases_answers_are_sampled_once(checkpoint: Checkpoint, tmp_path: Path) -> None:
    engine = EngineSettings(runner="torch", dtype="float32", threads=1, cache_tokens=8192)
    settings, path = Settings(cache_dir=tmp_path, engine=engine), tmp_path / "run" / "replay.jsonl"
    answers = replay_answers(checkpoint, settings, path, made_up=0, tokens=4, seed=1)
    assert {answer.prompt for answer in answers} <= set(ordinary_prompts())
    assert len(answers) > 250
    assert all(1 <= len(answer.token_ids) <= 4 for answer in answers)
    written = path.stat().st_mtime_ns
    assert replay_answers(checkpoint, settings, path, made_up=0, tokens=4, seed=1) == answers
    assert path.stat().st_mtime_ns == written
    assert replay_answers(checkpoint, settings, path, made_up=0, tokens=4, seed=2) != answers


def test_answers_that_were_interrupted_are_gone_on_with(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = EngineSettings(runner="torch", dtype="float32", threads=1, cache_tokens=8192)
    settings = Settings(cache_dir=tmp_path, engine=engine)
    monkeypatch.setattr(replay, "PIECE", 50)
    asked: list[int] = []
    generate = NativeEngine.generate

    def counted(native: NativeEngine, requests: list[Request]) -> list[Completion]:
        asked.append(len(requests))
        return generate(native, requests)

    def halts(done: int, wanted: int) -> None:
        if done > 200:
            raise Halted

    def answers(name: str, **options: Any) -> list[Answer]:
        return replay_answers(checkpoint, settings, tmp_path / name, made_up=60, tokens=2, seed=1, **options)

    monkeypatch.setattr(NativeEngine, "generate", counted)
    with pytest.raises(Halted):
        answers("halted", progress=halts)
    went_on = answers("halted")
    first = sum(asked)
    assert went_on == answers("whole")
    assert sum(asked) == 2 * first  # nothing was sampled twice
    assert sorted(path.name for path in tmp_path.iterdir() if "halted" in path.name) == ["halted"]


def test_more_answers_are_added_to_those_that_are_there(checkpoint: Checkpoint, tmp_path: Path) -> None:
    engine = EngineSettings(runner="torch", dtype="float32", threads=1, cache_tokens=8192)
    settings = Settings(cache_dir=tmp_path, engine=engine)

    def answers(name: str, made_up: int, tokens: int = 2) -> list[Answer]:
        return replay_answers(checkpoint, settings, tmp_path / name, made_up=made_up, tokens=tokens, seed=1)

    few = answers("grown", 3)
    grown = answers("grown", 12)
    assert grown[: len(few)] == few
    assert [answer.prompt for answer in grown] == [answer.prompt for answer in answers("whole", 12)]
    assert answers("grown", 12) == grown
    assert answers("grown", 3) == few  # made anew
    assert answers("grown", 3, tokens=1) != few


def test_the_prompts_are_many_and_different() -> None:
    prompts = ordinary_prompts()
    assert len(prompts) == len(set(prompts)) > 250
    assert all(prompt.strip() == prompt and 4 < len(prompt) < 200 for prompt in prompts)


def test_a_stage_that_was_cut_off_anywhere_ends_with_the_same_bits(checkpoint: Checkpoint, tmp_path: Path) -> None:
    async def steps(learner: TorchBackend, first: int, last: int) -> None:
        stage = loop(checkpoint, sft_settings(), learner)
        for number in range(first, last):
            assert (await stage.step(number)).alarm is None

    whole = backend(checkpoint)
    asyncio.run(steps(whole, 0, 6))
    for cut in (1, 4):
        begun, resumed = backend(checkpoint), backend(checkpoint)
        asyncio.run(steps(begun, 0, cut))
        begun.save_state(tmp_path / str(cut))
        resumed.load_state(tmp_path / str(cut))
        asyncio.run(steps(resumed, cut, 6))
        assert all(torch.equal(tensor, resumed.trained[name]) for name, tensor in whole.trained.items())


def test_the_loss_falls(checkpoint: Checkpoint) -> None:
    async def losses() -> list[float]:
        learner = TorchBackend(checkpoint, FLOAT32.model_copy(update={"train": "all"}))
        stage = loop(checkpoint, sft_settings(steps=25, learning_rate=0.01, warmup=0), learner)
        return [(await stage.step(number)).metrics["loss"] for number in range(25)]

    found = asyncio.run(losses())
    assert sum(found[-5:]) / 5 < 0.7 * found[0]


def test_numbers_that_are_none_raise_an_alarm(checkpoint: Checkpoint) -> None:
    learner = backend(checkpoint)
    with torch.no_grad():
        next(iter(learner.trained.values())).fill_(float("nan"))
    step = asyncio.run(loop(checkpoint, sft_settings(), learner).step(0))
    assert step.alarm is not None
    assert "no number" in step.alarm
