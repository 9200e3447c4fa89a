"""Calibration against scikit-learn, and on scores whose probabilities are known."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
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
    IsotonicCurve,
    Sigmoid,
    brier_score,
    calibrate,
    calibration_warnings,
    fit_calibration,
    fit_recalibration,
    reliability,
    smooth_calibration_curve,
)

from .conftest import Reference


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


def test_rows_with_probability_zero_for_all_classes_get_equal_probabilities() -> None:
    nothing = Calibration("isotonic", (IsotonicCurve((0.0,), (0.0,)),) * 4, 9, (1, 2, 3, 3))
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
    with pytest.raises(LeakError, match=r"must not share groups\. Shared: a\. Split by group"):
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


def test_bad_input_is_refused() -> None:
    with pytest.raises(ConfigError, match="'method' parameter must be one of"):
        fit_calibration([0, 1], [0, 1], method="beta")
    with pytest.raises(InputError, match="Curve 0 has only one class"):
        fit_calibration([1, 1], [0, 1])
    with pytest.raises(InputError, match=r"must have 1 columns, as in the fit\. Got 3"):
        calibrate(fit_calibration([0, 1], [0, 1]), np.zeros((2, 3)))
    with pytest.raises(InputError, match="Calibrate decision values first"):
        brier_score([0, 1], [-0.3, 1.2])
    with pytest.raises(ConfigError, match="'bins' parameter must be at least 1"):
        reliability([0, 1], [0.1, 0.2], bins=0)
    with pytest.raises(ConfigError, match="'spacing' one of"):
        reliability([0, 1], [0.1, 0.2], spacing="log")


def draw_logistic(
    count: int, seed: int = 0, slope: float = 0.6, shift: float = 0.4
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and outcomes that follow another line on the logit scale."""
    rng = np.random.default_rng(seed)
    line = rng.normal(-1, 1.2, size=count)
    return rng.uniform(size=count) < expit(shift + slope * line), expit(line)


@pytest.mark.parametrize("grouped", [False, True])
def test_slope_and_intercept_equal_statsmodels(grouped: bool) -> None:
    actual, chances = draw_logistic(400)
    groups = np.random.default_rng(1).integers(0, 90, size=400) if grouped else None
    found = fit_recalibration(actual, chances, groups=groups)
    line = logit(chances)
    options = {"cov_type": "cluster", "cov_kwds": {"groups": groups}, "use_t": True} if grouped else {}
    binomial = sm.families.Binomial()
    both = sm.GLM(actual, sm.add_constant(line), family=binomial).fit(**options)
    alone = sm.GLM(actual, np.ones((400, 1)), family=binomial, offset=line).fit(**options)
    assert found.slope.value == pytest.approx(both.params[1], abs=1e-8)
    assert found.intercept.value == pytest.approx(alone.params[0], abs=1e-8)
    for ours, theirs, terms in ((found.slope, both, 2), (found.intercept, alone, 1)):
        # statsmodels corrects a clustered variance for the number of coefficients too.
        width = (theirs.conf_int()[-1][1] - theirs.conf_int()[-1][0]) / 2
        width /= ((400 - 1) / (400 - terms)) ** 0.5 if grouped else 1
        assert ours.high - ours.value == pytest.approx(width, rel=1e-6)
    assert found.observed_expected.value == pytest.approx(actual.sum() / chances.sum())


def test_intervals_hold_the_truth_where_images_are_tested_five_times() -> None:
    rng = np.random.default_rng(2)
    trials, held, bars = 150, np.zeros(3), []
    images = np.tile(np.arange(150), 5)
    for _ in range(trials):
        truth = expit(rng.normal(-0.8, 1.1, size=150))
        actual = (rng.uniform(size=150) < truth)[images]
        chances = expit(logit(truth[images]) + rng.normal(scale=0.02, size=len(images)))
        found = fit_recalibration(actual, chances, groups=images)
        wanted = zip((1.0, 0.0, 1.0), (found.slope, found.intercept, found.observed_expected), strict=True)
        held += [one.low <= value <= one.high for value, one in wanted]
        diagram = reliability(actual, chances, images=images)
        plain = reliability(actual, chances)
        places = np.searchsorted(np.linspace(0, 1, 11)[1:-1], chances, side="left")
        means = np.array([truth[images][places == place].mean() for place in np.unique(places)])
        bars += [((one.low <= means) & (means <= one.high)).mean() for one in (diagram, plain)]
    assert (held / trials > 0.88).all()  # 0.95 to 0.96 in 1,500 trials
    by_image, by_row = np.mean(bars[::2]), np.mean(bars[1::2])
    assert 0.93 <= by_image <= 0.99
    assert by_row < 0.8


