"""The verb `export_model`: three formats, use without featx, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from featx.deploy.exports import export_formats, exported_model
from featx.deploy.run_model import read_models
from featx.errors import ConfigError, ExportError, RunError, WeightsError
from featx.features import extract
from featx.svm import train_svm

# featx cannot be imported in this process.
ALONE = "import runpy, sys; sys.modules['featx'] = None; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"


def scores_without_featx(done, paths):
    """Run the program of the model card where featx cannot be imported; return decision values and probabilities."""
    program = done.path.parent / "call.py"
    program.write_text(re.search(r"```python\n(.*?)```", done.card.read_text(), re.DOTALL)[1])
    line = [sys.executable, "-c", ALONE, program.name, *map(str, paths)]
    lines = subprocess.run(
        line, cwd=program.parent, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return np.array([[float(one) for one in re.findall(r"\[(.*?)\]", text)] for text in lines])


def test_an_onnx_model_gives_the_same_values_without_featx(onnx_model, place, tmp_path):
    done = place.predict(place.final.path, tmp_path / "p.csv")
    found = scores_without_featx(onnx_model, [place.new / f"{row['id']}.png" for row in done.rows])
    wanted = np.array([[row["probability:red"], row["score:red"]] for row in done.rows])
    assert np.abs(found - wanted).max() < 1e-4
    assert np.ptp(wanted[:, 1]) > 0.1
    assert onnx_model.agreement.scores < 1e-4
    assert onnx_model.agreement.recorded is None  # a final model has no test set
    assert onnx_model.warnings == ()
    assert f"ONNX operators of version {export_formats.OPSET}." in onnx_model.card.read_text()


@pytest.mark.slow
def test_a_keras_file_gives_the_values_in_the_run(keras_model, place):
    assert keras_model.agreement.recorded < 1e-4
    rows = {row.id: row for row in place.folds[0].predictions}
    names = sorted(rows)[:3]
    found = scores_without_featx(keras_model, [place.home / "images" / f"{name}.png" for name in names])
    wanted = np.array([[rows[name].probabilities["red"], rows[name].scores["red"]] for name in names])
    assert np.abs(found - wanted).max() < 1e-4


@pytest.mark.slow
def test_an_openvino_folder_gives_the_same_values_without_featx(export, place, tmp_path):
    done = export(tmp_path / "model", manifest=None)
    assert sorted(path.name for path in done.path.iterdir()) == ["model.bin", "model.xml"]
    assert done.agreement.source == "synthetic images"
    assert "Research use only" in (done.path / "model.xml").read_text()
    table = place.predict(place.final.path, tmp_path / "p.csv")
    found = scores_without_featx(done, [place.new / f"{row['id']}.png" for row in table.rows])
    wanted = np.array([[row["probability:red"], row["score:red"]] for row in table.rows])
    assert np.abs(found - wanted).max() < 1e-4


def test_several_folds_are_refused_with_advice(export, place, tmp_path):
    with pytest.raises(
        RunError, match=r"2 folds of one arm \(1, 2\).*`featx finalize`, or give the folder of one fold"
    ):
        export(tmp_path / "m.onnx", place.runs)


def test_an_existing_file_is_kept_unless_it_is_to_be_replaced(export, place, tmp_path):
    (tmp_path / "m.keras").write_text("mine")
    with pytest.raises(ConfigError, match=r"m.keras: exists already; give --overwrite"):
        export(tmp_path / "m.keras")
    assert (tmp_path / "m.keras").read_text() == "mine"
    done = export(tmp_path / "m.keras", overwrite=True)
    assert done.path.stat().st_size > 10_000


@pytest.fixture
def other_values(monkeypatch):
    """A file of Keras that computes other decision values when it is read again."""
    real = export_formats.FORMATS["keras"]

    def load(path):
        run = real.load(path)
        return lambda pixels: {name: np.asarray(value) + 2e-4 for name, value in run(pixels).items()}

    monkeypatch.setitem(export_formats.FORMATS, "keras", dataclasses.replace(real, load=load))


@pytest.mark.usefixtures("other_values")
def test_a_model_of_other_values_is_not_kept(export, tmp_path):
    (tmp_path / "m.keras").write_text("mine")
    with pytest.raises(ExportError, match="other decision values than featx"):
        export(tmp_path / "m.keras", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]
    assert (tmp_path / "m.keras").read_text() == "mine"


@pytest.mark.parametrize(
    ("part", "message"),
    [("write", "cannot be converted to keras"), ("load", "the exported keras model cannot be read again")],
)
def test_a_library_that_fails_leaves_nothing(export, tmp_path, monkeypatch, part, message):
    def fail(*_):
        raise ValueError("no such operator")

    changed = dataclasses.replace(export_formats.FORMATS["keras"], **{part: fail})
    monkeypatch.setitem(export_formats.FORMATS, "keras", changed)
    with pytest.raises(ExportError, match=rf"{message} \(no such operator\); nothing was written"):
        export(tmp_path / "m.keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": {"number": 4}}, r"augmented views.* extract without --views"),
        ({"precision": "bfloat16"}, r"computed in bfloat16.* --precision float32"),
    ],
)
def test_features_that_one_graph_does_not_compute_are_refused(
    export, place, tmp_path, monkeypatch, change, message
):
    (model,) = read_models(place.final.path)
    changed = dataclasses.replace(model, recipe={**model.recipe, **change})
    monkeypatch.setattr(exported_model, "read_models", lambda run: (changed,))
    with pytest.raises(RunError, match=message):
        export(tmp_path / "m.onnx")


def test_unknown_weights_and_a_damaged_run_are_refused(export, place, tmp_path):
    with pytest.raises(WeightsError, match="give the weights with --weights"):
        export(tmp_path / "m.onnx", cache=tmp_path)
    with pytest.raises(RunError, match="no such folder"):
        export(tmp_path / "m.onnx", tmp_path / "nothing")
    copy = shutil.copytree(place.final.path, tmp_path / "run")
    (copy / "model.skops").write_bytes(b"no model")
    with pytest.raises(RunError, match=r"model.skops was changed after the run finished"):
        export(tmp_path / "m.onnx", copy)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_scores_pooled_over_groups_have_no_probability(place, tmp_path):
    lines = [
        f"{path},{'red' if number % 2 else 'grey'},{number % 2}{number // 4}"
        for number, path in enumerate(sorted((place.home / "images").glob("*.png")))
    ]
    (tmp_path / "m.csv").write_text("\n".join(["image,label,group", *lines]))
    options = place.options(group_scores="mean", output=tmp_path / "runs")
    (run, _) = train_svm(tmp_path / "m.csv", protocol="kfold:2", allow_outside=True, **options)
    done = exported_model.export_model(run.path, output=tmp_path / "m.keras", cache=place.home / "cache")
    assert done.agreement.probabilities is None
    assert "decision values of images only, no probabilities" in done.warnings[0]
    assert done.warnings[0] in done.card.read_text()


def test_an_image_that_has_changed_is_warned_of(export, place, tmp_path):
    names = [row.id for row in place.folds[0].predictions]
    other = {name: names[(number + 1) % len(names)] for number, name in enumerate(names)}
    lines = [f"{place.home / 'images' / other[name]}.png,{name},red" for name in names]
    (tmp_path / "m.csv").write_text("\n".join(["image,id,label", *lines]))
    done = export(tmp_path / "m.keras", place.folds[0].path, manifest=tmp_path / "m.csv", allow_outside=True)
    assert "check that the images of the manifest are those of the run" in done.warnings[0]


@pytest.mark.slow
def test_a_fine_tuned_network_of_a_fold_is_exported(place, tmp_path):
    """Fine-tuned weights are a source like any other: the network of the fold is the one in the model."""
    from featx.finetuning import finetune

    options = {"task": "red:grey", "cache": tmp_path / "cache", "device": "cpu"}
    tuned = finetune(
        place.manifest, backbone="tiny", weights="random:3", arm="tuned", protocol="kfold:2", image_size=32,
        output=tmp_path / "tuned", epochs=1, precision="float32", **options,
    )  # fmt: skip
    source = tuned[0].path.parent
    stores = extract(
        place.manifest, backbone="tiny", weights=str(source), cache=tmp_path / "cache", device="cpu",
        engine="keras", precision="float32",
    )  # fmt: skip
    runs = train_svm(
        place.manifest,
        features=[one.store for one in stores],
        protocol="kfold:2",
        output=tmp_path / "runs",
        arm="tuned",
        costs=(1.0,),
        task="red:grey",
        cache=tmp_path / "cache",
    )
    done = exported_model.export_model(
        runs[1].path, output=tmp_path / "m.onnx", manifest=place.manifest, cache=tmp_path / "cache"
    )
    assert done.agreement.recorded < 1e-4
    facts = json.loads(json.dumps(runs[1].record.features))
    assert facts["digest"] in done.card.read_text()
