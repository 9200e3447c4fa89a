"""Options of `finetune`: the recipe's values, and those given beside it."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path

import pytest

from featx.errors import ConfigError
from featx.finetuning import finetune
from featx.finetuning.finetune_settings import FinetuneSettings
from featx.finetuning.training_recipe import RECIPES, TrainingRecipe


@pytest.mark.parametrize(
    ("weights", "recipe"),
    [
        ("imagenet", "modern"),
        ("random", "scratch"),
        ("random:3", "scratch"),
        (Path("randomised.h5"), "modern"),
    ],
)
def test_the_default_recipe_depends_on_the_initial_weights(weights: str | Path, recipe: str) -> None:
    made = FinetuneSettings.make({"backbone": "tiny", "weights": weights})
    assert made.training == RECIPES[recipe]


@pytest.mark.parametrize("recipe", ["paper", "file", "object"])
def test_values_given_beside_a_recipe_replace_its_own(tmp_path: Path, recipe: str) -> None:
    file = tmp_path / "slow.toml"
    file.write_text('base = "paper"\nlearning-rate = 0.5\n')
    given = {"paper": "paper", "file": file, "object": RECIPES["paper"]}[recipe]
    made = FinetuneSettings.make({"backbone": "tiny", "recipe": given, "epochs": 2, "l2": 1})
    assert type(made.training) is TrainingRecipe
    assert (made.epochs, made.l2, made.optimizer, made.batch_size) == (2, 1.0, "sgd", 48)
    assert (made.name, made.learning_rate) == (("slow", 0.5) if recipe == "file" else ("paper", 1e-3))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "'backbone' parameter is required"),
        ({"backbone": "tiny", "epoch": 3}, "Unknown parameter 'epoch'; did you mean 'epochs'"),
        (
            {"backbone": "tiny", "memory_gib": -1},
            "'memory_gib' parameter must be a number of at least 0. Got -1",
        ),
        (
            {"backbone": "tiny", "epochs": 2.5},
            "'epochs' parameter of a training recipe must be a whole number",
        ),
        (
            {"backbone": "tiny", "recipe": "old"},
            "unknown training recipe 'old'; give modern, scratch, paper or",
        ),
        ({"backbone": "tiny", "head": "linear"}, "one of svm, softmax. Got 'linear'"),
    ],
)
def test_bad_values_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FinetuneSettings.make(given)


def test_every_option_is_a_keyword_of_the_verb() -> None:
    keywords = list(inspect.signature(finetune).parameters)
    assert keywords == ["manifest", *(item.name for item in dataclasses.fields(FinetuneSettings))]


def test_devices_are_checked_and_are_no_part_of_a_recipe() -> None:
    given = {"device": "gpu:any", "wait_gpu": 9, "gpu_memory": 8, "nice": 3}
    made = FinetuneSettings.make({"backbone": "tiny", **given})
    assert made.training == FinetuneSettings.make({"backbone": "tiny"}).training
    with pytest.raises(ConfigError, match="Got 'tpu'"):
        FinetuneSettings.make({"backbone": "tiny", "device": "tpu"})
