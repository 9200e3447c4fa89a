"""Features by the recipes of runs: one network for each fold of a fine-tuned arm, in one extraction."""

from __future__ import annotations

import pytest

from featx.deploy import predict
from featx.features import extract
from featx.finetuning import finetune
from featx.svm import train_svm

from .conftest import SIDE, colour, write_images


@pytest.mark.slow
def test_each_fold_of_a_fine_tuned_arm_has_its_own_network(tmp_path):
    images = write_images(tmp_path / "images", range(24), colour)
    shared = {"cache": tmp_path / "cache", "device": "cpu"}
    finetune(
        images, backbone="tiny", weights="random:2", task="red:grey", protocol="kfold:2", epochs=1, head_epochs=1,
        batch_size=8, image_size=SIDE, output=tmp_path / "tuned", **shared,
    )  # fmt: skip
    extract(images, backbone="tiny", weights=tmp_path / "tuned", arm="tuned", engine="keras", **shared)
    runs = train_svm(
        images, arm="tuned", task="red:grey", protocol="kfold:2", costs=(1.0,), output=tmp_path / "runs",
        cache=tmp_path / "cache",
    )  # fmt: skip
    assert len({run.record.features["digest"] for run in runs}) == 2
    given = {"images": images, "output": tmp_path / "p.csv", "engine": "keras", **shared}
    single = [predict(run.path, **given) for run in runs]
    both = predict(tmp_path / "runs", weights=tmp_path / "tuned", nearest=1, **given)
    for row, *folds in zip(both.rows, *(one.rows for one in single), strict=True):
        assert row["score:red"] == pytest.approx(sum(fold["score:red"] for fold in folds) / 2)
        assert row["in_training"] == 1
    for run, done in zip(runs, single, strict=True):
        found = {row["id"]: row["score:red"] for row in done.rows}
        for row in run.predictions:
            assert found[row.id] == pytest.approx(row.scores["red"], abs=1e-5)
