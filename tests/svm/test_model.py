"""Model files: the same model back, the same bytes, and nothing foreign let in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skops.io

from featx.digest import digest_file
from featx.errors import RunError, StaleStoreError
from featx.files import write_json
from featx.runs import COMPLETE
from featx.svm.model import FusedModel, Fusion, SvmModel, load_model, model_bytes
from featx.svm.problems import Decision
from featx.svm.scaling import fit_scaler


def _model(scaling: str = "zscore") -> SvmModel:
    rng = np.random.default_rng(0)
    scaler = fit_scaler(scaling, rng.normal(size=(20, 4)))
    width = scaler.components.shape[1] if scaler.components.size else 4
    decisions = tuple(Decision(scaler, rng.normal(size=width), 0.1 * k, 10.0, 1e-9, 3) for k in range(3))
    return SvmModel("d" * 64, ("a", "b", "c"), ("a", "b", "c"), decisions)


@pytest.mark.parametrize("scaling", ["l2", "root", "none", "zscore", "pca", "whiten"])
def test_a_model_comes_back_with_the_same_scores_and_bytes(scaling: str, tmp_path: Path) -> None:
    model = _model(scaling)
    data = model_bytes(model)
    (tmp_path / "model.skops").write_bytes(data)
    again = load_model(tmp_path)
    features = np.random.default_rng(1).normal(size=(5, 2, 4)).astype(np.float32)
    assert np.array_equal(again.scores(features, "d" * 64), model.scores(features, "d" * 64))
    assert model_bytes(again) == data
    assert model_bytes(_model(scaling)) == data


def test_other_recipes_and_widths_are_refused() -> None:
    with pytest.raises(StaleStoreError, match="recipe dddddddd, got features of recipe eeeeeeee"):
        _model().scores(np.zeros((1, 4)), "e" * 64)
    with pytest.raises(StaleStoreError, match="width 4, got 5"):
        _model().scores(np.zeros((1, 5)), "d" * 64)


def test_a_file_with_other_types_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(skops.io.dumps({"format": 2, "path": Path("x")}))
    with pytest.raises(RunError, match=r"types that an SVM model does not have \(pathlib"):
        load_model(tmp_path)


@pytest.mark.parametrize("data", [b"", b"PK not a zip", None])
def test_a_damaged_or_missing_file_says_so(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "model.skops").write_bytes(data)
    with pytest.raises(
        RunError, match=r"model\.skops: (the file cannot be read as a model|there is no model)"
    ):
        load_model(tmp_path)


def test_other_formats_are_refused() -> None:
    with pytest.raises(RunError, match="not an SVM model of format 2"):
        load_model(skops.io.dumps({"format": 1}))
    with pytest.raises(RunError, match="a part of the model is missing"):
        load_model(skops.io.dumps({"format": 2}))


def test_a_model_that_was_changed_after_its_run_finished_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.skops"
    file.write_bytes(model_bytes(_model()))
    write_json(tmp_path / COMPLETE, {"files": {file.name: digest_file(file)}, "id": ""})
    load_model(tmp_path)
    file.write_bytes(model_bytes(_model("none")))
    for source in (tmp_path, file):
        with pytest.raises(RunError, match=r"model\.skops was changed after the run finished"):
            load_model(source)


def test_a_fused_model_comes_back_and_needs_the_width_of_all_members() -> None:
    rng = np.random.default_rng(0)
    members = tuple(
        SvmModel(
            name,
            ("a", "b"),
            ("b",),
            (Decision(fit_scaler("l2", np.empty((0, width))), rng.normal(size=width), 0.5, 1.0, 0.0, 3),),
        )
        for name, width in (("one", 3), ("other", 2))
    )
    fusion = Fusion(np.zeros((2, 1)), np.full((2, 1), 2.0), np.array([[0.25], [0.75]]), np.array([0.125]))
    fused = FusedModel("joined", ("a", "b"), ("b",), (), members=members, widths=(3, 2), fusion=fusion)
    rows = rng.normal(size=(4, 1, 5)).astype(np.float32)
    expected = (
        members[0].scores(rows[..., :3], "one") / 8
        + members[1].scores(rows[..., 3:], "other") * 0.375
        + 0.125
    )
    again = load_model(model_bytes(fused))
    assert isinstance(again, FusedModel)
    assert model_bytes(again) == model_bytes(fused)
    for model in (fused, again):
        np.testing.assert_allclose(model.scores(rows, "joined"), expected, atol=1e-12)
    with pytest.raises(StaleStoreError, match=r"width 5 \(3 \+ 2\), got 4"):
        fused.scores(rows[..., :4], "joined")
    with pytest.raises(StaleStoreError, match="recipe joined, got features of recipe one"):
        fused.scores(rows, "one")
