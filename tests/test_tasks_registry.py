"""The registry of families: what an installed package brings, and what is said when that is broken."""

from collections.abc import Generator
from importlib.metadata import EntryPoint
from random import Random

import pytest

from forethought.errors import TaskError
from forethought.model.conversation import Thinking
from forethought.tasks import registry
from forethought.tasks.families.chain_sum import ChainSum
from forethought.tasks.family import SECOND_LOOK


class Nameless(ChainSum):
    """No family: it has lost its name."""

    def __getattribute__(self, name: str) -> object:
        if name == "name":
            raise AttributeError(name)
        return super().__getattribute__(name)


class Sums(ChainSum):
    """A family of somebody else."""

    name = "sums"


class Prefixed(ChainSum):
    """Its name is one of reasoning-gym's."""

    name = "gym:mine"


class Lettered(ChainSum):
    """A text is no list of levels, though it has items."""

    name = "lettered"
    levels = "abc"  # type: ignore[assignment]


SUMS, NAMELESS, PREFIXED, LETTERED = Sums(), Nameless(), Prefixed(), Lettered()


def brought(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """One package is installed, which brings this."""
    point = EntryPoint("some", value, registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    registry.families.cache_clear()


@pytest.fixture(autouse=True)
def _forgotten() -> Generator[None]:  # pyright: ignore[reportUnusedFunction]
    yield
    registry.families.cache_clear()


def test_a_package_brings_families_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    brought(monkeypatch, "test_tasks_registry:SUMS")
    assert type(registry.family("sums")).__name__ == "Sums"
    assert list(registry.families()) == sorted(registry.families())


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_module:FAMILY", "The families of no_such_module:FAMILY cannot be loaded: ModuleNotFoundError"),
        ("test_tasks_registry:NO_SUCH_FAMILY", "cannot be loaded: AttributeError"),
        ("test_tasks_registry:brought", "is a function, not a family"),
        ("test_tasks_registry:NAMELESS", "is a family without name"),
        ("test_tasks_registry:PREFIXED", "is a family named 'gym:mine'"),
        ("test_tasks_registry:LETTERED", "The family lettered has the levels 'abc'"),
        ("forethought.tasks.families.chain_sum:FAMILY", "the family 'chain_sum', which is there already"),
    ],
)
def test_what_cannot_be_used_is_told_with_where_it_comes_from(
    monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    brought(monkeypatch, value)
    with pytest.raises(TaskError) as told:
        registry.families()
    assert said in told.value.message


@pytest.mark.parametrize("name", list(registry.families()))
def test_high_effort_works_everything_out_twice(name: str):
    known = registry.families()[name]
    problem = known.problem(3, 2)
    twice = known.trace(problem, "high", Random(5))
    for high, medium in zip(twice, known.trace(problem, "medium", Random(5)), strict=True):
        if isinstance(medium, Thinking):
            assert isinstance(high, Thinking)
            assert SECOND_LOOK not in medium.text
            assert high.text.split(SECOND_LOOK) == [medium.text, medium.text]
        else:
            assert high == medium
