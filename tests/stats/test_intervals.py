"""Intervals against pROC's published ones, by hand, and by their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import ConfigError, InputError
from featx.stats.intervals import (
    corrected_variance,
    delong_interval,
    summarise_folds,
)


def test_equals_proc_on_its_example(asah: dict[str, np.ndarray]) -> None:
    s100b = delong_interval(asah["poor"], asah["s100b"])
    assert (round(s100b.estimate, 3), round(s100b.low, 3), round(s100b.high, 3)) == (0.731, 0.630, 0.833)
    ndka = delong_interval(asah["poor"], asah["ndka"])
    np.testing.assert_allclose(
        [ndka.low, ndka.estimate, ndka.high],
        [0.501244999271703, 0.611957994579946, 0.722670989888189],
        rtol=1e-9,
    )
    assert (ndka.n, ndka.positives, ndka.level, ndka.method, ndka.warnings) == (113, 41, 0.95, "DeLong", ())


def test_logit_interval_is_the_plain_one_on_the_logit_scale(asah: dict[str, np.ndarray]) -> None:
    plain = delong_interval(asah["poor"], asah["wfns"])
    logit = delong_interval(asah["poor"], asah["wfns"], scale="logit")
    area = plain.estimate
    step = (plain.high - area) / (area * (1 - area))
    centre = np.log(area / (1 - area))
    np.testing.assert_allclose(
        [logit.low, logit.high],
        [1 / (1 + np.exp(-centre + step)), 1 / (1 + np.exp(-centre - step))],
        rtol=1e-12,
    )
    assert logit.method == "DeLong, logit"


@pytest.mark.parametrize("scale", ["plain", "logit"])
def test_coverage(scale: str) -> None:
    """Normal scores whose true area is known: about 95 % of the intervals hold it."""
    from scipy.stats import norm

    rng = np.random.default_rng(0)
    actual = np.repeat([0, 1], [60, 40])
    true = norm.cdf(1 / np.sqrt(2))
    found = [delong_interval(actual, rng.normal(size=100) + actual, scale=scale) for _ in range(600)]
    share = np.mean([interval.low <= true <= interval.high for interval in found])
    assert 0.92 < share < 0.975


def test_bounds_stay_within_zero_and_one() -> None:
    interval = delong_interval([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6])
    assert interval.high == 1
    assert delong_interval([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], scale="logit").high < 1


@pytest.mark.parametrize("scale", ["plain", "logit"])
@pytest.mark.parametrize("scores", [[1, 2, 3, 4], [4, 3, 2, 1], [0, 0, 0, 0]])
def test_no_bounds_where_the_variance_is_zero(scale: str, scores: list[int]) -> None:
    interval = delong_interval([0, 0, 1, 1], scores, scale=scale)
    assert np.isnan([interval.low, interval.high]).all()
    assert any("variance is 0" in note for note in interval.warnings)


def test_groups_reach_the_method() -> None:
    rng = np.random.default_rng(0)
    actual, scores = rng.integers(0, 2, 40), rng.normal(size=40)
    twice = np.tile(np.arange(40), 2)
    alone = delong_interval(actual, scores)
    grouped = delong_interval(actual[twice], scores[twice], groups=twice)
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high))
    assert grouped.method == "DeLong by groups (Obuchowski)"


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="'scale' parameter must be 'plain' or 'logit'"):
        delong_interval([0, 1], [0, 1], scale="probit")
    with pytest.raises(ConfigError, match="'level' parameter must be between 0 and 1"):
        delong_interval([0, 1], [0, 1], level=95)
    with pytest.raises(InputError, match="groups must hold one name for each of 2 rows"):
        delong_interval([0, 1], [0, 1], groups=["a"])


def test_summary_of_folds_by_hand() -> None:
    values = [0.80, 0.84, 0.79, 0.83, 0.81, 0.85, 0.78, 0.82, 0.80, 0.84]
    summary = summarise_folds(values, ratio=1.0)
    sd = np.std(values, ddof=1)
    reach = 2.2621571627409915 * np.sqrt((1 / 10 + 1) * sd**2)  # t with 9 degrees of freedom
    assert summary.mean == pytest.approx(np.mean(values))
    assert summary.sd == pytest.approx(sd)
    assert (summary.low, summary.high) == pytest.approx((np.mean(values) - reach, np.mean(values) + reach))
    assert (summary.n, summary.undefined, summary.method) == (10, 0, "corrected resampled t")
    assert summary.warnings == ()


def test_corrected_interval_is_wider_than_a_plain_t_interval() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.02, 10)
    assert corrected_variance(values, 1 / 9) > values.var(ddof=1) / 10 * 2


def test_undefined_folds_are_counted_not_averaged() -> None:
    summary = summarise_folds([0.8, np.nan, 0.9], ratio=0.5)
    assert (summary.mean, summary.n, summary.undefined) == (pytest.approx(0.85), 2, 1)
    assert "does not exist in 1 of 3 folds" in summary.warnings[0]
    assert "only 2 folds" in summary.warnings[1]
    named = summarise_folds([0.8, np.nan, 0.9], ratio=0.5, names=("a", "b", "c"))
    assert named.warnings[0] == (
        "the metric does not exist in 1 of 3 folds (b); mean and standard deviation are over the other 2"
    )
    nothing = summarise_folds([np.nan, np.nan], ratio=0.5)
    assert np.isnan([nothing.mean, nothing.sd, nothing.low, nothing.high]).all()
    assert (nothing.n, nothing.undefined) == (0, 2)


def test_logit_summary_of_folds_by_hand() -> None:
    values = np.array([0.95, 1.0, 0.98, 0.99, 0.98])
    summary = summarise_folds(values, ratio=0.25, scale="logit")
    error = np.sqrt((1 / 5 + 0.25) * values.var(ddof=1)) / (0.98 * 0.02)
    step = 2.7764451051977987 * error  # t with 4 degrees of freedom
    centre = np.log(0.98 / 0.02)
    assert (summary.low, summary.high) == pytest.approx(
        (1 / (1 + np.exp(step - centre)), 1 / (1 + np.exp(-step - centre)))
    )
    assert summary.method == "corrected resampled t, logit"
    assert summarise_folds(values, ratio=0.25).high > 1


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=12), st.floats(0.05, 1.0))
def test_logit_bounds_hold_the_mean_and_stay_inside(values: list[float], ratio: float) -> None:
    summary = summarise_folds(values, ratio=ratio, scale="logit")
    if np.isnan(summary.low):
        assert np.ptp(values) < 1e-9
        assert summary.method == "none"
    else:
        assert 0 <= summary.low <= summary.mean <= summary.high <= 1
        assert summary.low < summary.high


@pytest.mark.parametrize("scale", ["plain", "logit"])
@pytest.mark.parametrize("value", [0.0, 0.9, 1.0])
def test_folds_that_do_not_vary_have_no_interval(scale: str, value: float) -> None:
    summary = summarise_folds([value] * 6, ratio=0.2, scale=scale)
    assert np.isnan([summary.low, summary.high]).all()
    assert summary.method == "none"
    assert summary.warnings == (
        f"all 6 folds have the value {value:.3g}: without variation there is no interval",
    )


def test_one_fold_has_no_spread() -> None:
    summary = summarise_folds([0.8], ratio=0.25)
    assert summary.mean == 0.8
    assert np.isnan([summary.sd, summary.low, summary.high]).all()
    assert summary.method == "none"


def test_no_interval_without_the_parts_sizes() -> None:
    summary = summarise_folds([0.8, 0.9, 0.7], ratio=None)
    assert np.isnan(summary.low)
    assert summary.sd == pytest.approx(0.1)


def test_bad_summaries_are_refused() -> None:
    with pytest.raises(InputError, match="one finite number or NaN for each fold"):
        summarise_folds([], ratio=1.0)
    with pytest.raises(InputError, match="one finite number or NaN for each fold"):
        summarise_folds([0.8, np.inf], ratio=1.0)
    with pytest.raises(InputError, match="values must lie between 0 and 1"):
        summarise_folds([0.8, 1.2], ratio=1.0, scale="logit")
    with pytest.raises(ConfigError, match="'scale' parameter must be 'plain' or 'logit'"):
        summarise_folds([0.8, 0.9], ratio=1.0, scale="probit")
    with pytest.raises(ConfigError, match="'ratio' parameter must be positive"):
        summarise_folds([0.8, 0.9], ratio=0.0)
