"""Levels that rise and fall with success."""

import json

from hypothesis import given
from hypothesis import strategies as st

from forethought.train.curriculum import Curriculum, CurriculumSettings, Standing

SETTINGS = CurriculumSettings(window=8)

outcomes = st.lists(st.lists(st.booleans(), min_size=1, max_size=8), max_size=40)


def at(level: int, most: int = 3) -> Curriculum:
    return Curriculum(SETTINGS, {"sums": Standing(level, most)})


def after(curriculum: Curriculum, *groups: list[bool]) -> Curriculum:
    for group in groups:
        curriculum = curriculum.seen("sums", curriculum.level("sums"), tuple(group))
    return curriculum


def test_a_family_rises_when_most_attempts_succeed():
    assert after(at(1), [True] * 6 + [False] * 2).level("sums") == 2


def test_a_family_falls_when_hardly_any_attempt_succeeds():
    assert after(at(2), [False] * 8).level("sums") == 1


def test_a_level_is_judged_by_a_whole_window_only():
    assert after(at(1), [True] * 7).level("sums") == 1
    assert after(at(1), [True] * 7, [True]).level("sums") == 2


def test_a_new_level_begins_with_no_memory():
    assert after(at(1), [True] * 8, [True] * 7).level("sums") == 2


def test_only_the_latest_attempts_count():
    assert after(at(1), [False] * 7, [True] * 8).level("sums") == 2


def test_problems_of_other_levels_do_not_count():
    assert at(2).seen("sums", 1, (False,) * 8) == at(2)


@given(outcomes, st.integers(1, 3))
def test_levels_stay_within_what_there_is(groups: list[list[bool]], start: int):
    curriculum = at(start)
    for group in groups:
        before = curriculum.level("sums")
        curriculum = after(curriculum, group)
        assert 1 <= curriculum.level("sums") <= 3
        assert abs(curriculum.level("sums") - before) <= 1


@given(outcomes, outcomes)
def test_a_resumed_curriculum_goes_on_as_the_other_would_have(first: list[list[bool]], then: list[list[bool]]):
    reached = after(at(1), *first)
    resumed = at(1).resumed(json.loads(json.dumps(reached.state())))
    assert after(resumed, *then) == after(reached, *then)
