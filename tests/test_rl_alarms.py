"""What ends a run, and in which words."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.train.alarms import WITNESSES, Alarms, AlarmSettings, Answered, Health

SOUND = Health(entropy=0.5, thinking_tokens=40.0, reward=0.4, loss=0.1, grad_norm=0.7)


def alarms(**settings: float) -> Alarms:
    return Alarms(AlarmSettings.model_validate({"patience": 3, "idle": 4} | settings))


def after(watch: Alarms, *steps: Health) -> list[str | None]:
    return [watch.check(step) for step in steps]


def test_a_sound_run_rings_nothing():
    assert after(alarms(), *[SOUND] * 50) == [None] * 50


@pytest.mark.parametrize("field", ["loss", "grad_norm", "entropy"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_is_not_finite_rings_at_once(field: str, value: float):
    (said,) = after(alarms(), replace(SOUND, **{field: value}))
    assert said is not None
    assert "arithmetic" in said


def collapsed(**change: float) -> list[str | None]:
    return after(alarms(), *[SOUND] * 3, *[replace(SOUND, **change)] * 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"entropy": 1e-5}, "nothing can be learned"),
        ({"entropy": 9.0}, "noise"),
        ({"mismatch": 0.5}, "do not compute the same model"),
        ({"thinking_tokens": 1.0}, "shrunk from 40 to 1 tokens"),
    ],
)
def test_a_collapse_rings_when_it_has_lasted(change: dict[str, float], words: str):
    *quiet, last = collapsed(**change)
    assert quiet == [None] * 5
    assert last is not None
    assert words in last


def test_a_reward_that_rises_while_the_thinking_goes_is_named():
    last = collapsed(thinking_tokens=1.0, reward=0.9)[-1]
    assert last is not None
    assert "while the reward rose by 0.50" in last


def test_one_bad_step_is_no_collapse():
    assert after(alarms(), *[SOUND] * 3, replace(SOUND, entropy=1e-5), *[SOUND] * 3) == [None] * 7


def test_steps_that_teach_nothing_ring_in_the_end():
    idle = replace(SOUND, loss=None, grad_norm=None)
    *quiet, last = after(alarms(), idle, idle, idle, idle)
    assert quiet == [None] * 3
    assert last is not None
    assert "nothing was learned" in last


def test_who_goes_on_after_an_alarm_does_not_hear_it_again_at_once():
    idle = replace(SOUND, loss=None, grad_norm=None)
    rung = [said is not None for said in after(alarms(), *[idle] * 9)]
    assert rung == [False] * 3 + [True] + [False] * 3 + [True] + [False]


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_rewarded_answer_that_is_empty_rings_at_once(text: str):
    said = alarms().hacked([Answered("sums", "1+1", "2", True), Answered("sums", "1+2", text, True)])
    assert said == "An empty answer to a problem of sums was rewarded: its verifier has a hole."


def test_an_empty_answer_that_earns_nothing_rings_nothing():
    assert alarms().hacked([Answered("sums", "1+1", "", False)] * 4 * WITNESSES) is None


@pytest.mark.parametrize("samples", [1, 8, 32])
def test_one_rewarded_answer_to_every_problem_rings(samples: int):
    answers = [Answered("sums", f"1+{n}", "42", True) for n in range(2 * WITNESSES) for _ in range(samples)]
    assert alarms().hacked(answers[: samples * (WITNESSES - 1)]) is None
    said = alarms().hacked(answers)
    assert said is not None
    assert "were '42', whatever was asked" in said


def test_one_answer_that_is_right_half_of_the_time_rings_nothing():
    assert alarms().hacked(Answered("primes", str(n), "yes", n % 2 == 0) for n in range(4 * WITNESSES)) is None


def test_answers_that_differ_ring_nothing():
    assert alarms().hacked(Answered("sums", f"1+{n}", str(n + 1), True) for n in range(4 * WITNESSES)) is None


def test_one_problem_answered_well_again_and_again_rings_nothing():
    assert alarms().hacked(Answered("sums", "1+1", "2", True) for _ in range(4 * WITNESSES)) is None


healths = st.lists(
    st.builds(
        Health,
        entropy=st.sampled_from((1e-5, 0.5, 9.0)),
        thinking_tokens=st.sampled_from((0.0, 1.0, 40.0)),
        reward=st.floats(0, 1),
        loss=st.just(0.1),
        grad_norm=st.sampled_from((None, 0.7)),
        mismatch=st.sampled_from((0.0, 0.5)),
    ),
    max_size=20,
)
answers = st.lists(
    st.builds(Answered, st.just("sums"), st.sampled_from("abcdefghij"), st.sampled_from("12"), st.booleans()),
    max_size=100,
)


@given(healths, answers, healths, answers)
def test_resumed_alarms_ring_when_the_others_would_have(
    first: list[Health], said: list[Answered], then: list[Health], says: list[Answered]
):
    going = alarms()
    after(going, *first)
    going.hacked(said)
    resumed = alarms()
    resumed.resume(json.loads(json.dumps(going.state())))
    assert after(resumed, *then) == after(going, *then)
    assert resumed.hacked(says) == going.hacked(says)
