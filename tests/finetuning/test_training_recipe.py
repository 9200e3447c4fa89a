"""Training recipes: shipped ones, files, overrides, bad values."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.errors import ConfigError
from featx.finetuning.training_recipe import RECIPES, TrainingRecipe, read_recipe
from featx.options import options_of


def test_the_recipe_paper_has_the_values_of_the_paper() -> None:
    recipe = read_recipe("paper")
    stated = {
        "optimizer": "sgd",
        "momentum": 0.1,
        "nesterov": True,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "warmup_epochs": 0.0,
        "epochs": 80,
        "batch_size": 48,
        "l2": 0.005,
        "weight_decay": 0.0,
        "validation": 0.1,
        "metric": "loss",
        "patience": 0,
        "balance": "decay",
        "balance_decay": 0.975,
        "zoom": 1.3,
        "rotation": 360.0,
        "fill": "black",
        "shear": 30.0,
        "translation": 30.0,
        "flip": True,
        "head_epochs": 0,
        "ema_epochs": 0.0,
        "label_smoothing": 0.0,
        "clip_norm": 0.0,
        "mixup": 0.0,
    }
    assert {name: getattr(recipe, name) for name in stated} == stated


def test_every_field_has_help() -> None:
    assert all(option.help.endswith(".") for option in options_of(TrainingRecipe).values())


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_shipped_recipes_are_named_after_their_key(name: str) -> None:
    assert read_recipe(name).name == name


def test_a_file_takes_other_fields_from_its_base(tmp_path: Path) -> None:
    file = tmp_path / "slow.toml"
    file.write_text('base = "paper"\nlearning-rate = 1\nfinal_weights = [1, 3]\n')
    recipe = read_recipe(file, {"epochs": 2})
    assert (recipe.name, recipe.learning_rate, recipe.final_weights) == ("slow", 1.0, (1.0, 3.0))
    assert (recipe.epochs, recipe.batch_size) == (2, 48)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch = 2", "Unknown parameter 'epoch' of a training recipe; did you mean 'epochs'"),
        ("batch_size = 0", "'batch_size' parameter .* whole number of at least 1. Got 0"),
        ("epochs = 0\nhead_epochs = 0", "needs at least one epoch"),
        ("epochs = 2.5", "Got 2.5"),
        ("epochs = true", "Got True"),
        ("learning_rate = nan", "Got nan"),
        ('optimizer = "adam"', "one of adamw, sgd. Got 'adam'"),
        ("nesterov = 1", "true or false"),
        ("final_weights = [1, -1]", "numbers of at least 0"),
        ("accumulate = 5", "must divide 'batch_size'"),
        ('base = "old"', "the key 'base' must be one of modern"),
        ("base = ", "cannot be read"),
    ],
)
def test_errors_name_the_file_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words) as caught:
        read_recipe(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_list_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match="modern, scratch, paper"):
        read_recipe("modem")


def test_a_recipe_may_be_given_instead_of_its_name() -> None:
    recipe = TrainingRecipe(epochs=7)
    assert read_recipe(recipe, {}) == recipe
