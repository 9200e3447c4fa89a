"""Intervals against the published ones of pROC, by hand, and by their coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata, t

from featx.errors import ConfigError, InputError
from featx.stats.auc import roc_auc
from featx.stats.intervals import (
    auc_warnings,
    bounds,
    corrected_variance,
    delong_covariance,
    delong_interval,
    few_warning,
    summarise_folds,
)
from featx.stats.validation import group_codes, midranks, normal_quantile, t_quantile


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
    """Normal scores whose true area is known: about 95 % of the intervals contain it."""
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
    with pytest.raises(InputError, match="groups must contain one name for each of the 2 rows"):
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
    assert "is undefined in 1 of 3 folds" in summary.warnings[0]
    assert "only 2 folds" in summary.warnings[1]
    named = summarise_folds([0.8, np.nan, 0.9], ratio=0.5, names=("a", "b", "c"))
    assert named.warnings[0] == (
        "the metric is undefined in 1 of 3 folds (b); mean and standard deviation are over the other 2"
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
def test_logit_bounds_contain_the_mean_and_stay_between_zero_and_one(
    values: list[float], ratio: float
) -> None:
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
        f"all 6 folds have the value {value:.3g}: no variation, so there is no interval",
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
    with pytest.raises(InputError, match="values must be between 0 and 1"):
        summarise_folds([0.8, 1.2], ratio=1.0, scale="logit")
    with pytest.raises(ConfigError, match="'scale' parameter must be 'plain' or 'logit'"):
        summarise_folds([0.8, 0.9], ratio=1.0, scale="probit")
    with pytest.raises(ConfigError, match="'ratio' parameter must be positive"):
        summarise_folds([0.8, 0.9], ratio=0.0)


MARKERS = ("wfns", "ndka", "s100b")


def by_definition(actual: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Covariance of the areas, as DeLong et al. define it: a kernel for every pair."""
    pairs = scores[actual == 1][:, None, :] - scores[actual == 0][None, :, :]
    kernel = (pairs > 0) + 0.5 * (pairs == 0)
    positives, negatives = kernel.shape[:2]
    first = np.atleast_2d(np.cov(kernel.mean(axis=1), rowvar=False))
    second = np.atleast_2d(np.cov(kernel.mean(axis=0), rowvar=False))
    return first / positives + second / negatives


def test_covariance_equals_proc_on_its_example(asah: dict[str, np.ndarray]) -> None:
    scores = np.column_stack([asah[name] for name in MARKERS])
    found = delong_covariance(asah["poor"], scores)
    np.testing.assert_allclose(
        found.auc, [0.823678861788618, 0.611957994579946, 0.731368563685637], rtol=1e-12
    )
    np.testing.assert_allclose(
        np.diagonal(found.covariance),
        [0.00146991470882363, 0.0031908105493913, 0.00266868245717244],
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        found.covariance[[0, 1, 2], [1, 2, 0]],
        [-0.000532967856762438, -0.000756164938056579, 0.00119615567376754],
        rtol=1e-12,
    )
    assert (found.n, found.positives, found.groups) == (113, 41, 113)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_definition_with_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    actual = rng.permutation([0] * 17 + [1] * 9)
    scores = rng.integers(0, 6, (26, 3)) + actual[:, None] * rng.integers(0, 2, 3)
    found = delong_covariance(actual, scores)
    np.testing.assert_allclose(found.covariance, by_definition(actual, scores), atol=1e-14)
    np.testing.assert_allclose(found.auc, [roc_auc(actual, column) for column in scores.T])


def test_groups_of_one_row_change_nothing(asah: dict[str, np.ndarray]) -> None:
    scores = np.column_stack([asah["s100b"], asah["ndka"]])
    alone = delong_covariance(asah["poor"], scores)
    grouped = delong_covariance(asah["poor"], scores, groups=[f"patient {row}" for row in range(113)])
    np.testing.assert_allclose(grouped.covariance, alone.covariance, rtol=1e-12)


def test_copies_within_a_group_do_not_reduce_the_variance(asah: dict[str, np.ndarray]) -> None:
    scores = np.column_stack([asah["s100b"], asah["ndka"]])
    alone = delong_covariance(asah["poor"], scores)
    twice = np.tile(np.arange(113), 2)
    grouped = delong_covariance(asah["poor"][twice], scores[twice], groups=twice)
    np.testing.assert_allclose(grouped.covariance, alone.covariance, rtol=1e-12)
    naive = delong_covariance(asah["poor"][twice], scores[twice])
    assert (np.diagonal(naive.covariance) < 0.6 * np.diagonal(alone.covariance)).all()


