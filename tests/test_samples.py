"""Files that featx 0.1.0 wrote: `samples/featx-0.1.0.zip` holds a small study with its images, stores, weights and runs."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from featx import FeatureStore, read_manifest
from featx.runs import read_run
from featx.study import run_study

SAMPLE = Path(__file__).parent / "samples" / "featx-0.1.0.zip"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with zipfile.ZipFile(SAMPLE) as archive:
        archive.extractall(tmp_path)
    return tmp_path / "0.1.0"


def test_a_store_of_0_1_0_is_read(old: Path) -> None:
    store = FeatureStore(old / "cache" / "features" / "tiny-random1-7f51d71e")
    assert store.digest.startswith("7f51d71e")
    features = store.to_numpy(read_manifest(old / "images" / "manifest.csv"))
    assert features.shape == (40, 128)
    assert np.isfinite(features).all()


def test_a_run_of_0_1_0_is_read(old: Path) -> None:
    run = read_run(old / "runs" / "calibrated" / "labels" / "kfold-2" / "1")
    assert run.record.kind == "svm"
    assert len(run.predictions) == 20


@pytest.mark.slow
def test_a_study_of_0_1_0_is_finished(old: Path) -> None:
    outcome = run_study(old / "study.toml", cache=old / "cache", output=old / "study")
    done = {
        path.parent.name: json.loads(path.read_text())
        for path in (old / "study" / "jobs").glob("*/done.json")
    }
    assert len(done) == 7
    assert outcome is not None
