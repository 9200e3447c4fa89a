"""Slope, intercept and observed to expected against statsmodels, and how often intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit

from featx.errors import InputError
from featx.stats.calibration import calibrate, calibration_warnings, fit_calibration, reliability
from featx.stats.recalibration import fit_recalibration, smooth_curve


def draw(count: int, seed: int = 0, slope: float = 0.6, shift: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and outcomes that follow another line on the logit scale."""
    rng = np.random.default_rng(seed)
    line = rng.normal(-1, 1.2, size=count)
    return rng.uniform(size=count) < expit(shift + slope * line), expit(line)


@pytest.mark.parametrize("grouped", [False, True])
def test_slope_and_intercept_equal_statsmodels(grouped: bool) -> None:
    actual, chances = draw(400)
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


def test_what_does_not_exist_is_missing_and_said() -> None:
    one = fit_recalibration([0, 0], [0.2, 0.3])
    assert np.isnan(one.observed_expected.value)
    assert "one class" in one.warnings[0]
    apart = fit_recalibration([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.7])
    assert np.isnan(apart.slope.value)
    assert np.isfinite(apart.intercept.value)
    assert "separate" in apart.warnings[0]
    certain = fit_recalibration([0, 1, 1], [0.0, 0.5, 1.0])
    assert np.isnan([certain.slope.value, certain.intercept.value]).all()
    assert certain.observed_expected.value == pytest.approx(2 / 1.5)
    with pytest.raises(InputError, match="within 0 and 1"):
        fit_recalibration([0, 1], [0.2, 1.3])


def test_the_smooth_curve_shows_what_is_off_and_skips_what_has_no_neighbours() -> None:
    actual, chances = draw(3000, shift=0.0, slope=0.5)
    where, observed = smooth_curve(actual, chances)
    inner = (where > 0.1) & (where < 0.7)
    assert np.abs(observed - expit(0.5 * logit(where)))[inner].max() < 0.08
    assert len(smooth_curve([0, 1] * 20, [0.5] * 40)[0]) == 0
    steps = smooth_curve([0, 1, 0, 1, 1, 1] * 20, [0.1, 0.1, 0.5, 0.5, 0.9, 0.9] * 20)
    assert np.isfinite(steps).all()


def test_isotonic_steps_say_what_their_rows_support() -> None:
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


def test_isotonic_on_few_rows_is_warned_about() -> None:
    actual, chances = draw(300)
    (line,) = calibration_warnings(fit_calibration(actual, chances, method="isotonic"))
    assert f"on {min(actual.sum(), 300 - actual.sum())} rows of the smaller class" in line
    assert calibration_warnings(fit_calibration(actual, chances)) == ()
