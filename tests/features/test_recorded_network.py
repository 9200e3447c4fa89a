"""The network behind the features of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.errors import RunError, WeightsError
from featx.features import FeatureOptions, FeatureStore, find_store, recipe_of, targets, weights_of
from featx.runs import Run, RunRecord


@pytest.fixture
def stored(tmp_path):
    """An empty store of `tiny` in a cache, and a run of its features."""
    (target,) = targets(["tiny"], ["random:3"], FeatureOptions(), tmp_path)
    (recipe,), (folder,) = target.recipes, target.folders
    store = FeatureStore.create(folder, recipe)
    record = RunRecord(
        kind="svm", arm="a", task="t", classes=("a", "b"), scored=("b",), protocol="5x2", fold="1x1", folds_digest="",
        seed=0, manifest={}, features={"digest": store.digest, "recipe": recipe.key()}, settings={},
    )  # fmt: skip
    return store, Run(Path("run"), record, ())


def test_the_recipe_is_that_of_the_record(stored):
    store, run = stored
    assert recipe_of(run, store.digest)["weights"] == store.recipe["weights"]
    with pytest.raises(RunError, match="does not list the features of its model"):
        recipe_of(run, "other")


def test_the_source_of_the_weights_is_that_of_the_store_in_the_cache(stored, tmp_path):
    store, run = stored
    recipe = recipe_of(run, store.digest)
    assert weights_of(recipe, store.digest, None, tmp_path).source == "random:3"
    assert weights_of(recipe, store.digest, "random:3", tmp_path / "none").digest == recipe["weights"]
    with pytest.raises(WeightsError, match="are not from the weights 'random:4'"):
        weights_of(recipe, store.digest, "random:4", tmp_path)
    with pytest.raises(WeightsError, match="give the weights with --weights"):
        weights_of(recipe, store.digest, None, tmp_path / "none")


def test_a_damaged_store_beside_it_does_not_matter(stored, tmp_path):
    store, _ = stored
    damaged = tmp_path / "features" / "aaa"
    damaged.mkdir()
    (damaged / "recipe.json").write_text("no JSON")
    store.write_block(["ab" * 32], np.ones((1, 1, 4), np.float32))
    found = find_store(store.digest, tmp_path)
    assert found is not None
    assert found.images == 1
    assert find_store("other", tmp_path) is None
