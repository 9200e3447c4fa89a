"""Ranking metrics against scikit-learn, by hand, and by their own laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.metrics import roc_auc_score

from featx.errors import ConfigError, InputError
from featx.stats.auc import (
    average_precision,
    fold_auc,
    macro_auc,
    mean_roc,
    one_vs_rest_auc,
    partial_auc,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and scores with many ties."""
    length = draw(st.integers(2, 40))
    actual = np.array([0, 1, *draw(st.lists(st.integers(0, 1), min_size=length - 2, max_size=length - 2))])
    scores = draw(st.lists(st.integers(-4, 4), min_size=length, max_size=length))
    return actual, np.array(scores) / 3


@given(scored())
def test_area_counts_pairs(data: tuple[np.ndarray, np.ndarray]) -> None:
    actual, scores = data
    pairs = scores[actual == 1][:, None] - scores[actual == 0][None, :]
    by_hand = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
    assert roc_auc(actual, scores) == pytest.approx(by_hand, abs=1e-12)


@given(scored())
def test_binary_metrics_equal_scikit_learn(data: tuple[np.ndarray, np.ndarray]) -> None:
    actual, scores = data
    assert roc_auc(actual, scores) == pytest.approx(metrics.roc_auc_score(actual, scores), abs=1e-12)
    assert average_precision(actual, scores) == pytest.approx(
        metrics.average_precision_score(actual, scores), abs=1e-12
    )
    ours = roc_curve(actual, scores)
    false, true, thresholds = metrics.roc_curve(actual, scores, drop_intermediate=False)
    np.testing.assert_allclose(ours.false_positive_rate, false)
    np.testing.assert_allclose(ours.true_positive_rate, true)
    np.testing.assert_array_equal(ours.thresholds, thresholds)
    steps = precision_recall_curve(actual, scores)
    precision, recall, thresholds = metrics.precision_recall_curve(actual, scores)
    np.testing.assert_allclose(steps.precision, precision[-2::-1])
    np.testing.assert_allclose(steps.recall, recall[-2::-1])
    np.testing.assert_array_equal(steps.thresholds, thresholds[::-1])


@given(scored())
def test_area_laws(data: tuple[np.ndarray, np.ndarray]) -> None:
    actual, scores = data
    area = roc_auc(actual, scores)
    assert roc_auc(1 - actual, scores) == pytest.approx(1 - area, abs=1e-12)
    assert roc_auc(actual, -scores) == pytest.approx(1 - area, abs=1e-12)
    assert roc_auc(actual, np.exp(scores) * 7 - 2) == area
    curve = roc_curve(actual, scores)
    assert np.trapezoid(curve.true_positive_rate, curve.false_positive_rate) == pytest.approx(area, abs=1e-12)


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_one_vs_rest_equals_scikit_learn(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(classes), rng.integers(0, classes, 20)])
    scores = rng.integers(0, 5, (len(targets), classes)) / 4
    indicator = np.eye(classes)[targets]
    expected = metrics.roc_auc_score(indicator, scores, average=None)
    np.testing.assert_allclose(one_vs_rest_auc(targets, scores), expected, atol=1e-12)
    assert macro_auc(targets, scores) == pytest.approx(metrics.roc_auc_score(indicator, scores), abs=1e-12)


@pytest.mark.parametrize("actual", [[0, 0, 0], [1, 1, 1], []])
def test_single_class_is_undefined(actual: list[int]) -> None:
    scores = [0.1, 0.2, 0.3][: len(actual)]
    assert np.isnan(roc_auc(actual, scores))
    assert np.isnan(average_precision(actual, scores))
    assert not np.isfinite(
        roc_curve(actual, scores).true_positive_rate + roc_curve(actual, scores).false_positive_rate
    ).all()


def test_macro_average_of_a_missing_class_is_undefined() -> None:
    scores = [[3, 1, 0], [0, 2, 0]]
    assert np.isnan(one_vs_rest_auc([0, 1], scores)[2])
    assert np.isnan(macro_auc([0, 1], scores))


def test_fold_auc_takes_one_score_or_one_a_class() -> None:
    assert fold_auc([0, 1, 1], [[0.1], [0.4], [0.0]]) == roc_auc([0, 1, 1], [0.1, 0.4, 0.0]) == 0.5
    scores = [[3, 1, 0], [0, 2, 0], [1, 3, 1]]
    assert fold_auc([0, 1, 2], scores) == macro_auc([0, 1, 2], scores)


