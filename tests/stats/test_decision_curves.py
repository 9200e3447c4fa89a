"""Net benefit against R and by hand; intervals by groups."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.errors import ConfigError, InputError
from featx.stats import calibrate, decision_curve, fit_calibration, net_benefit

from .conftest import Reference

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)


def drawn(rows: int, seed: int = 0) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Draw calibrated probabilities, and classes by them."""
    rng = np.random.default_rng(seed)
    chances = rng.beta(1.5, 4, size=rows)
    return rng.random(rows) < chances, chances


def test_net_benefit_equals_r(reference: Reference) -> None:
    cohort = reference.cohort
    curve = decision_curve(cohort["event"], cohort["probability"], THRESHOLDS)
    for place, cut in enumerate(THRESHOLDS):
        assert curve.model[place].value == pytest.approx(reference.values[f"net benefit {cut:g}"], abs=1e-12)
        assert curve.treat_all[place].value == pytest.approx(
            reference.values[f"treat all {cut:g}"], abs=1e-12
        )
        assert curve.standardised[place].value == pytest.approx(
            reference.values[f"standardised {cut:g}"], abs=1e-12
        )
        assert net_benefit(cohort["event"], cohort["probability"], cut) == curve.model[place].value
    assert (curve.n, curve.positives) == (len(cohort["event"]), cohort["event"].sum())


def test_an_example_by_hand() -> None:
    """800 of 1,000 rows are called, among them 220 of the 250 positive ones."""
    event = np.repeat([1, 0], [250, 750])
    called = np.repeat([1.0, 0.0, 1.0, 0.0], [220, 30, 580, 170])
    curve = decision_curve(event, called, [0.1])
    assert curve.model[0].value == pytest.approx(0.22 - 0.58 / 9)
    assert curve.treat_all[0].value == pytest.approx(0.25 - 0.75 / 9)
    assert curve.gain[0].value == pytest.approx(curve.model[0].value - curve.treat_all[0].value)
    assert curve.standardised[0].value == pytest.approx(curve.model[0].value / 0.25)


def test_a_row_at_the_threshold_is_called() -> None:
    assert net_benefit([1, 0], [0.3, 0.2], 0.3) == 0.5


def test_the_best_and_the_worst_model() -> None:
    event = np.arange(40) % 4 == 0
    assert net_benefit(event, event.astype(float), 0.7) == 0.25
    assert net_benefit(event, np.ones(40), 0.25) == pytest.approx(0)
    perfect = decision_curve(event, event.astype(float), [0.2]).standardised[0]
    assert perfect.value == 1
    assert np.isnan([perfect.low, perfect.high]).all()  # no false positive


def test_intervals_of_rows_equal_those_of_a_mean() -> None:
    event, chances = drawn(300)
    worth = np.where(chances >= 0.2, np.where(event, 1, -0.25), 0.0)
    one = decision_curve(event, chances, [0.2]).model[0]
    reach = 1.959964 * worth.std(ddof=1) / np.sqrt(300)
    assert (one.low, one.high) == pytest.approx((worth.mean() - reach, worth.mean() + reach))


def test_standardised_intervals_are_those_of_resampled_rows() -> None:
    event, chances = drawn(400)
    one = decision_curve(event, chances, [0.2]).standardised[0]
    rng = np.random.default_rng(1)
    rows = rng.integers(0, 400, size=(2000, 400))
    ratios = [net_benefit(event[row], chances[row], 0.2) / event[row].mean() for row in rows[:800]]
    assert (one.high - one.low) / 2 == pytest.approx(1.96 * np.std(ratios), rel=0.1)


def test_rows_entered_twice_do_not_narrow_the_interval_of_groups() -> None:
    event, chances = drawn(100)
    once = decision_curve(event, chances, [0.3, 0.4], groups=np.arange(100))
    twice = decision_curve(
        np.tile(event, 3), np.tile(chances, 3), [0.3, 0.4], groups=np.tile(np.arange(100), 3)
    )
    for name in ("model", "treat_all", "standardised", "gain"):
        assert getattr(twice, name) == tuple(pytest.approx(one) for one in getattr(once, name))
    assert (twice.groups, twice.n) == (100, 300)
    alone = decision_curve(np.tile(event, 3), np.tile(chances, 3), [0.3])
    assert alone.model[0].high < twice.model[0].high


def test_calibrated_probabilities_gain_and_those_that_are_too_high_lose() -> None:
    event, chances = drawn(4000)
    scores = np.log(chances / (1 - chances))
    fitted = calibrate(fit_calibration(event[:2000].astype(int), scores[:2000]), scores[2000:])
    high = 1 / (1 + np.exp(-(scores[2000:] + 2)))
    good, bad = (decision_curve(event[2000:], one, [0.4]) for one in (fitted, high))
    assert good.model[0].low > 0
    assert bad.model[0].value < good.model[0].value


def test_by_default_the_thresholds_are_all_hundredths() -> None:
    curve = decision_curve(*drawn(50))
    assert curve.thresholds.round(2).tolist() == [place / 100 for place in range(1, 100)]
    assert len(curve.model) == len(curve.gain) == 99


def test_few_groups_behind_a_count_have_no_interval() -> None:
    event = np.repeat([True, False], [40, 160])
    chances = np.where(event, 0.9, 0.1)
    chances[[0, 1, 2, 3]], chances[40:46] = 0.1, 0.9  # 4 false negatives, 6 false positives
    curve = decision_curve(event, chances, [0.5])
    assert np.isfinite(curve.model[0].low)
    assert np.isfinite(curve.standardised[0].low)
    assert np.isnan(curve.gain[0].low)
    chances[4] = 0.1
    assert np.isfinite(decision_curve(event, chances, [0.5]).gain[0].low)
    pairs = decision_curve(event, chances, [0.5], groups=np.arange(200) // 2)
    assert np.isnan([pairs.model[0].low, pairs.gain[0].low]).all()
    assert np.isfinite(pairs.treat_all[0].low)


def test_nobody_called_is_worth_nothing_and_no_positives_have_no_standard() -> None:
    curve = decision_curve([0, 0, 0, 0], [0.1, 0.2, 0.3, 0.6], [0.5, 0.9])
    assert curve.model[1].value == 0
    assert np.isnan(curve.standardised[0].value)
    assert np.isnan(decision_curve([1, 0], [0.9, 0.2], [0.5], groups=["a", "a"]).treat_all[0].low)
    alike = decision_curve(np.tile([1, 0], 20), np.full(40, 0.9), [0.5], groups=np.arange(40) // 2)
    assert np.isnan([alike.model[0].low, alike.treat_all[0].low, alike.standardised[0].low]).all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"between 0 and 1\. Got 1\.5"):
        net_benefit([0, 1], [0.1, 1.5], 0.2)
    with pytest.raises(ConfigError, match="'threshold' parameter"):
        net_benefit([0, 1], [0.1, 0.5], 1)
    with pytest.raises(ConfigError, match="'thresholds' parameter"):
        decision_curve([0, 1], [0.1, 0.5], [0.2, 1])
    with pytest.raises(InputError, match="at least one row"):
        decision_curve([], [])
    assert np.isnan(net_benefit([], [], 0.2))