def test_undefined_values_are_nan_with_a_warning() -> None:
    one = fit_recalibration([0, 0], [0.2, 0.3])
    assert np.isnan(one.observed_expected.value)
    assert "only one class" in one.warnings[0]
    apart = fit_recalibration([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.7])
    assert np.isnan(apart.slope.value)
    assert np.isfinite(apart.intercept.value)
    assert "separate" in apart.warnings[0]
    certain = fit_recalibration([0, 1, 1], [0.0, 0.5, 1.0])
    assert np.isnan([certain.slope.value, certain.intercept.value]).all()
    assert certain.observed_expected.value == pytest.approx(2 / 1.5)
    with pytest.raises(InputError, match=r"between 0 and 1\. Got 1\.3"):
        fit_recalibration([0, 1], [0.2, 1.3])


def test_the_smooth_curve_shows_miscalibration_and_omits_undefined_points() -> None:
    actual, chances = draw_logistic(3000, shift=0.0, slope=0.5)
    where, observed = smooth_calibration_curve(actual, chances)
    inner = (where > 0.1) & (where < 0.7)
    assert np.abs(observed - expit(0.5 * logit(where)))[inner].max() < 0.08
    assert len(smooth_calibration_curve([0, 1] * 20, [0.5] * 40)[0]) == 0
    steps = smooth_calibration_curve([0, 1, 0, 1, 1, 1] * 20, [0.1, 0.1, 0.5, 0.5, 0.9, 0.9] * 20)
    assert np.isfinite(steps).all()


def test_isotonic_steps_are_supported_by_their_rows() -> None:
    rng = np.random.default_rng(3)
    said, truth = [], []
    for _ in range(200):
        scores = rng.normal(-1.5, 1.0, size=120)
        actual = rng.uniform(size=120) < expit(2 * scores)
        if actual.sum() < 3:
            continue
        fitted = fit_calibration(actual, scores, method="isotonic")
        (curve,) = fitted.curves
        assert list(curve.probabilities) == sorted(curve.probabilities)
        lowest = scores <= curve.scores[1] if len(curve.scores) > 1 else scores < 0
        said.append(calibrate(fitted, scores[lowest]).mean())
        truth.append(expit(2 * scores[lowest]).mean())
        assert 0 < calibrate(fitted, scores).min() <= calibrate(fitted, scores).max() < 1
    assert abs(np.mean(said) - np.mean(truth)) < 0.6 * np.mean(truth)  # 0 is off by all of it


def test_outer_isotonic_steps_follow_laplaces_rule() -> None:
    (curve,) = fit_calibration([0, 0, 0, 1, 1, 1, 1], range(7), method="isotonic").curves
    assert (curve.probabilities[0], curve.probabilities[-1]) == pytest.approx((1 / 5, 5 / 6))


def test_isotonic_on_few_rows_is_warned_about() -> None:
    actual, chances = draw_logistic(300)
    (line,) = calibration_warnings(fit_calibration(actual, chances, method="isotonic"))
    assert f"on {min(actual.sum(), 300 - actual.sum())} rows of the smaller class" in line
    assert calibration_warnings(fit_calibration(actual, chances)) == ()


def test_slope_intercept_and_brier_score_equal_r(reference: Reference) -> None:
    """The slope and Brier score are those of rms' val.prob, errors and intercept those of R's glm."""
    event, probability, values = (
        reference.cohort["event"],
        reference.cohort["probability"],
        reference.values,
    )
    found = fit_recalibration(event, probability)
    for one, name in ((found.slope, "slope"), (found.intercept, "intercept")):
        error = 1.959964 * values[f"{name} error"]
        wanted = values["val.prob slope" if name == "slope" else name]
        assert list(one) == pytest.approx([wanted, wanted - error, wanted + error], rel=1e-5)
    assert brier_score(event, probability) == pytest.approx(values["val.prob Brier"], abs=1e-12)
    assert roc_auc(event, probability) == pytest.approx(values["val.prob C"], abs=1e-12)
