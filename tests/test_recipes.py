"""The recipes that come with the project, and what they have to have in common for acceptance to compare their runs."""

from pathlib import Path
from typing import Any

import pytest

from forethought.train.recipe import Recipe

RECIPES = Path(__file__).parent.parent / "recipes"


def stage(recipe: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in Recipe.read(RECIPES / f"{recipe}.toml").stages if each.name == name]
    return found.model_dump()


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_can_be_read(path: Path):
    assert Recipe.read(path).name == path.stem


def test_the_other_seeds_learn_as_the_shipped_model_does():
    assert stage("seeds", "rl") == stage("default", "rl")


def test_the_rival_goes_on_as_the_cold_start_ended_and_computes_like_reinforcement_learning():
    rival, cold = stage("continued", "continued"), stage("default", "cold-3")
    assert {key for key in cold if rival[key] != cold[key]} <= {"name", "steps", "dtype", "save_every"}
    assert rival["dtype"] == stage("default", "rl")["dtype"]
