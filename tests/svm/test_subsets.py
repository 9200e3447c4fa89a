"""Parts of training sets for learning curves: nested, by group, by class; and their runs beside those of the folds."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data import Fold, apply_task, read_manifest
from featx.deploy.run_model import read_models
from featx.errors import ConfigError, ProtocolError
from featx.features.store import TRAINED_ON
from featx.files import write_json
from featx.images import DECODE_VERSION, content_keys, preparation_key
from featx.runs import Run
from featx.svm.inputs import Images
from featx.svm.settings import SubsetOptions, TrainSvmSettings
from featx.svm.subsets import TrainingSubset, asked_subsets, draw_subset
from featx.svm.train import train_svm

Make = Callable[..., tuple[Path, Path]]
TASK = "sick:healthy"


@pytest.fixture
def images(make: Make) -> Images:
    """60 images of 24 patients, of whom two have images of both classes."""
    rng = np.random.default_rng(5)
    groups = rng.integers(24, size=60)
    labels = ["sick" if group % 3 == 0 or row % 29 == 0 else "healthy" for row, group in enumerate(groups)]
    manifest, _ = make(rng.normal(size=(60, 4)).astype(np.float32), labels, groups=groups.tolist())
    labelled = apply_task(read_manifest(manifest), TASK)
    return Images(labelled, tuple(f"key{row}" for row in range(60)), ())


def groups_of(images: Images, names: tuple[str, ...]) -> set[str]:
    owner = dict(zip(images.labelled.ids, images.labelled.groups.tolist(), strict=True))
    return {owner[name] for name in names}


def test_small_parts_lie_inside_large_ones_and_hold_whole_groups(images: Images) -> None:
    fold = Fold("1x1", images.labelled.ids[:40], images.labelled.ids[40:])
    sizes = [TrainingSubset("shots", 1, 0), TrainingSubset("shots", 3, 0)]
    sizes += [TrainingSubset("fraction", size, 0) for size in (0.5, 0.8)]
    drawn = [draw_subset(fold, images, size, 7) for size in sizes]
    for small, large in itertools.pairwise(drawn):
        assert set(small.train) < set(large.train) < set(fold.train)
    for part in drawn:
        assert part.test == fold.test
        rest = set(fold.train) - set(part.train)
        assert not groups_of(images, part.train) & groups_of(images, tuple(rest))
    classes = dict(zip(images.labelled.ids, images.labelled.classes.tolist(), strict=True))
    half = {name: sum(classes[one] == name for one in drawn[2].train) for name in ("sick", "healthy")}
    whole = {name: sum(classes[one] == name for one in fold.train) for name in ("sick", "healthy")}
    assert all(abs(half[name] / whole[name] - 0.5) < 0.25 for name in half)
    assert len(groups_of(images, drawn[0].train)) == 2


def test_draws_differ_by_number_seed_and_fold_alone(images: Images) -> None:
    fold = Fold("1x1", images.labelled.ids[:40], images.labelled.ids[40:])
    size = TrainingSubset("fraction", 0.4, 0)
    first = draw_subset(fold, images, size, 0)
    turned = dataclasses.replace(fold, train=fold.train[::-1])
    assert set(draw_subset(turned, images, size, 0).train) == set(first.train)
    others = [
        draw_subset(fold, images, dataclasses.replace(size, seed=1), 0),
        draw_subset(fold, images, size, 1),
        draw_subset(dataclasses.replace(fold, name="2x1"), images, size, 0),
    ]
    assert len({tuple(sorted(one.train)) for one in (first, *others)}) == 4


def test_byte_identical_images_are_drawn_together(images: Images) -> None:
    twins = dataclasses.replace(images, keys=("same", "same", *images.keys[2:]))
    fold = Fold("1", images.labelled.ids[:40], images.labelled.ids[40:])
    for seed in range(6):
        part = set(draw_subset(fold, twins, TrainingSubset("fraction", 0.4, seed), 0).train)
        assert len(part & set(images.labelled.ids[:2])) in (0, 2)


def test_more_shots_than_groups_are_refused(images: Images) -> None:
    fold = Fold("1x1", images.labelled.ids[:40], images.labelled.ids[40:])
    with pytest.raises(ProtocolError, match=r"fold 1x1: .* groups of healthy, and --shots asks for 30"):
        draw_subset(fold, images, TrainingSubset("shots", 30, 0), 0)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"train_fraction": (0.5, 0.5)}, "each once"),
        ({"train_fraction": 0}, "above 0"),
        ({"train_fraction": 1.5}, "from 0 to 1"),
        ({"shots": 2.5}, "whole numbers"),
        ({"train_seeds": 3}, "without a size"),
    ],
)
def test_sizes_that_cannot_be_drawn_are_refused(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        SubsetOptions.make(given)
    with pytest.raises(ConfigError, match=text):
        TrainSvmSettings.make({"arm": "a", **given})


def test_the_whole_training_set_is_no_subset() -> None:
    assert asked_subsets(SubsetOptions(train_fraction=(1,), train_seeds=2)) == ()


@pytest.fixture
def small(make: Make, relu_features: Callable[..., Any]) -> tuple[Path, Path]:
    features, positive = relu_features(90, 20, signal=6.0)
    now = {"preparation": preparation_key("resize"), "decode": DECODE_VERSION}
    return make(features, ["sick" if one else "healthy" for one in positive], groups=list(range(90)), **now)


def options(store: Path, tmp_path: Path, **more: Any) -> dict[str, Any]:
    places = {"output": tmp_path / "runs", "cache": tmp_path / "cache"}
    quick = {"costs": (0.1, 10.0), "inner_splits": 2, "protocol": "kfold:2", "arm": "A"}
    return {"features": [store], "task": TASK, **places, **quick, **more}


def content(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.iterdir() if path.name not in _VARY}


_VARY = {"environment.json", "complete.json", "training-subsets"}


def test_runs_of_a_learning_curve_stand_beside_those_of_the_folds(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest, store = small
    plain = train_svm(manifest, **options(store, tmp_path))
    before = content(plain[1])
    asked = {"train_fraction": (0.4, 1), "shots": 1, "train_seeds": 2, "folds": ["2"]}
    runs = train_svm(manifest, **options(store, tmp_path, **asked))
    assert len(runs) == 1 + 2 * 2
    assert (runs[0].record, content(runs[0])) == (plain[1].record, before)
    again = train_svm(manifest, **options(store, tmp_path / "again", **asked))
    assert [content(run) for run in again] == [content(run) for run in runs]
    assert len({run.record.id for run in runs}) == len(runs)
    one_shot = [run for run in runs if run.record.subset.get("shots") == 1]
    assert [run.record.subset["seed"] for run in one_shot] == [0, 1]
    for run in one_shot:
        assert run.record.counts["train"] == {"healthy": 1, "sick": 1}
        assert run.record.search["classes"]["sick"]["C"] in (0.1, 10.0)
        assert any("so C was not searched" in text for text in run.record.warnings)
    for run in runs[1:]:
        assert {row.id for row in run.predictions} == {row.id for row in plain[1].predictions}
        assert run.path.parents[2] == plain[1].path.parent
    stated = json.loads((runs[-1].path / "run.json").read_text())
    assert stated["settings"]["subset"] == {"fraction": 0.4, "seed": 1}
    # Who uses the arm's folds gets those of the whole training sets; a subset's run may still be used by its own folder.
    assert [model.run.path for model in read_models(tmp_path / "runs")] == [run.path for run in plain]
    assert read_models(runs[-1].path)[0].run.path == runs[-1].path


def test_one_shot_is_too_little_for_a_calibration(small: tuple[Path, Path], tmp_path: Path) -> None:
    manifest, store = small
    with pytest.raises(ProtocolError, match="two groups of every class"):
        train_svm(manifest, **options(store, tmp_path, shots=1, calibrate="sigmoid"))
    assert not (tmp_path / "runs").exists()


def test_weights_that_were_trained_on_the_training_set_have_no_learning_curve(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest, store = small
    (path,) = read_manifest(manifest).paths[:1]
    plain = options(store, tmp_path)
    train_svm(manifest, **{**plain, "folds": ["1"]})
    write_json(store / TRAINED_ON, {"train_keys": list(content_keys([path]).keys.values())})
    fold = next(
        one
        for one in ("1", "2")
        if "i0000" not in {row.id for row in _fold(manifest, plain, one).predictions}
    )
    with pytest.raises(ConfigError, match="was trained on 1 of 45 images"):
        train_svm(manifest, **{**plain, "folds": [fold], "train_fraction": 0.5})


def _fold(manifest: Path, plain: dict[str, Any], fold: str) -> Run:
    (run,) = train_svm(manifest, **{**plain, "folds": [fold], "overwrite": True})
    return run
