"""Recipes: what a TOML file may say, and how a mistake in it is told."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from forethought.errors import TrainError
from forethought.tasks.registry import families
from forethought.train.evaluation import measured_cells
from forethought.train.recipe import Recipe, RlStage, SftStage

RECIPES = Path(__file__).parent.parent / "recipes"

RL = {"name": "rl", "kind": "rl", "steps": 3, "families": ["chain_sum"]}
SFT = {"name": "cold", "kind": "sft", "steps": 3, "families": ["chain_sum"]}


def parsed(**changes: Any) -> Recipe:
    return Recipe.parse({"schema_version": 1, "name": "some", "base": "b", "stages": [SFT, RL]} | changes, "some.toml")


def shipped(recipe: str, stage: str) -> dict[str, Any]:
    """A stage of a recipe that comes with the project."""
    (found,) = [each for each in Recipe.read(RECIPES / f"{recipe}.toml").stages if each.name == stage]
    return found.model_dump()


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_the_shipped_recipes_can_be_followed(name: str):
    recipe = Recipe.read(RECIPES / f"{name}.toml")
    assert recipe.name == name
    assert measured_cells(recipe) or recipe.evaluation is None


@pytest.mark.parametrize("name", ["smoke", "default"])
def test_a_recipe_begins_with_worked_solutions_and_ends_with_attempts(name: str):
    recipe = Recipe.read(RECIPES / f"{name}.toml")
    assert isinstance(recipe.stages[0], SftStage)
    assert isinstance(recipe.stages[-1], RlStage)


def test_the_default_recipe_teaches_every_family():
    for stage in Recipe.read(RECIPES / "default.toml").stages:
        untaught = {"summaries"} if isinstance(stage, RlStage) else set[str]()  # no worked solution can judge these
        assert set(families()) - set(stage.families) == untaught


def test_the_other_seeds_learn_as_the_shipped_model_does():
    learning = tuple(each for each in Recipe.read(RECIPES / "default.toml").stages if isinstance(each, RlStage))
    assert learning == Recipe.read(RECIPES / "seeds.toml").stages


def test_the_rival_goes_on_as_the_cold_start_ended_and_computes_like_reinforcement_learning():
    cold, rival = shipped("default", "cold-5"), shipped("continued", "continued")
    assert {key for key in cold if rival[key] != cold[key]} <= {"name", "save_every", "steps"}
    assert rival["dtype"] == shipped("default", "rl-2")["dtype"]


def test_a_recipe_that_was_written_down_reads_the_same():
    recipe = parsed()
    assert Recipe.parse(recipe.model_dump(mode="json"), "config.json") == recipe


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": [RL | {"steps": 0}]}, "stages[0].steps: Input should be greater than or equal to 1"),
        ({"stages": [SFT, RL | {"sampels": 4}]}, "stages[1].sampels: there is no such key"),
        ({"stages": [RL | {"curriculum": {"up": 2}}]}, "stages[0].curriculum.up:"),
        ({"stages": [RL | {"curriculum": {"up": 0.1, "down": 0.4}}]}, "stages[0].curriculum: down must be below up"),
        ({"stages": [RL | {"efforts": {"enormous": {}}}]}, "stages[0].efforts.enormous"),
        ({"stages": [RL | {"kind": "dpo"}]}, 'stages[0]: kind must be "sft" or "rl"'),
        ({"stages": [{"name": "rl", "steps": 3}]}, 'stages[0]: kind must be "sft" or "rl"'),
        ({"stages": [RL | {"replay": {"share": 0, "made_up": 9}}]}, "replay: with a share of 0 the other keys"),
        ({"stages": [RL | {"validate_problems": 9}]}, "validate_problems does nothing without validate_every"),
        ({"stages": []}, "stages:"),
        ({"stages": [RL, RL]}, "two stages have the same name"),
        ({"stages": [RL | {"name": "base"}]}, "a stage is called base, as the base"),
        (
            {"stages": [RL | {"name": "a"}, RL | {"name": "a-best"}]},
            "is called a-best, as the base or the best",
        ),
        ({"schema_version": 2}, "schema_version:"),
        ({"learner": {"dtype": "float16"}}, "learner.dtype:"),
        ({"learner": {"train": "all"}, "adapter": {}}, "[adapter] stands beside"),
        ({"name": "../up"}, "name:"),
        ({"surprise": 1}, "surprise: there is no such key"),
    ],
)
def test_a_mistake_is_told_with_its_key(changes: dict[str, Any], said: str):
    with pytest.raises(TrainError) as told:
        parsed(**changes)
    assert told.value.message.startswith("The recipe some.toml does not fit: ")
    assert said in told.value.message


def test_a_file_that_is_no_toml_is_told_with_its_name(tmp_path: Path):
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(TrainError, match=r"bad\.toml is no TOML"):
        Recipe.read(tmp_path / "bad.toml")


def test_a_file_that_is_not_there_is_told_with_its_name(tmp_path: Path):
    with pytest.raises(TrainError, match=r"none\.toml cannot be read"):
        Recipe.read(tmp_path / "none.toml")


def models_in(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A model and all that its keys hold."""
    found, kinds = {model}, [field.annotation for field in model.model_fields.values()]
    while kinds:
        kind = kinds.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found |= models_in(kind)
        kinds += get_args(kind)
    return found


def test_every_key_of_a_recipe_is_documented():
    page = (RECIPES.parent / "docs" / "recipes.md").read_text(encoding="utf-8")
    keys = {key for model in models_in(Recipe) for key in model.model_fields}
    assert {"most_weight", "probe_every", "made_up", "review", "delta", "rank", "pack_tokens", "split"} < keys
    missing = {key for key in keys if not re.search(rf"\b{key}\b", page)}
    assert not missing
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert [stage.kind for stage in Recipe.parse(tomllib.loads(example), "recipes.md").stages] == ["sft", "rl"]


def test_levels_that_no_family_has_are_refused():
    with pytest.raises(TrainError, match=r"evaluation\.levels"):
        measured_cells(parsed(evaluation={"levels": [9]}))


def test_every_family_of_the_stages_is_measured_when_none_is_named():
    stages = [SFT, RL | {"families": ["products", "chain_sum"]}]
    cells = measured_cells(parsed(stages=stages, evaluation={"levels": [1]}))
    assert [cell.family for cell in cells] == ["chain_sum", "products"]
