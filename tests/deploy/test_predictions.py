"""The verb `predict`: rows, what is refused, images that cannot be read."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from featx.data import read_manifest
from featx.deploy import predict
from featx.errors import (
    ConfigError,
    ExtractionError,
    ManifestError,
    MissingFeaturesError,
    RunError,
    StaleStoreError,
    WeightsError,
)
from featx.features import FeatureStore, extract
from featx.progress import Silent
from featx.svm import train_svm

from .conftest import SIDE, write_images


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_images_of_a_fold_get_the_decision_values_of_its_run(place, tmp_path):
    run = place.folds[0]
    files = [place.home / "images" / f"{row.id}.png" for row in run.predictions]
    done = place.predict(run.path, tmp_path / "p.csv", images=files)
    found = {row["id"]: row for row in done.rows}
    for row in run.predictions:
        assert found[row.id]["score:red"] == pytest.approx(row.scores["red"], abs=1e-6)
        assert found[row.id]["probability:red"] == pytest.approx(row.probabilities["red"], abs=1e-6)
        assert found[row.id]["in_training"] == 0
    assert "score_sd:red" not in done.rows[0]
    assert done.warnings == ()


def test_several_runs_give_mean_and_spread(place, tmp_path):
    done = place.predict(place.runs, tmp_path / "all.csv")
    single = [place.predict(run.path, tmp_path / f"{run.record.fold}.csv") for run in place.folds]
    for row, *folds in zip(done.rows, *(one.rows for one in single), strict=True):
        values = [fold["score:red"] for fold in folds]
        assert row["score:red"] == pytest.approx(np.mean(values))
        assert row["score_sd:red"] == pytest.approx(np.std(values, ddof=1))
        assert (row["score_min:red"], row["score_max:red"]) == pytest.approx((min(values), max(values)))
        assert row["probability:red"] == pytest.approx(np.mean([fold["probability:red"] for fold in folds]))
        assert row["threshold"] == pytest.approx(np.mean([fold["threshold"] for fold in folds]))
        assert row["agreement"] == np.mean([fold["predicted"] == row["predicted"] for fold in folds])
    assert [row["predicted"] for row in done.rows] == ["grey", "red"] * 3
    assert done.models == 2
    assert "mean over 2 runs" in done.rule
    rows = read(tmp_path / "all.csv")
    assert [float(row["score:red"]) for row in rows] == [row["score:red"] for row in done.rows]


def test_features_are_extracted_once(place, tmp_path, monkeypatch):
    place.predict(place.final.path, tmp_path / "a.csv")
    monkeypatch.setattr("featx.zoo.build_network", lambda *_, **__: pytest.fail("a network was built"))
    again = place.predict(place.final.path, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    by_store = place.predict(place.final.path, tmp_path / "c.csv", features=place.store)
    assert by_store.rows == again.rows


@pytest.mark.parametrize("rule", ["0", "Youden", "0.90 sensitivity", "0.90 specificity"])
def test_the_predicted_class_follows_the_threshold_of_the_rule(place, tmp_path, rule):
    recorded = place.final.record.search["thresholds"]["red"]
    done = place.predict(place.final.path, tmp_path / "p.csv", threshold=rule, images=place.home / "images")
    cut = recorded.get(rule, 0.0)
    assert {row["threshold"] for row in done.rows} == {cut}
    assert {row["rule"] for row in done.rows} == {rule}
    assert [row["predicted"] for row in done.rows] == [
        "red" if row["score:red"] >= cut else "grey" for row in done.rows
    ]


def test_an_unknown_rule_names_those_that_the_run_records(place, tmp_path):
    with pytest.raises(ConfigError, match=r"no threshold of the rule 'best'; give one of .*Youden.*, 0"):
        place.predict(place.final.path, tmp_path / "p.csv", threshold="best")
    assert not (tmp_path / "p.csv").exists()


def test_images_of_the_training_set_are_named(place, tmp_path):
    folder = write_images(tmp_path / "some", [0, 30])
    (folder / "copy.png").write_bytes((place.home / "images" / "p01.png").read_bytes())
    done = place.predict(place.final.path, tmp_path / "p.csv", images=folder)
    assert [(row["id"], row["in_training"]) for row in done.rows] == [("copy", 1), ("p00", 1), ("p30", 0)]
    (told,) = done.warnings
    assert told.startswith("2 of 3 were in the training set of the run (copy, p00)")
    folds = place.predict(place.runs, tmp_path / "q.csv", images=folder)
    assert [row["in_training"] for row in folds.rows] == [1, 1, 0]


def test_runs_without_a_list_of_their_training_set_say_so(place, tmp_path):
    old = shutil.copytree(place.final.path, tmp_path / "old")
    (old / "training_set.csv").unlink()
    mark = json.loads((old / "complete.json").read_text())
    del mark["files"]["training_set.csv"]
    (old / "complete.json").write_text(json.dumps(mark))
    done = place.predict(old, tmp_path / "p.csv")
    assert done.rows[0]["in_training"] is None
    assert "do not list their training images" in done.warnings[0]
    assert read(tmp_path / "p.csv")[0]["in_training"] == ""
    with pytest.raises(RunError, match="which --nearest needs; train it again"):
        place.predict(old, tmp_path / "q.csv", nearest=1)


class Listener(Silent):
    def __init__(self):
        self.told = []

    def say(self, message):
        self.told.append(message)


def test_unreadable_images_do_not_hide_other_warnings(place, tmp_path):
    folder = write_images(tmp_path / "some", [0])
    (folder / "bad.png").write_bytes(b"no image")
    listener = Listener()
    with pytest.raises(ExtractionError, match="the predictions of the others are in"):
        place.predict(place.final.path, tmp_path / "p.csv", images=folder, progress=listener)
    (told,) = [text for text in listener.told if text.startswith("warning")]
    assert "1 of 1 were in the training set of the run (p00)" in told


def test_unreadable_images_are_named_and_have_no_row(place, tmp_path):
    folder = write_images(tmp_path / "some", [30, 31])
    (folder / "bad.png").write_bytes(b"no image")
    with pytest.raises(
        ExtractionError, match=r"1 of 3 images could not be read and has no prediction: bad \("
    ) as error:
        place.predict(place.final.path, tmp_path / "p.csv", images=folder)
    assert error.value.exit_code == 1
    assert [row["id"] for row in read(tmp_path / "p.csv")] == ["p30", "p31"]
    done = place.predict(place.final.path, tmp_path / "q.csv", images=folder, on_error="skip")
    assert [name for name, _, _ in done.failed] == ["bad"]
    assert "bad" in done.warnings[-1]
    with pytest.raises(ExtractionError, match=r"bad\.png"):
        place.predict(place.final.path, tmp_path / "r.csv", images=folder, on_error="fail")
    with pytest.raises(ExtractionError, match="none of 1 images could be read"):
        place.predict(place.final.path, tmp_path / "r.csv", images=folder / "bad.png", on_error="skip")
    assert not (tmp_path / "r.csv").exists()


def test_an_empty_folder_is_refused(place, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="no images in this folder") as error:
        place.predict(place.final.path, tmp_path / "p.csv", images=tmp_path / "empty")
    assert error.value.exit_code == 2
    assert not (tmp_path / "p.csv").exists()


def test_a_damaged_model_is_refused(place, tmp_path):
    copy = shutil.copytree(place.final.path, tmp_path / "run")
    data = bytearray((copy / "model.skops").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.skops").write_bytes(data)
    with pytest.raises(RunError, match=r"model.skops was changed after the run finished"):
        place.predict(copy, tmp_path / "p.csv")
    (copy / "model.skops").unlink()
    with pytest.raises(RunError, match=r"model.skops is missing"):
        place.predict(copy, tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()


def test_a_probability_needs_a_calibration(place, tmp_path):
    options = place.options(calibrate="none", arm="plain", output=tmp_path / "runs")
    (run, _) = train_svm(place.manifest, protocol="kfold:2", **options)
    done = place.predict(run.path, tmp_path / "p.csv")
    assert "probability:red" not in done.rows[0]
    with pytest.raises(RunError, match=r"has no calibration.* leave --probability out") as error:
        place.predict(run.path, tmp_path / "q.csv", probability=True)
    assert error.value.exit_code == 2
    assert not (tmp_path / "q.csv").exists()
    both = [run.path, place.folds[1].path]
    with pytest.raises(RunError, match=r"are not folds of one arm \(arm: found 'tiny', wanted 'plain'"):
        place.predict(both, tmp_path / "q.csv")


def test_features_and_weights_of_another_recipe_are_refused(place, tmp_path):
    (other,) = extract(
        place.home / "images",
        backbone="tiny",
        weights="random:2",
        image_size=40,
        cache=tmp_path / "cache",
        engine="keras",
        device="cpu",
    )
    with pytest.raises(
        StaleStoreError, match=r"another recipe than the run .*image_size: found 40, wanted 32"
    ):
        place.predict(place.final.path, tmp_path / "p.csv", features=other.store)
    with pytest.raises(WeightsError, match="are not from the weights 'random:1'"):
        place.predict(place.final.path, tmp_path / "p.csv", weights="random:1")
    with pytest.raises(WeightsError, match="give the weights with --weights"):
        place.predict(place.final.path, tmp_path / "p.csv", cache=tmp_path / "none")
    with pytest.raises(MissingFeaturesError, match=r"1 of 1 images have no features here \(new\)"):
        Image.new("RGB", (SIDE, SIDE), "blue").save(tmp_path / "new.png")
        place.predict(place.final.path, tmp_path / "p.csv", images=tmp_path / "new.png", features=place.store)
    assert not (tmp_path / "p.csv").exists()


def test_all_rows_of_a_store_are_scored_without_images(place, tmp_path):
    done = place.predict(place.final.path, tmp_path / "p.csv", images=(), features=place.store)
    assert {row["id"] for row in done.rows} == set(FeatureStore(place.store).keys())
    with pytest.raises(ConfigError, match="Neither images nor features were given"):
        predict(place.final.path)


def test_final_model_and_folds_together_are_refused(place, tmp_path):
    with pytest.raises(
        RunError, match=r"are not folds of one arm \(protocol: found 'final', wanted 'kfold:2'"
    ):
        place.predict(place.home / "runs", tmp_path / "p.csv")


def test_several_classes_have_the_class_of_the_highest_decision_value(place, tmp_path):
    folder = write_images(tmp_path / "images", range(24), lambda number: "abc"[number % 3])
    options = place.options(task="labels", arm="three", output=tmp_path / "runs")
    runs = train_svm(folder, protocol="kfold:2", **options)
    done = place.predict(tmp_path / "runs", tmp_path / "p.csv")
    for row in done.rows:
        assert row["predicted"] == max("abc", key=lambda name: row[f"score:{name}"])
        assert sum(row[f"probability:{name}"] for name in "abc") == pytest.approx(1)
        assert "threshold" not in row
    assert len(runs) == done.models == 2
    with pytest.raises(ConfigError, match="is for two-class tasks"):
        place.predict(tmp_path / "runs", tmp_path / "q.csv", threshold="Youden")


def test_runs_that_score_groups_give_a_row_for_each_group(place, tmp_path):
    options = place.options(arm="pooled", group_scores="max", output=tmp_path / "runs", calibrate="none")
    folder = write_images(tmp_path / "images", range(24), lambda number: "red" if number // 2 % 2 else "grey")
    (run, _) = train_svm(folder, protocol="kfold:2", **options)
    done = place.predict(run.path, tmp_path / "p.csv", images=folder)
    found = {row["id"]: row for row in done.rows}
    assert set(found) == {f"g{number}" for number in range(12)}
    for row in run.predictions:
        assert found[row.id]["score:red"] == pytest.approx(row.scores["red"], abs=1e-6)
        assert found[row.id]["in_training"] == 0
    assert sum(row["in_training"] for row in done.rows) == 6
    with pytest.raises(ConfigError, match="a model that scores groups"):
        place.predict(run.path, tmp_path / "q.csv", images=folder, nearest=1)


def test_augmented_views_are_extracted_as_the_recipe_says(place, tmp_path):
    options = {"cache": tmp_path / "cache", "image_size": SIDE, "engine": "keras", "device": "cpu"}
    (done,) = extract(
        place.home / "images",
        backbone="tiny",
        weights="random:2",
        views=3,
        view_pool="keep",
        view_ranges="turns",
        **options,
    )
    trained = place.options(arm="views", features=[done.store], views="rows", output=tmp_path / "runs")
    (run, _) = train_svm(place.manifest, protocol="kfold:2", **trained)
    files = [place.home / "images" / f"{row.id}.png" for row in run.predictions]
    found = place.predict(run.path, tmp_path / "p.csv", images=files, cache=tmp_path / "cache", nearest=1)
    assert [row["score:red"] for row in sorted(found.rows, key=lambda row: row["id"])] == pytest.approx(
        [row.scores["red"] for row in run.predictions], abs=1e-6
    )


def test_a_manifest_names_the_images(place, tmp_path):
    folder = write_images(tmp_path / "some", [30, 31])
    (tmp_path / "list.csv").write_text("image,id\nsome/p31.png,=first\nsome/p30.png,second\n")
    done = place.predict(place.final.path, tmp_path / "p.csv", images=tmp_path / "list.csv")
    assert [row["id"] for row in done.rows] == ["=first", "second"]
    assert [row["id"] for row in read(tmp_path / "p.csv")] == ["'=first", "second"]
    read_already = place.predict(
        place.final.path, tmp_path / "q.csv", images=read_manifest(tmp_path / "list.csv")
    )
    assert read_already.rows == done.rows
    assert folder.is_dir()
