"""Runs as models: what is read, and which runs are no folds of one arm."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from featx.data import TrainingImage
from featx.deploy.run_model import arm_settings, read_models
from featx.errors import RunError, StaleStoreError
from featx.features import FeatureStore


def test_the_folds_of_an_arm_in_natural_order(place):
    models = read_models(place.runs)
    assert [model.fold for model in models] == ["1", "2"]
    assert [model.is_final for model in models] == [False, False]
    assert {model.digest for model in models} == {FeatureStore(place.store).digest}
    for model, run in zip(models, place.folds, strict=True):
        assert model.run.record == run.record
        assert model.recipe["backbone"] == "tiny"
        assert set(model.thresholds["red"]) == {"Youden", "0.90 sensitivity", "0.90 specificity"}
        assert (model.pooled_groups, model.expected) == ("none", None)
        tested = {row.id for row in run.predictions}
        assert {image.id for image in model.training} == {f"p{number:02}" for number in range(24)} - tested
    assert models[0].training[0] == TrainingImage(
        models[0].training[0].id, "grey", models[0].training[0].group, models[0].training[0].key
    )


def test_a_final_model_beside_its_folds_can_be_passed_over(place):
    assert [model.fold for model in read_models(place.home / "runs", without_final=True)] == ["1", "2"]
    (final,) = read_models(place.final.path)
    assert final.is_final
    assert final.expected == place.final.record.search["expected"]


def test_a_rule_that_calls_no_image_positive_has_an_infinite_threshold(place):
    (model,) = read_models(place.final.path)
    search = {**model.run.record.search, "thresholds": {"red": {"Youden": None}}}
    record = dataclasses.replace(model.run.record, search=search)
    changed = dataclasses.replace(model, run=dataclasses.replace(model.run, record=record))
    assert changed.thresholds == {"red": {"Youden": float("inf")}}


def test_two_runs_of_one_fold_are_refused(place, tmp_path):
    copy = shutil.copytree(place.folds[0].path, tmp_path / "copy")
    with pytest.raises(RunError, match="are runs of the same fold '1'; give one of them"):
        read_models([place.folds[0].path, copy])


def test_a_folder_without_svm_runs_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no finished run"):
        read_models(tmp_path)


def test_a_model_of_other_classes_than_its_record_is_refused(place, tmp_path, monkeypatch):
    class Other:
        classes, scored = ("a", "b"), ("b",)

    monkeypatch.setattr("featx.deploy.run_model.load_model", lambda path: Other())
    with pytest.raises(RunError, match=r"model.skops has the classes a, b, run.json grey, red"):
        read_models(place.final.path)


def test_features_of_another_version_of_decoding_are_refused(place, monkeypatch):
    monkeypatch.setattr("featx.features.arm_files.DECODE_VERSION", 999)
    with pytest.raises(StaleStoreError, match="another version of decode"):
        read_models(place.final.path)


def test_fine_tuned_weights_of_other_folds_are_one_arm(place):
    record = place.folds[0].record

    def tuned(fold, arm="tuned"):
        trained = {"arm": arm, "task": "t", "fold": fold, "manifest_digest": "m"}
        recipe = {**record.features["recipe"], "weights": f"w{fold}", "trained_on": trained}
        return dataclasses.replace(record, features={"digest": fold, "recipe": recipe})

    assert arm_settings(tuned("1")) == arm_settings(tuned("2"))
    assert arm_settings(tuned("1")) != arm_settings(tuned("1", arm="other"))
    assert arm_settings(tuned("1")) != arm_settings(record)