def test_grouped_variance_is_that_of_repeated_studies() -> None:
    """Groups of four rows of both classes that share a random effect, 800 studies of 40 groups."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 4)
    areas, grouped, naive = [], [], []
    for _ in range(800):
        actual = rng.integers(0, 2, 160)
        scores = (
            rng.normal(size=160) + 0.8 * actual + np.repeat(rng.normal(size=40) * 2, 4) * (actual * 2 - 1)
        )
        found = delong_covariance(actual, scores, groups)
        areas.append(found.auc[0])
        grouped.append(found.covariance[0, 0])
        naive.append(delong_covariance(actual, scores).covariance[0, 0])
    true = np.var(areas, ddof=1)
    assert np.mean(grouped) == pytest.approx(true, rel=0.15)
    assert np.mean(naive) < 0.7 * true


@pytest.mark.parametrize(
    ("actual", "scores", "warning"),
    [
        ([1, 1, 1], [1, 2, 3], "only one class"),
        ([0, 1, 1], [1, 2, 3], "fewer than two independent rows"),
        ([0, 0, 1, 1], [1, 2, 3, 4], "estimated variance is 0"),
        ([0, 0, 1, 1], [1, 3, 2, 4], "only 2 rows in the smaller class"),
    ],
)
def test_failed_assumptions_are_named(actual: list[int], scores: list[int], warning: str) -> None:
    assert any(warning in note for note in auc_warnings(delong_covariance(actual, scores)))


def test_groups_are_counted_where_rows_depend_on_each_other() -> None:
    rng = np.random.default_rng(0)
    actual, groups = np.repeat([0, 1], [200, 50]), np.repeat(np.arange(25), 10)
    found = delong_covariance(actual, rng.normal(size=250), groups)
    assert (found.positives, found.fewest) == (50, 5)
    assert auc_warnings(found) == ("only 5 groups in the smaller class: the normal approximation is poor",)
    assert auc_warnings(delong_covariance(actual, rng.normal(size=250))) == ()


def test_fewer_than_ten_rows_of_a_class_give_a_warning() -> None:
    assert few_warning(9, grouped=False) == "only 9 rows in the smaller class"
    assert few_warning(10, grouped=False) == ""


def test_one_group_has_no_variance() -> None:
    found = delong_covariance([0, 1, 0, 1], [1, 3, 2, 4], groups=["a", "a", "a", "a"])
    assert np.isnan(found.covariance).all()
    assert found.groups == 1


def test_no_assumption_fails_on_the_example(asah: dict[str, np.ndarray]) -> None:
    assert auc_warnings(delong_covariance(asah["poor"], asah["s100b"])) == ()


def test_bounds_are_of_the_t_or_the_normal_distribution() -> None:
    assert bounds(0.1, 0.02, level=0.9) == pytest.approx(norm.interval(0.9, 0.1, 0.02))
    assert bounds(0.1, 0.02, 4, 0.9) == pytest.approx(t.interval(0.9, 4, 0.1, 0.02))


def test_there_is_no_interval_without_an_error() -> None:
    assert np.isnan([bounds(0.1, 0.0), bounds(0.1, float("nan"))]).all()
    with pytest.raises(ConfigError, match="'level' parameter"):
        bounds(0.1, 0.1, level=95)


@pytest.mark.parametrize("kinds", [1, 3, 10**6])
def test_ranks_codes_and_quantiles_are_those_of_scipy_and_numpy(kinds: int) -> None:
    rng = np.random.default_rng(0)
    values, shares = rng.integers(0, kinds, 400) / 7, rng.random(50)
    assert midranks(values).tolist() == rankdata(values).tolist()
    codes = rng.integers(0, kinds, 400)
    assert group_codes(codes, 400).tolist() == np.unique(codes, return_inverse=True)[1].tolist()
    for share, freedom in zip(shares.tolist(), (1 + 99 * shares).tolist(), strict=True):
        assert normal_quantile(share) == norm.ppf(share)
        assert t_quantile(share, freedom) == t.ppf(share, freedom)
