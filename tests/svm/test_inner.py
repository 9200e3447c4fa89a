"""Inner scores, and the thresholds and calibrations that are determined on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from featx.errors import ProtocolError, RunError, TrainingError
from featx.features import FeatureStore
from featx.reporting import report_runs
from featx.runs import Prediction, inner_scores
from featx.stats import fixed_thresholds
from featx.svm import inner
from featx.svm.calibration_records import calibration_record
from featx.svm.inner import InnerScores, fit_on_inner, inner_parts, score_parts
from featx.svm.model import load_model
from featx.svm.problems import Curve, FitProblem
from featx.svm.train import train_svm

Make = Callable[..., tuple[Path, Path]]


Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


def _options(tmp_path: Path, **changes: object) -> dict[str, object]:
    options = {
        "task": "sick:healthy",
        "protocol": "kfold:2",
        "costs": [0.1, 1.0],
        "inner_splits": 2,
        "cache": tmp_path / "cache",
    }
    return options | changes


def _labels(positive: np.ndarray) -> list[str]:
    return ["sick" if value else "healthy" for value in positive]


def test_every_run_holds_inner_scores_of_its_training_part_and_thresholds(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, positive = relu_features(120, 20, signal=3.0)
    manifest, store = make(features, _labels(positive))
    runs = train_svm(manifest, features=[store], output=tmp_path / "runs", **_options(tmp_path))
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
    options = _options(tmp_path, group_scores="max")
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
    options = _options(tmp_path)
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
            workers=count,
            **_options(tmp_path),
        )[0].path.joinpath("inner_scores.csv")
        for count in (2, workers)
    ]
    assert kept[0].read_bytes() == kept[1].read_bytes()


@pytest.mark.parametrize(
    ("preset", "method"), [pytest.param("default", "sigmoid", marks=pytest.mark.slow), ("paper", "isotonic")]
)
def test_probabilities_stand_in_predictions_record_model_and_report(
    make: Make, relu_features: Draw, tmp_path: Path, preset: str, method: str
) -> None:
    features, positive = relu_features(160, 20, signal=3.0)
    manifest, store = make(features, _labels(positive))
    options = _options(tmp_path, preset=preset, features=[store])
    runs = train_svm(manifest, output=tmp_path / "runs", calibrate=method, **options)
    plain = train_svm(manifest, output=tmp_path / "plain", **options)
    for run, other in zip(runs, plain, strict=True):
        chances = np.array([row.probabilities["sick"] for row in run.predictions])
        scores = np.array([row.scores["sick"] for row in run.predictions])
        assert scores.tolist() == [row.scores["sick"] for row in other.predictions]
        assert (np.diff(chances[np.argsort(scores)]) >= 0.0).all()
        sick = np.array([row.actual == "sick" for row in run.predictions])
        assert np.mean((chances - sick) ** 2) < np.mean((sick.mean() - sick) ** 2)
        stated = json.loads((run.path / "run.json").read_text())["search"]["calibration"]
        assert (stated["method"], stated["folds"], stated["n"]) == (method, 5, 80)
        assert run.record.search["thresholds"] == other.record.search["thresholds"]
        model, values = load_model(run.path), FeatureStore(store)
        again = model.scores(values.read_images(manifest, [row.id for row in run.predictions]), values.digest)
        assert model.probabilities(again)[:, 0].tolist() == chances.tolist()
        with pytest.raises(RunError, match="no calibration"):
            load_model(other.path).probabilities(again)
    if method == "sigmoid":
        report_runs([tmp_path / "runs"], output=tmp_path / "report")
        assert "Calibration: " in (tmp_path / "report" / "report.html").read_text()


def test_inner_folds_share_no_group_and_are_scored_unseen(
    make: Make, relu_features: Draw, tmp_path: Path, monkeypatch
) -> None:
    features, positive = relu_features(120, 20)
    groups = np.repeat(np.arange(60), 2)
    manifest, store = make(features, _labels(np.repeat(positive[::2], 2)), groups=groups)
    jobs: list[FitProblem] = []

    def spy(*given: object) -> FitProblem:
        jobs.append(FitProblem(*given))
        return jobs[-1]

    monkeypatch.setattr(inner, "FitProblem", spy)
    # With "stratified" the search ignores groups; inner scores, for thresholds and calibrations, never do.
    options = _options(tmp_path, inner="stratified", workers=1)  # one fold after the other
    runs = train_svm(manifest, features=[store], output=tmp_path / "runs", **options)
    assert len(jobs) == 10
    for run, own in zip(runs, (jobs[:5], jobs[5:]), strict=True):
        tested = {int(row.id[1:]) for row in run.predictions}
        assert sorted(np.concatenate([job.test for job in own])) == sorted(set(range(120)) - tested)
        for job in own:
            assert not set(groups[job.train]) & set(groups[job.test])
            assert not tested & {*job.train.tolist(), *job.test.tolist()}


def test_nothing_of_the_test_part_reaches_the_calibration(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, positive = relu_features(100, 20)
    splits = ["train"] * 60 + ["test"] * 40
    labels = _labels(positive)
    options = _options(tmp_path, protocol="holdout", calibrate="isotonic")
    manifest, store = make(features, labels, splits=splits)
    (first,) = train_svm(manifest, features=[store], output=tmp_path / "a", **options)
    changed = features.copy()
    changed[60:] = np.random.default_rng(1).normal(size=changed[60:].shape) * 1e3
    manifest, store = make(changed, labels[:60] + labels[60:][::-1], splits=splits, store="other")
    (second,) = train_svm(manifest, features=[store], output=tmp_path / "b", **options)
    assert first.record.search["calibration"] == second.record.search["calibration"]
    assert (first.path / "model.skops").read_bytes() == (second.path / "model.skops").read_bytes()


def test_several_classes_have_probabilities_that_sum_to_one(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, _ = relu_features(150, 20)
    labels = np.array(["a", "b", "c"])[np.argmax(features[:, :3] + 0.1, axis=1)]
    manifest, store = make(features, labels)
    options = _options(tmp_path, task="labels", calibrate="sigmoid")
    (run, _) = train_svm(manifest, features=[store], output=tmp_path / "runs", **options)
    for row in run.predictions:
        assert sum(row.probabilities.values()) == pytest.approx(1.0)
    assert set(run.record.search["calibration"]["classes"]) == {"a", "b", "c"}
    model = load_model(run.path)
    assert model.calibration is not None
    assert len(calibration_record(model.calibration)["curves"]) == 3


def test_scores_of_groups_are_calibrated_as_scores_of_groups(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, positive = relu_features(120, 20)
    groups = np.repeat(np.arange(60), 2)
    manifest, store = make(features, _labels(np.repeat(positive[::2], 2)), groups=groups)
    options = _options(tmp_path, calibrate="sigmoid", group_scores="max")
    (run, _) = train_svm(manifest, features=[store], output=tmp_path / "runs", **options)
    assert run.record.search["calibration"]["n"] == 30
    assert all(0.0 < row.probabilities["sick"] < 1.0 for row in run.predictions)


def test_one_group_of_a_class_cannot_be_calibrated(make: Make, relu_features: Draw, tmp_path: Path) -> None:
    features, _ = relu_features(40, 10)
    groups = ["p", "p", "q", "q", *map(str, range(36))]
    manifest, store = make(features, ["sick"] * 4 + ["healthy"] * 36, groups=groups)
    options = _options(tmp_path, calibrate="sigmoid")
    with pytest.raises(ProtocolError, match=r"two groups of every class.*train without --calibrate"):
        train_svm(manifest, features=[store], output=tmp_path / "runs", **options)


def test_isotonic_on_few_images_is_warned_about_and_never_certain(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, positive = relu_features(160, 20, signal=3.0)
    manifest, store = make(features, _labels(positive))
    options = _options(tmp_path, calibrate="isotonic")
    (run, _) = train_svm(manifest, features=[store], output=tmp_path / "runs", **options)
    assert any("isotonic calibration was fitted on" in text for text in run.record.warnings)
    assert all(0.0 < row.probabilities["sick"] < 1.0 for row in run.predictions)


class _RowTimesCost:
    """A solver whose decision value is the index of the row times C."""

    measure, tolerance = "none", 1.0

    def curves(self, jobs: list[FitProblem], costs: list[float]) -> list[Curve]:
        return [
            Curve(job.test[:, None] * np.array(costs), np.zeros(1), np.full(1, 3, dtype=np.int64))
            for job in jobs
        ]


def test_each_class_is_scored_with_its_own_cost_and_pool() -> None:
    given: list[np.ndarray] = []

    def predictions(parts: np.ndarray, scores: np.ndarray) -> list[Prediction]:
        given.append(scores)
        return []

    parts, train = np.array([0, 1, 0, 1]), np.arange(4)
    targets = np.array([[True, False], [True, False], [False, True], [False, True]])
    found = score_parts(
        _RowTimesCost(), train, targets, (0.5, 10.0), parts, views=2, pool="max", predictions=predictions
    )
    assert given[0].tolist() == [[0.5, 10.0], [1.5, 30.0], [2.5, 50.0], [3.5, 70.0]]
    assert (found.folds, found.steps, len(found.residuals)) == (2, 12, 4)


def _scored(*rows: tuple[str, str, float]) -> InnerScores:
    made = [
        Prediction(str(place), str(place % 2), group, actual, {"sick": score}, {}, {})
        for place, (group, actual, score) in enumerate(rows)
    ]
    return InnerScores(tuple(made), 2, np.zeros(2), 2)


def test_a_threshold_that_calls_nothing_positive_is_none() -> None:
    scores = _scored(("a", "sick", 1.0), ("b", "healthy", 1.0))
    found = scores.thresholds(["sick"])["sick"].values()
    assert None in found
    assert all(value is None or np.isfinite(value) for value in found)


def test_calibration_knows_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner, "fit_calibration", lambda *given, **named: named)
    task = SimpleNamespace(classes=("healthy", "sick"), scored=("sick",))
    scores = _scored(("a", "sick", 1.0), ("a", "sick", 2.0), ("b", "healthy", 0.0))
    found = fit_on_inner(scores, task, "sigmoid")
    assert found == {"method": "sigmoid", "folds": ["0", "1", "0"], "groups": ["a", "a", "b"]}


def test_inner_folds_follow_the_seed() -> None:
    groups, kinds = np.arange(40).astype(str), np.arange(40) % 2
    first, again, other = (inner_parts(groups, kinds, seed) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()
    # Stored runs depend on these numbers.
    few = inner_parts(np.arange(12).astype(str), np.arange(12) < 3, 0)
    assert few.tolist() == [2, 1, 0, 0, 2, 0, 1, 2, 0, 1, 2, 1]


@pytest.mark.parametrize(("parts", "refused"), [([0, 1, 2, 0, 1], False), ([0, 1, 2, 0, 0], True)])
def test_an_inner_fold_may_lack_a_class_but_not_hold_all_of_it(
    parts: list[int], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inner, "deal", lambda *given: np.array(parts))
    groups, kinds = np.array(list("abcde")), np.array([0, 0, 0, 1, 1])
    if refused:
        with pytest.raises(TrainingError, match="all groups of a class are in inner fold 0"):
            inner_parts(groups, kinds, 0)
    else:
        assert inner_parts(groups, kinds, 0).tolist() == parts