@pytest.mark.parametrize(
    ("actual", "scores", "message"),
    [
        ([0, 1], [0.1], "the same length"),
        ([0, 2], [0.1, 0.2], "only 0 and 1. Got 2 instead"),
        ([0, 1], [0.1, float("nan")], "finite. Got nan in row 1"),
        ([[0, 1]], [[0.1, 0.2]], "one-dimensional"),
    ],
)
def test_bad_arrays_are_refused(actual: list[int], scores: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        roc_auc(actual, scores)


@pytest.mark.parametrize("targets", [[0, 3], [-1, 0], [0.5, 0]])
def test_bad_class_indices_are_refused(targets: list[float]) -> None:
    with pytest.raises(InputError, match="class indices 0 to 2"):
        macro_auc(targets, np.eye(3)[:2])


@pytest.mark.parametrize(
    ("targets", "scores"), [([0, 1], [0.1, 0.2]), ([0], np.eye(2)), ([0, 0], [[1], [2]])]
)
def test_scores_that_do_not_fit_are_refused(targets: list[int], scores: list[float]) -> None:
    with pytest.raises(InputError, match=r"scores \(n, classes\) with at least 2 classes"):
        macro_auc(targets, scores)


@given(st.lists(scored(), min_size=1, max_size=4))
def test_mean_curve_averages_the_folds_areas(folds: list[tuple[np.ndarray, np.ndarray]]) -> None:
    mean = mean_roc(folds, points=20_001)
    area = np.trapezoid(mean.mean, mean.false_positive_rate)
    assert area == pytest.approx(np.mean([roc_auc(*fold) for fold in folds]), abs=1e-3)
    assert (np.diff(mean.mean) >= -1e-12).all()
    assert mean.mean[0] == 0
    assert mean.mean[-1] == pytest.approx(1)


def test_mean_curve_of_one_fold_passes_through_its_points() -> None:
    actual, scores = [0, 0, 1, 1, 1], [0.1, 0.6, 0.4, 0.5, 0.9]
    mean = mean_roc([(actual, scores)], points=3)
    np.testing.assert_allclose(mean.mean, [0, 1 / 3, 1, 1])
    assert np.isnan(mean.sd).all()


def test_mean_curve_counts_folds_without_a_curve() -> None:
    mean = mean_roc([([0, 1], [0, 1]), ([1, 1], [0, 1])])
    assert (mean.folds, mean.undefined) == (1, 1)
    nothing = mean_roc([([1, 1], [0, 1])])
    assert (nothing.folds, nothing.undefined) == (0, 1)
    assert np.isnan(nothing.mean).all()


def test_mean_curve_refuses_what_it_cannot_average() -> None:
    with pytest.raises(InputError, match="at least one fold"):
        mean_roc([])
    with pytest.raises(ConfigError, match="'points' parameter must be at least 2"):
        mean_roc([([0, 1], [0, 1])], points=1)


PROC = [
    ("wfns", 0.9, 1.0, "specificity", 0.0334417344173442, 0.649693339038653),
    ("wfns", 0.8, 0.9, "specificity", 0.0598373983739837, 0.763749402199904),
    ("wfns", 0.0, 0.5, "specificity", 0.488134475939354, 0.952537903757416),
    ("ndka", 0.9, 1.0, "specificity", 0.0107046070460705, 0.530024247610897),
    ("ndka", 0.8, 0.9, "specificity", 0.0277777777777778, 0.575163398692811),
    ("wfns", 0.9, 1.0, "sensitivity", 0.0400999322493225, 0.68473648552275),
    ("wfns", 0.8, 0.9, "sensitivity", 0.0609953703703703, 0.770561002178649),
    ("ndka", 0.8, 0.9, "sensitivity", 0.0242547425474255, 0.554439662043679),
    ("ndka", 0.0, 0.5, "sensitivity", 0.428523035230352, 0.714092140921409),
]


@pytest.mark.parametrize(("marker", "low", "high", "focus", "bare", "standardised"), PROC)
def test_equals_proc_on_its_example(
    asah: dict[str, np.ndarray],
    marker: str,
    low: float,
    high: float,
    focus: str,
    bare: float,
    standardised: float,
) -> None:
    arrays = asah["poor"], asah[marker]
    found = partial_auc(*arrays, low=low, high=high, focus=focus, standardised=False)
    assert found == pytest.approx(bare, rel=1e-9)
    assert partial_auc(*arrays, low=low, high=high, focus=focus) == pytest.approx(standardised, rel=1e-9)


@given(st.integers(0, 1000), st.floats(0.02, 0.98))
def test_equals_scikit_learn_and_adds_up(seed: int, edge: float) -> None:
    rng = np.random.default_rng(seed)
    actual, scores = np.array([0, 1, *rng.integers(0, 2, 20)]), rng.integers(0, 8, 22)
    assert partial_auc(actual, scores, low=edge) == pytest.approx(
        roc_auc_score(actual, scores, max_fpr=1 - edge), abs=1e-9
    )
    for focus in ("specificity", "sensitivity"):
        parts = [
            partial_auc(actual, scores, low=low, high=high, focus=focus, standardised=False)
            for low, high in ((0, edge), (edge, 1))
        ]
        assert sum(parts) == pytest.approx(roc_auc(actual, scores))


def test_one_class_is_undefined() -> None:
    assert np.isnan(partial_auc([1, 1], [0.1, 0.2]))


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="must satisfy 0 <= low < high <= 1"):
        partial_auc([0, 1], [0, 1], low=0.9, high=0.8)
    with pytest.raises(ConfigError, match="'focus' parameter must be one of"):
        partial_auc([0, 1], [0, 1], focus="precision")
