"""Weights sources."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from featx.digest import digest, digest_file
from featx.errors import WeightsError
from featx.runs import RunRecord, write_run
from featx.zoo.backbones import find_backbone
from featx.zoo.weights import BACKBONE_FILE, TRAINED_ON_FILE, resolve_weights

TINY = find_backbone("tiny")


def one(source, backbone=TINY):
    (weights,) = resolve_weights(source, backbone)
    return weights


def fine_tuned(folder, fold="1x1", arm="C", kind="finetune", files=None, features=None, settings=None):
    """Write a fine-tuning run as featx.finetuning does."""
    record = RunRecord(
        kind=kind,
        arm=arm,
        task="melanoma",
        classes=("benign", "melanoma"),
        scored=("melanoma",),
        protocol="5x2",
        fold=fold,
        folds_digest="f" * 64,
        seed=0,
        manifest={"name": "atlas", "digest": "m" * 64},
        features=features or {},
        settings=settings or {},
        lineage=("imagenet", "retinopathy", f"atlas {fold}"),
    )
    given = {
        BACKBONE_FILE: b"weights of " + fold.encode(),
        TRAINED_ON_FILE: json.dumps({"train_keys": ["b", "a"]}).encode(),
    }
    return write_run(folder, record, [], {}, given if files is None else files)


def test_random_seeds_have_their_own_digests():
    zero, plain, one_, other = (
        one("random:0"),
        one("random"),
        one("random:1"),
        one("random:0", find_backbone("vgg_m")),
    )
    assert zero == plain
    assert zero.seed == 0
    assert len({zero.digest, one_.digest, other.digest}) == 3
    assert (zero.label, one_.label) == ("random0", "random1")
    assert zero.lineage == ("random:0",)
    assert zero.path is None


def test_random_digest_is_the_same_under_every_backend(monkeypatch):
    code = (
        "from featx.zoo.weights import resolve_weights; from featx.zoo.backbones import find_backbone;"
        "print(resolve_weights('random:0', find_backbone('tiny'))[0].digest)"
    )
    digests = []
    for backend in ("tensorflow", "jax"):
        monkeypatch.setenv("KERAS_BACKEND", backend)
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        digests.append(shown.stdout)
    assert digests[0] == digests[1]


@pytest.mark.parametrize("source", ["random:", "random:-1", "random:x", "random:1.5", "random:²"])
def test_malformed_seeds_are_told(source):
    with pytest.raises(WeightsError, match="the seed must be an integer"):
        one(source)


def test_missing_path_is_told_with_what_is_possible():
    with pytest.raises(WeightsError, match=r"'none\.h5': no such file or folder; give random, random:SEED"):
        one("none.h5")


def test_a_file_is_known_by_its_bytes(tmp_path):
    path = tmp_path / "mine.weights.h5"
    path.write_bytes(b"bytes")
    weights = one(path)
    assert weights.digest == digest_file(path)
    assert weights.label == "mine"
    assert weights.lineage == ("mine.weights.h5",)
    assert one(path.rename(tmp_path / "moved.h5")).digest == weights.digest


def test_a_run_brings_its_lineage_and_what_it_saw(tmp_path):
    run = fine_tuned(tmp_path / "C" / "1x1")
    weights = one(run.path)
    assert weights.lineage == ("imagenet", "retinopathy", "atlas 1x1")
    assert weights.label == "C-1x1"
    assert weights.path == run.path / BACKBONE_FILE
    assert weights.digest == digest_file(run.path / BACKBONE_FILE)
    assert weights.trained_on == {
        "arm": "C",
        "task": "melanoma",
        "protocol": "5x2",
        "fold": "1x1",
        "folds_digest": "f" * 64,
        "manifest_digest": "m" * 64,
        "train_keys_digest": digest(["a", "b"]),
    }


@pytest.mark.parametrize(
    ("features", "settings", "wanted"),
    [
        (
            {"recipe": {"image_size": 128, "preparation": {"name": "atlas", "version": 1}}},
            {"precision": "mixed_bfloat16"},
            {"image_size": 128, "preparation": "atlas", "precision": "bfloat16"},
        ),
        ({}, {}, {"precision": "float32"}),
    ],
)
def test_a_run_says_how_its_images_were_made(tmp_path, features, settings, wanted):
    run = fine_tuned(tmp_path / "1x1", features=features, settings=settings)
    assert one(run.path).trained_with == wanted


def test_the_file_in_a_run_is_the_run(tmp_path):
    """Giving the weights file itself must not lose what the network has seen."""
    run = fine_tuned(tmp_path / "1x1")
    assert one(run.path / BACKBONE_FILE) == one(run.path)


def test_a_folder_of_runs_gives_each_fold(tmp_path):
    for fold in ("2x1", "1x2", "1x1"):
        fine_tuned(tmp_path / fold, fold)
    weights = resolve_weights(tmp_path, TINY)
    assert [item.trained_on["fold"] for item in weights] == ["1x1", "1x2", "2x1"]
    assert len({item.digest for item in weights}) == 3


def test_a_run_is_found_by_its_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="reports: no such folder"):
        one("run:abcd")
    runs = [fine_tuned(tmp_path / "reports" / "finetuned" / fold, fold) for fold in ("1x1", "1x2")]
    for run in runs:
        assert one(f"run:{run.record.id[:12]}").trained_on == one(run.path).trained_on
    with pytest.raises(WeightsError, match=r"'run:0000000000': no fine-tuning runs have this id below"):
        one("run:0000000000")
    for malformed in ("run:", "run:abc", "run:xyzw"):
        with pytest.raises(WeightsError, match="4 or more hexadecimal digits"):
            one(malformed)


def test_folders_that_cannot_serve_are_told(tmp_path):
    with pytest.raises(WeightsError, match="holds no finished run"):
        one(tmp_path)
    fine_tuned(tmp_path / "svm", kind="svm")
    with pytest.raises(WeightsError, match="contains no fine-tuning run"):
        one(tmp_path)
    fine_tuned(tmp_path / "C", arm="C")
    fine_tuned(tmp_path / "E", arm="E")
    with pytest.raises(WeightsError, match=r"several arms, tasks or protocols \(C/melanoma/5x2, E/"):
        one(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({BACKBONE_FILE: b"w"}, r"trained-on\.json is missing or damaged"),
        ({BACKBONE_FILE: b"w", TRAINED_ON_FILE: b"{}"}, r"trained-on\.json is missing or damaged"),
        ({TRAINED_ON_FILE: b'{"train_keys": []}'}, r"backbone\.weights\.h5 is missing"),
    ],
)
def test_incomplete_runs_are_told(tmp_path, files, message):
    run = fine_tuned(tmp_path / "run", files=files)
    with pytest.raises(WeightsError, match=message):
        one(run.path)


@pytest.mark.parametrize("name", [BACKBONE_FILE, TRAINED_ON_FILE])
def test_what_was_changed_after_the_training_finished_is_refused(tmp_path, name):
    run = fine_tuned(tmp_path / "run")
    text = (run.path / name).read_bytes()
    (run.path / name).write_bytes(text + b" ")
    with pytest.raises(WeightsError, match=rf"{name} was changed after the run finished .* --overwrite"):
        one(run.path)
    (run.path / name).write_bytes(text)
    assert one(run.path).digest == digest_file(run.path / BACKBONE_FILE)
