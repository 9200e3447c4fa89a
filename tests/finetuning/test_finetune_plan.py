"""Planning: recipes that do not suit the initial weights."""

from __future__ import annotations

import dataclasses

import pytest

from featx.finetuning.finetune_plan import unsuitable_recipe
from featx.finetuning.training_recipe import RECIPES
from featx.zoo import find_backbone, resolve_weights


@pytest.mark.parametrize(("recipe", "warnings"), [("modern", 1), ("scratch", 0), ("paper", 0)])
def test_a_recipe_for_trained_weights_is_warned_of_if_weights_are_random(recipe: str, warnings: int) -> None:
    sources = resolve_weights("random", find_backbone("tiny"))
    assert len(unsuitable_recipe(RECIPES[recipe], sources)) == warnings
    assert not unsuitable_recipe(RECIPES[recipe], [dataclasses.replace(sources[0], seed=None)])
