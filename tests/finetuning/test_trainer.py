"""The training loop on a network of a few hundred weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from featx.errors import TrainingError
from featx.finetuning import trainer
from featx.finetuning.checkpoint import Checkpoint, TrainingState
from featx.finetuning.finetune_runs import FittedFold
from featx.finetuning.learner import Learner
from featx.finetuning.sampling import ImageSubset
from featx.finetuning.trainer import FoldTraining, fit
from featx.finetuning.training_recipe import TrainingRecipe
from featx.progress import Silent

Train = Callable[..., FittedFold]


@pytest.fixture
def train(make_subset: Callable[[int, int], ImageSubset]) -> Train:
    """Train a fold with a checkpoint in a folder."""

    def work(learner: Learner, folder: Path, seed: int = 5, validation: int = 16) -> FittedFold:
        sets = make_subset(32, 0), make_subset(validation, 1)
        job = FoldTraining("1", *sets, np.ones(2), seed, 2)
        return fit(learner, job, Checkpoint(folder, "inputs"), Silent())

    return work


def equal(left: FittedFold, right: FittedFold) -> bool:
    pairs = zip(left.weights, right.weights, strict=True)
    return left.history == right.history and all(np.array_equal(one, other) for one, other in pairs)


def test_training_improves_the_validation_metrics(learner: Learner, train: Train, tmp_path: Path) -> None:
    done = train(learner, tmp_path)
    assert [row["phase"] for row in done.history] == ["head", "all", "all", "all"]
    assert done.history[-1]["validation_auc"] > 0.9
    assert done.history[-1]["validation_loss"] < done.history[0]["validation_loss"]
    assert done.best_epoch > 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"best-{done.best_epoch}.npz", "state.npz"]


def test_a_fold_does_not_depend_on_folds_trained_before(
    learner: Learner, make_learner: Callable[..., Learner], train: Train, tmp_path: Path
) -> None:
    fresh = train(make_learner(), tmp_path / "1")
    assert equal(fresh, train(learner, tmp_path / "2"))
    assert not equal(fresh, train(learner, tmp_path / "3", seed=6))
    assert equal(fresh, train(learner, tmp_path / "4"))


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_resumed_training_equals_an_uninterrupted_one(
    learner: Learner, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    whole = train(learner, tmp_path / "whole")

    class Stop(Exception):
        pass

    real: Callable[[Checkpoint, TrainingState], None] = Checkpoint.save

    def save(self: Checkpoint, done: TrainingState) -> None:
        real(self, done)
        if done.epoch == after:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", save)
        with pytest.raises(Stop):
            train(learner, tmp_path / "cut")
    resumed = train(learner, tmp_path / "cut")
    assert resumed.resumed == after
    assert equal(whole, resumed)


def test_early_stopping_and_training_without_validation(
    learner: Learner, recipe: TrainingRecipe, train: Train, tmp_path: Path
) -> None:
    learner.recipe = dataclasses.replace(recipe, patience=1, epochs=6, learning_rate=0.0)
    try:
        stopped = train(learner, tmp_path / "1")
        assert (len(stopped.history), stopped.best_epoch) == (3, 2)
        learner.recipe = dataclasses.replace(recipe, epochs=2)
        without = train(learner, tmp_path / "2", validation=0)
        assert without.best_epoch == 3
        assert without.history[0]["validation_loss"] is None
        learner.recipe = dataclasses.replace(recipe, epochs=0, head_epochs=2)
        head_only = train(learner, tmp_path / "3")
        assert head_only.best_epoch in {1, 2}
    finally:
        learner.recipe = recipe


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_names_the_images(
    learner: Learner, train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    real = trainer.training_batches
    shown: list[tuple[str, ...]] = []

    def poisoned(*given: Any, **options: Any) -> Any:
        for batch in real(*given, **options):
            shown.append(batch.ids)
            batch.images[0] = value if len(shown) == 6 else batch.images[0]
            yield batch

    monkeypatch.setattr(trainer, "training_batches", poisoned)
    with pytest.raises(TrainingError, match="fold 1, epoch 2: the loss is") as caught:
        train(learner, tmp_path)
    assert ", ".join(shown[5]) in str(caught.value)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_float32_weights(
    make_learner: Callable[..., Learner], train: Train, tmp_path: Path, policy: str
) -> None:
    before = keras.config.dtype_policy().name
    learner = make_learner(precision=policy, epochs=2)
    assert learner.backbone.compute_dtype == policy.removeprefix("mixed_")
    done = train(learner, tmp_path)
    assert {value.dtype for value in done.weights} == {np.dtype("float32")}
    assert done.history[-1]["validation_loss"] < done.history[0]["validation_loss"]
    assert keras.config.dtype_policy().name == before
