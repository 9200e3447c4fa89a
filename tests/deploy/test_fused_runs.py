"""Fused runs and runs on imported features, from the final model to predictions and the card."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from featx.deploy import export_model, finalize, predict, write_card
from featx.errors import ConfigError, MissingFeaturesError, RunError, StaleStoreError
from featx.features import FeatureStore, extract, import_features
from featx.runs import Run
from featx.svm import run_auc, train_svm

from .conftest import SIDE, Place

SHARED = {"image_size": SIDE, "engine": "keras", "device": "cpu"}


@dataclass(frozen=True)
class Fused:
    """Two arms of `tiny` in a cache of their own, and runs of two folds by each way to fuse them."""

    place: Place
    cache: Path
    stores: tuple[Path, ...]
    runs: dict[str, tuple[Run, ...]]

    def options(self, method, **given):
        options = {
            "fuse": method,
            "member": ["one", "two"],
            "task": "red:grey",
            "costs": (1.0,),
            "arm": method,
        }
        return {
            **options,
            "calibrate": "sigmoid",
            "cache": self.cache,
            "output": self.cache / "runs",
            **given,
        }

    def predict(self, runs, output, **given):
        options = {"images": self.place.new, "cache": self.cache, "engine": "keras", "device": "cpu", **given}
        return predict(runs, output=output, **options)


@pytest.fixture(scope="module")
def fused(place, tmp_path_factory):
    cache = tmp_path_factory.mktemp("fused")
    images = place.home / "images"
    made = [
        extract(images, backbone="tiny", weights=f"random:{seed}", arm=arm, cache=cache, **SHARED)[0].store
        for seed, arm in ((2, "one"), (3, "two"))
    ]
    given = Fused(place, cache, tuple(made), {})
    for method in ("concat", "mean-score", "stack"):
        given.runs[method] = train_svm(place.manifest, protocol="kfold:2", **given.options(method))
    return given


@pytest.mark.parametrize("method", ["concat", "mean-score", "stack"])
def test_the_images_of_a_fold_get_the_decision_values_of_its_run(fused, tmp_path, method):
    run = fused.runs[method][0]
    files = [fused.place.home / "images" / f"{row.id}.png" for row in run.predictions]
    # A cache of its own, which knows the sources of the weights and has no rows: every member is extracted.
    for store in fused.stores:
        kept = tmp_path / "cache" / "features" / store.name
        kept.mkdir(parents=True)
        shutil.copy(store / "recipe.json", kept)
    done = fused.predict(run.path, tmp_path / "p.csv", images=files, cache=tmp_path / "cache")
    found = {row["id"]: row for row in done.rows}
    for row in run.predictions:
        assert found[row.id]["score:red"] == pytest.approx(row.scores["red"], abs=1e-5)
        assert found[row.id]["probability:red"] == pytest.approx(row.probabilities["red"], abs=1e-5)
        assert found[row.id]["in_training"] == 0
        assert found[row.id]["threshold"] == run.record.search["thresholds"]["red"]["Youden"]
    given = fused.predict(
        run.path, tmp_path / "q.csv", images=files, features=fused.stores[::-1], cache=tmp_path / "none"
    )
    for one, other in zip(given.rows, done.rows, strict=True):
        assert one["score:red"] == pytest.approx(other["score:red"], abs=1e-5)


def test_a_final_model_expects_the_auc_of_its_folds(fused, tmp_path):
    folder = fused.runs["stack"][0].path.parent
    final = finalize(fused.place.manifest, runs=folder, **fused.options("stack", output=tmp_path / "runs"))
    assert final.record.protocol == "final"
    assert final.record.search["expected"]["auc"] == pytest.approx(
        np.mean([run_auc(run) for run in fused.runs["stack"]])
    )
    assert set(final.record.search["thresholds"]["red"]) == {"Youden", "0.90 sensitivity", "0.90 specificity"}
    done = fused.predict(final.path, tmp_path / "p.csv")
    assert [row["predicted"] for row in done.rows] == ["grey", "red"] * 3
    with pytest.raises(RunError, match="not of the arm and settings of the final model"):
        finalize(fused.place.manifest, runs=folder, **fused.options("mean-score", output=tmp_path / "other"))


def test_folds_together_score_all_rows_that_the_members_share(fused, tmp_path):
    fewer = FeatureStore.create(tmp_path / "fewer", FeatureStore(fused.stores[1]).recipe)
    keys = sorted(FeatureStore(fused.stores[1]).keys())[:5]
    fewer.write_block(keys, FeatureStore(fused.stores[1]).read(keys))
    folder = fused.runs["stack"][0].path.parent
    given = {"images": (), "features": [fused.stores[0], fewer.path]}
    done = fused.predict(folder, tmp_path / "p.csv", **given)
    assert [row["id"] for row in done.rows] == keys
    assert done.models == 2


def test_nearest_images_need_one_row_of_features(fused, tmp_path):
    files = fused.place.home / "images" / "p00.png"
    done = fused.predict(fused.runs["concat"][0].path.parent, tmp_path / "p.csv", images=files, nearest=1)
    assert (done.rows[0]["nearest_1"], done.rows[0]["nearest_1_similarity"]) == ("p00", pytest.approx(1))
    with pytest.raises(RunError, match=r"fuses decision values \(stack\).* leave --nearest out"):
        fused.predict(fused.runs["stack"][0].path, tmp_path / "q.csv", nearest=1)


def test_a_member_without_a_store_and_weights_for_all_members_are_refused(fused, tmp_path):
    run = fused.runs["stack"][0].path
    with pytest.raises(StaleStoreError, match="give the store of the member two of recipe"):
        fused.predict(run, tmp_path / "p.csv", features=fused.stores[0], images=())
    with pytest.raises(StaleStoreError, match="give the store of the member two of recipe"):
        fused.predict(run, tmp_path / "p.csv", features=[fused.stores[0], fused.place.store])
    with pytest.raises(ConfigError, match="names the weights of one network"):
        fused.predict(run, tmp_path / "p.csv", weights="random:2")
    assert not (tmp_path / "p.csv").exists()


def test_a_card_describes_every_member_and_an_export_is_refused(fused, tmp_path):
    card = write_card(fused.runs["stack"][0].path.parent, output=tmp_path / "card.md").read_text()
    for text in ("Fusion of the members | stack", "Network of one | tiny", "Network of two | tiny"):
        assert text in card
    with pytest.raises(RunError, match=r"fuses 2 arms \(stack of one, two\), and an exported"):
        export_model(fused.runs["stack"][0].path, output=tmp_path / "model.onnx")


@pytest.fixture(scope="module")
def imported(fused, tmp_path_factory):
    """Features of the training images and of new ones in two files, their stores, and a run on the first."""
    home, stores = tmp_path_factory.mktemp("imported"), []
    for name, folder, numbers in (("old", "images", range(24)), ("new", "new", range(30, 36))):
        ids = [f"p{number:02}" for number in numbers]
        rows = np.float32([[number % 2, 1.0, 0.1 * (number % 5)] for number in numbers])
        np.savez(home / f"{name}.npz", ids=ids, features=rows)
        lines = [f"{fused.place.home / folder / one}.png,{one},red" for one in ids]
        (home / f"{name}.csv").write_text("\n".join(["image,id,label", *lines]))
        given = {"name": "derm", "manifest": home / f"{name}.csv", "cache": home / "cache"}
        stores.append(import_features(home / f"{name}.npz", allow_outside=True, **given).store)
    options = {
        "task": "red:grey",
        "costs": (1.0,),
        "arm": "derm",
        "cache": home / "cache",
        "output": home / "runs",
    }
    (run, _) = train_svm(fused.place.manifest, features=stores[0], protocol="kfold:2", **options)
    return home, stores, run


def test_imported_features_of_new_images_are_scored_with_a_warning(imported, fused, tmp_path):
    home, (old, new), run = imported
    done = fused.predict(run.path, tmp_path / "p.csv", features=new, cache=home / "cache")
    assert [row["predicted"] for row in done.rows] == ["grey", "red"] * 3
    assert "imported from another file" in done.warnings[0]
    again = fused.predict(
        run.path, tmp_path / "q.csv", images=(), features=[new, old], nearest=1, cache=home / "cache"
    )
    assert len(again.rows) == 24, "the store of the run itself is taken if it is given"
    assert again.warnings[0].startswith("12 of 24")


def test_images_alone_other_imported_features_and_an_export_are_refused(imported, fused, tmp_path):
    home, (_, new), run = imported
    with pytest.raises(RunError, match=r"has imported features \(derm\), whose network featx does not have"):
        export_model(run.path, output=tmp_path / "m.onnx")
    with pytest.raises(MissingFeaturesError, match="were imported, and featx does not have their network"):
        fused.predict(run.path, tmp_path / "p.csv", cache=home / "cache")
    recipe = {**json.loads((new / "recipe.json").read_text()), "width": 4}
    other = FeatureStore.create(
        tmp_path / "other", {name: recipe[name] for name in recipe if name != "digest"}
    )
    with pytest.raises(StaleStoreError, match="width: found 4, wanted 3"):
        fused.predict(run.path, tmp_path / "p.csv", features=other.path)
    assert "imported (derm, 3 numbers)" in write_card(run.path, output=tmp_path / "card.md").read_text()


@pytest.fixture(scope="module")
def mixed(fused, imported, tmp_path_factory):
    """Runs of two folds, and options, of an arm of a network and imported features, and stores of the new images."""
    home, (old, new), _ = imported
    cache = tmp_path_factory.mktemp("mixed")
    network = extract(
        home / "new.csv", backbone="tiny", weights="random:2", cache=cache, allow_outside=True, **SHARED
    )
    options = fused.options(
        "mean-score", member=[], features=[fused.stores[0], old], arm="mixed", output=cache / "runs"
    )
    return train_svm(fused.place.manifest, protocol="kfold:2", **options), options, (network[0].store, new)


def test_a_network_and_imported_features_together_score_the_images_of_a_fold(mixed, fused, tmp_path):
    (run, _), options, _ = mixed
    files = [fused.place.home / "images" / f"{row.id}.png" for row in run.predictions]
    done = fused.predict(run.path, tmp_path / "p.csv", images=files, features=options["features"][::-1])
    found = {row["id"]: row for row in done.rows}
    for row in run.predictions:
        assert found[row.id]["score:red"] == pytest.approx(row.scores["red"], abs=1e-5)
        assert found[row.id]["probability:red"] == pytest.approx(row.probabilities["red"], abs=1e-5)
        assert found[row.id]["in_training"] == 0
    assert done.warnings == ()


def test_a_final_model_of_a_network_and_imported_features_scores_new_images(mixed, fused, tmp_path):
    runs, options, stores = mixed
    final = finalize(fused.place.manifest, runs=runs[0].path.parent, **{**options, "output": tmp_path})
    assert final.record.search["expected"]["auc"] == pytest.approx(np.mean([run_auc(run) for run in runs]))
    done = fused.predict(final.path, tmp_path / "p.csv", features=stores)
    assert [row["predicted"] for row in done.rows] == ["grey", "red"] * 3
    assert "imported from another file" in done.warnings[0]
    card = write_card(final.path, output=tmp_path / "card.md").read_text()
    assert "| imported (derm, 3 numbers) |" in card
    assert "| tiny (" in card


def test_the_features_of_a_network_are_extracted_beside_given_ones(mixed, fused, tmp_path):
    (run, _), _, stores = mixed
    both = fused.predict(run.path, tmp_path / "p.csv", features=stores, cache=tmp_path / "none")
    done = fused.predict(run.path, tmp_path / "q.csv", features=stores[1], cache=fused.cache)
    for one, other in zip(both.rows, done.rows, strict=True):
        assert one["score:red"] == pytest.approx(other["score:red"], abs=1e-5)
    for given in ((), stores[0]):
        with pytest.raises(MissingFeaturesError, match="the features of derm were imported"):
            fused.predict(run.path, tmp_path / "r.csv", features=given)
    with pytest.raises(StaleStoreError, match="give the store of the member tiny"):
        fused.predict(run.path, tmp_path / "r.csv", images=(), features=stores[1])
    assert not (tmp_path / "r.csv").exists()


@pytest.mark.slow
def test_every_fold_of_a_fused_arm_has_the_fine_tuned_networks_of_its_own(fused, tmp_path):
    from featx.finetuning import finetune

    images, cache = fused.place.home / "images", tmp_path / "cache"
    finetune(
        images, backbone="tiny", weights="random:2", task="red:grey", protocol="kfold:2", epochs=1, head_epochs=1,
        batch_size=8, image_size=SIDE, output=tmp_path / "tuned", cache=cache, device="cpu",
    )  # fmt: skip
    given = {"backbone": "tiny", "cache": cache, "engine": "keras", "device": "cpu"}
    extract(images, weights=tmp_path / "tuned", arm="one", **given)
    extract(images, weights="random:3", arm="two", image_size=SIDE, **given)
    options = fused.options("stack", cache=cache, output=tmp_path / "runs")
    runs = train_svm(fused.place.manifest, protocol="kfold:2", **options)
    assert len({run.record.features["digest"] for run in runs}) == 2
    files = {f"{row.id}": images / f"{row.id}.png" for run in runs for row in run.predictions}
    single = [fused.predict(run.path, tmp_path / "p.csv", images=images, cache=cache) for run in runs]
    for run, done in zip(runs, single, strict=True):
        found = {row["id"]: row for row in done.rows}
        assert found.keys() == files.keys()
        for row in run.predictions:
            assert found[row.id]["score:red"] == pytest.approx(row.scores["red"], abs=1e-5)
    both = fused.predict(tmp_path / "runs", tmp_path / "p.csv", images=images, cache=cache)
    for row, *folds in zip(both.rows, *(one.rows for one in single), strict=True):
        assert row["score:red"] == pytest.approx(sum(fold["score:red"] for fold in folds) / 2)
        assert row["in_training"] == 1
