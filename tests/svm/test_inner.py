"""Inner scores and the thresholds fixed on them, of every run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featx.runs import inner_scores
from featx.stats import fixed_thresholds
from featx.svm.train import train_svm

Make = Callable[..., tuple[Path, Path]]
Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


def _options(tmp_path: Path, **changes: object) -> dict[str, object]:
    options = {"task": "sick:healthy", "costs": [0.1, 1.0], "inner_splits": 2, "cache": tmp_path / "cache"}
    return options | changes


def _labels(positive: np.ndarray) -> list[str]:
    return ["sick" if value else "healthy" for value in positive]


def test_every_run_holds_inner_scores_of_its_training_part_and_thresholds(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, positive = relu_features(120, 20, signal=3.0)
    manifest, store = make(features, _labels(positive))
    runs = train_svm(
        manifest, features=[store], output=tmp_path / "runs", protocol="kfold:2", **_options(tmp_path)
    )
    for run in runs:
        rows = inner_scores(run)
        tested = {row.id for row in run.predictions}
        assert {row.id for row in rows} == {f"i{place:04}" for place in range(120)} - tested
        assert {row.fold for row in rows} == set("01234")
        wanted = fixed_thresholds(
            [row.actual == "sick" for row in rows], [row.scores["sick"] for row in rows]
        )
        assert run.record.search["thresholds"] == {"sick": wanted}
        assert run.record.format == 2


def test_nothing_of_the_test_part_reaches_a_threshold(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, positive = relu_features(100, 20)
    splits = ["train"] * 60 + ["test"] * 40
    labels = _labels(positive)
    options = _options(tmp_path, protocol="holdout")
    manifest, store = make(features, labels, splits=splits)
    (first,) = train_svm(manifest, features=[store], output=tmp_path / "a", **options)
    changed = features.copy()
    changed[60:] = np.random.default_rng(1).normal(size=changed[60:].shape) * 1e3
    manifest, store = make(changed, labels[:60] + labels[60:][::-1], splits=splits, store="other")
    (second,) = train_svm(manifest, features=[store], output=tmp_path / "b", **options)
    assert first.record.search["thresholds"] == second.record.search["thresholds"]
    assert inner_scores(first) == inner_scores(second)


def test_scores_of_groups_have_thresholds_of_groups(make: Make, relu_features: Draw, tmp_path: Path) -> None:
    features, positive = relu_features(120, 20)
    groups = np.repeat(np.arange(60), 2)
    manifest, store = make(features, _labels(np.repeat(positive[::2], 2)), groups=groups)
    options = _options(tmp_path, group_scores="max", protocol="kfold:2")
    (run, _) = train_svm(manifest, features=[store], output=tmp_path / "runs", **options)
    rows = inner_scores(run)
    assert len(rows) == len({row.group for row in rows}) == 30
    assert not {row.group for row in rows} & {row.group for row in run.predictions}


def test_one_group_of_a_class_leaves_no_thresholds_and_says_so(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, _ = relu_features(40, 10)
    groups = ["p", "p", "q", "q", *map(str, range(36))]
    manifest, store = make(features, ["sick"] * 4 + ["healthy"] * 36, groups=groups)
    options = _options(tmp_path, protocol="kfold:2")
    (run, _) = train_svm(manifest, features=[store], output=tmp_path / "runs", **options)
    assert inner_scores(run) == ()
    assert "thresholds" not in run.record.search
    assert any(
        "no thresholds were determined" in text and "two groups" in text for text in run.record.warnings
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_inner_scores_have_the_same_bytes_for_any_number_of_workers(
    make: Make, relu_features: Draw, tmp_path: Path, workers: int
) -> None:
    features, positive = relu_features(80, 20)
    manifest, store = make(features, _labels(positive))
    kept = [
        train_svm(
            manifest,
            features=[store],
            output=tmp_path / str(count),
            protocol="kfold:2",
            workers=count,
            **_options(tmp_path),
        )[0].path.joinpath("inner_scores.csv")
        for count in (2, workers)
    ]
    assert kept[0].read_bytes() == kept[1].read_bytes()
