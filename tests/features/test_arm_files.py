"""Arms by name, what `--features` may be given, and the network behind the features of a run."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

from featx import disks
from featx.errors import ConfigError, RunError, StoreError, WeightsError
from featx.features import FeatureOptions, targets
from featx.features.arm_files import (
    arm_file,
    find_store,
    find_stores,
    read_arm,
    recipe_of,
    weights_of,
    write_arm,
)
from featx.features.store import RECIPE, FeatureStore
from featx.runs import Run, RunRecord


@pytest.fixture
def stores(tmp_path):
    folder = tmp_path / "cache" / "features"
    return [FeatureStore.create(folder / name, {"backbone": name}).path for name in ("b", "a")]


def test_an_arm_is_read_in_the_order_of_its_extraction(tmp_path, stores):
    place = write_arm(tmp_path / "cache", "tuned", [*stores, stores[0]])
    assert place == arm_file(tmp_path / "cache", "tuned") == tmp_path / "cache" / "arms" / "tuned.json"
    assert json.loads(place.read_text()) == {
        "format": 1,
        "arm": "tuned",
        "stores": ["features/b", "features/a"],
    }
    assert read_arm(place) == tuple(stores)


def test_an_arm_written_again_is_replaced(tmp_path, stores):
    write_arm(tmp_path / "cache", "tuned", stores)
    place = write_arm(tmp_path / "cache", "tuned", stores[1:])
    assert read_arm(place) == (stores[1],)
    assert [path.name for path in place.parent.iterdir()] == ["tuned.json"]


def test_a_cache_that_was_moved_keeps_its_arms(tmp_path, stores):
    write_arm(tmp_path / "cache", "tuned", stores)
    moved = (tmp_path / "cache").rename(tmp_path / "moved")
    assert read_arm(arm_file(moved, "tuned")) == (moved / "features" / "b", moved / "features" / "a")


def test_a_store_and_a_folder_of_stores_are_read_too(tmp_path, stores):
    assert read_arm(stores[0]) == (stores[0],)
    assert read_arm(str(tmp_path / "cache" / "features")) == tuple(sorted(stores))


@pytest.mark.parametrize("name", ["", " a", "a ", ".a", "..", "a/b", "/a", "a\\b", "a\nb", "a\0", "x" * 101])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(ConfigError, match="'arm' parameter must be a name"):
        arm_file("cache", name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[", "cannot be read"),
        ("[]", "has no list of stores"),
        ("{}", "has no list of stores"),
        ('{"format": 2, "stores": ["features/a"]}', "has format 2, this featx reads 1"),
        ('{"format": 1, "stores": []}', "lists no stores"),
        ('{"format": 1, "stores": "features/a"}', "lists no stores"),
        ('{"format": 1, "stores": [1]}', "lists no stores"),
        ('{"format": 1, "stores": ["../x"]}', "names the store '../x', which is not in the cache folder"),
        ('{"format": 1, "stores": ["/x"]}', "names the store '/x', which is not in the cache folder"),
    ],
)
def test_a_file_that_is_no_arm_is_refused_with_what_is_wanted(tmp_path, text, told):
    (tmp_path / "arms").mkdir()
    path = tmp_path / "arms" / "x.json"
    path.write_text(text)
    with pytest.raises(StoreError) as caught:
        read_arm(path)
    assert str(caught.value).startswith(f"{path}: {told}")
    assert "give a store, a folder of stores, or the file that `featx extract --arm NAME`" in str(
        caught.value
    )


def test_a_place_without_stores_is_refused(tmp_path):
    with pytest.raises(StoreError, match=r"nowhere: no such file or folder; give a store"):
        read_arm(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="no feature store in this folder"):
        read_arm(tmp_path)


def test_an_unknown_arm_is_refused_with_the_arms_there_are(tmp_path, stores):
    cache = tmp_path / "cache"
    with pytest.raises(
        StoreError, match=r"no features of an arm 'tune'; no arm has features\. Run `featx extract --arm t"
    ):
        read_arm(arm_file(cache, "tune"))
    for name in ("tuned", "frozen"):
        write_arm(cache, name, stores)
    with pytest.raises(
        StoreError, match=r"'tune'; did you mean 'tuned'\? arms with features: frozen, tuned\. Run"
    ):
        read_arm(arm_file(cache, "tune"))
    with pytest.raises(StoreError, match=r"'other'; arms with features: frozen, tuned\. Run"):
        read_arm(arm_file(cache, "other"))


def test_an_arm_whose_store_is_gone_names_it(tmp_path, stores):
    place = write_arm(tmp_path / "cache", "tuned", stores)
    (stores[1] / RECIPE).unlink()
    with pytest.raises(StoreError, match=r"names 2 stores, of which .*features/a is missing; run `featx ext"):
        read_arm(place)


def test_find_stores_looks_below_folders_and_refuses_what_does_not_exist(tmp_path, stores):
    assert find_stores([tmp_path, stores[0]]) == sorted(stores)
    with pytest.raises(StoreError, match="no such folder"):
        find_stores([tmp_path / "nowhere"])


def test_temporary_folders_of_killed_processes_are_no_stores(tmp_path, stores):
    left = tmp_path / "cache" / ".aside-killed" / RECIPE
    left.parent.mkdir()
    left.write_bytes((stores[0] / RECIPE).read_bytes())
    assert find_stores([tmp_path]) == sorted(stores)


def test_an_arm_that_another_machine_has_written_is_found_after_a_second_look(tmp_path, monkeypatch):
    (tmp_path / "mountinfo").write_text(f"40 1 0:99999 / {tmp_path} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(disks, "_MOUNTS", tmp_path / "mountinfo")
    cache = tmp_path / "cache"
    made = FeatureStore.create(cache / "features" / "tiny", {"backbone": "tiny"}).path
    write_arm(cache, "tuned", [made])
    changed, make, look = [], os.mkdir, os.stat

    def change(path, *given):
        changed.append(Path(path).parent)
        make(path, *given)

    def late(path, **given):
        """Stand in for a client that takes each file for absent until it changes the folder itself."""
        if str(path).endswith(".json") and Path(path).parent not in changed:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return look(path, **given)

    monkeypatch.setattr(os, "mkdir", change)
    monkeypatch.setattr(os, "stat", late)
    assert read_arm(arm_file(cache, "tuned")) == (made,)
    assert changed == [cache / "arms", made]
    assert FeatureStore(made).keys() == frozenset()


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
