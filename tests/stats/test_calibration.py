"""Calibration against scikit-learn, and on scores whose probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV, calibration_curve
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss
from statsmodels.stats.proportion import proportion_confint

from featx.errors import ConfigError, InputError, LeakError
from featx.stats.auc import roc_auc
from featx.stats.calibration import (
    Calibration,
    Sigmoid,
    Steps,
    brier_score,
    calibrate,
    expected_calibration_error,
    fit_calibration,
    reliability,
)


class Passed(ClassifierMixin, BaseEstimator):
    """A fitted classifier whose decision value is its only feature."""

    classes_ = np.array([0, 1])

    def fit(self, features: np.ndarray, actual: np.ndarray) -> Passed:
        return self

    def decision_function(self, features: np.ndarray) -> np.ndarray:
        return features[:, 0]

    def predict(self, features: np.ndarray) -> np.ndarray:
        return (features[:, 0] > 0).astype(int)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def draw(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Decision values whose true probability is expit(2 * score - 1)."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=n)
    return (rng.random(n) < expit(2 * scores - 1)).astype(int), scores


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e3])
def test_sigmoid_equals_scikit_learn(scale: float) -> None:
    actual, scores = draw(200)
    ours = calibrate(fit_calibration(actual, scores * scale), scores * scale)
    column = (scores * scale)[:, None]
    theirs = CalibratedClassifierCV(FrozenEstimator(Passed()), method="sigmoid", cv=2, ensemble=False).fit(
        column, actual
    )
    np.testing.assert_allclose(ours, theirs.predict_proba(column)[:, 1], atol=2e-4)


def test_sigmoid_finds_the_true_curve() -> None:
    (curve,) = fit_calibration(*draw(50_000)).curves
    assert isinstance(curve, Sigmoid)
    assert (curve.slope, curve.intercept) == pytest.approx((2, -1), abs=0.06)


def test_isotonic_equals_scikit_learn_and_rises() -> None:
    actual, scores = draw(300)
    fitted = fit_calibration(actual, scores, method="isotonic")
    new = np.linspace(-5, 5, 101)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores, actual).predict(new)
    (curve,) = fitted.curves
    low, high = curve.probabilities[0], curve.probabilities[-1]
    assert 0 < low < 0.05 < 0.95 < high < 1  # what the rows of the lowest and the highest step support
    np.testing.assert_allclose(calibrate(fitted, new), theirs.clip(low, high), atol=1e-12)
    assert (np.diff(calibrate(fitted, new)) >= 0).all()


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_helps_on_new_images(method: str) -> None:
    fitted = fit_calibration(*draw(1000, seed=1), method=method)
    actual, scores = draw(5000, seed=2)
    raw = expit(scores)
    found = calibrate(fitted, scores)
    assert brier_score(actual, found) < brier_score(actual, raw) - 0.01
    assert expected_calibration_error(actual, found) < 0.05 < expected_calibration_error(actual, raw)


def test_sigmoid_keeps_the_ranking() -> None:
    actual, scores = draw(200)
    assert roc_auc(actual, calibrate(fit_calibration(actual, scores), scores)) == roc_auc(actual, scores)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_several_classes_sum_to_one(method: str) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 150)
    scores = rng.normal(size=(150, 3)) + np.eye(3)[targets]
    fitted = fit_calibration(targets, scores, method=method)
    found = calibrate(fitted, scores)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert fitted.positives == tuple(np.bincount(targets))
    np.testing.assert_array_equal(calibrate(fitted, scores[:1]), found[:1])


def test_rows_that_no_curve_wants_are_shared_out() -> None:
    nothing = Calibration("isotonic", (Steps((0.0,), (0.0,)),) * 4, 9, (1, 2, 3, 3))
    assert calibrate(nothing, np.zeros((1, 4))).tolist() == [[0.25] * 4]


def test_one_column_is_a_two_class_task() -> None:
    actual, scores = draw(50)
    assert fit_calibration(actual, scores[:, None]) == fit_calibration(actual, scores)
    fitted = fit_calibration(actual, scores)
    np.testing.assert_array_equal(calibrate(fitted, scores[:, None]), calibrate(fitted, scores))


def test_groups_across_inner_folds_are_refused() -> None:
    actual, scores = draw(6)
    actual[:2] = 0, 1
    folds = [1, 1, 2, 2, 3, 3]
    fit_calibration(actual, scores, folds=folds, groups=["a", "a", "b", "c", "d", "d"])
    with pytest.raises(LeakError, match=r"must not share groups, split by group\. Shared: a"):
        fit_calibration(actual, scores, folds=folds, groups=["a", "a", "b", "a", "d", "d"])


@given(st.integers(0, 1000))
def test_brier_score_equals_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    actual, probabilities = rng.integers(0, 2, 30), rng.random(30)
    assert brier_score(actual, probabilities) == pytest.approx(brier_score_loss(actual, probabilities))
    both = np.column_stack([1 - probabilities, probabilities])
    assert brier_score(actual, both) == pytest.approx(2 * brier_score(actual, probabilities))


@pytest.mark.parametrize("spacing", ["uniform", "quantile"])
def test_reliability_equals_scikit_learn(spacing: str) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.random(200)
    actual = rng.random(200) < probabilities
    found = reliability(actual, probabilities, bins=8, spacing=spacing)
    observed, predicted = calibration_curve(actual, probabilities, n_bins=8, strategy=spacing)
    np.testing.assert_allclose(found.observed, observed)
    np.testing.assert_allclose(found.predicted, predicted)
    assert found.counts.sum() == 200
    low, high = proportion_confint((found.observed * found.counts).round(), found.counts, method="wilson")
    np.testing.assert_allclose([found.low, found.high], [low, high])


def test_calibration_error_by_hand() -> None:
    assert expected_calibration_error([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], bins=1) == pytest.approx(0.05)
    assert expected_calibration_error([0, 1], [0.0, 1.0]) == 0
    assert expected_calibration_error([1, 0], [0.0, 1.0]) == 1
    assert np.isnan(expected_calibration_error([], []))
    assert np.isnan(brier_score([], []))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="'method' parameter must be one of"):
        fit_calibration([0, 1], [0, 1], method="beta")
    with pytest.raises(InputError, match="Curve 0 has one kind only"):
        fit_calibration([1, 1], [0, 1])
    with pytest.raises(InputError, match=r"must have 1 columns, as fitted\. Got 3"):
        calibrate(fit_calibration([0, 1], [0, 1]), np.zeros((2, 3)))
    with pytest.raises(InputError, match="calibrate decision values first"):
        brier_score([0, 1], [-0.3, 1.2])
    with pytest.raises(ConfigError, match="'bins' parameter must be at least 1"):
        reliability([0, 1], [0.1, 0.2], bins=0)
    with pytest.raises(ConfigError, match="'spacing' one of"):
        reliability([0, 1], [0.1, 0.2], spacing="log")
