"""The study on real images, planned from the files at hand; `benchmarks/real_mini.py` runs it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from featx.study.studies import plan_study

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("real_mini", ROOT / "benchmarks" / "real_mini.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.real
def test_the_study_fits_the_files_at_hand(real_data: Path, tmp_path: Path, script: ModuleType) -> None:
    folds = real_data.parent / "reference" / "menegola2017" / "folds" / "isic.yml"
    if not folds.is_file():
        pytest.skip(f"no official lists: {folds} is not there")
    study = script.prepare(real_data, folds, tmp_path)
    parts = {
        name: pd.read_csv(tmp_path / f"{name}.csv")["split"].value_counts()
        for name in ("isic2016", "isic2017")
    }
    assert parts["isic2017"].to_dict() == {"train": 2000, "test": 600, "val": 150}
    assert parts["isic2016"].to_dict() == {"train": 749, "test": 305}
    plan = plan_study(study, output=tmp_path / "out", cache=tmp_path / "cache", allow_outside=True)
    kinds = [job.kind for job in plan.jobs]
    # Three backbones random, frozen and tuned, and one trained from random weights, on two targets.
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "finetune": 8,
        "extract": 20,
        "svm": 20,
        "report": 2,
    }
    weights = {str(job.arguments["weights"]) for job in plan.jobs if job.kind == "extract"}
    assert {Path(text).name for text in weights if text.endswith(".h5")} == {
        "mobilenet_2_5_224_tf_no_top.h5",
        "mobilenet_7_5_224_tf_no_top.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    }
