"""Power by simulation: a difference that is called detectable is found as often as promised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from featx.errors import ConfigError, InputError
from featx.stats.arms import FoldScores, fold_aucs, fold_scores
from featx.stats.compare import compare_pair
from featx.stats.power import (
    detectable,
    hanley_mcneil_variance,
    planned_difference,
)
from featx.stats.significance import corrected_t, delong_test


def detectable_by_delong(*arms, groups=None, **wanted):
    return detectable(delong_test(*arms, groups=groups), **wanted)


def detectable_over_folds(differences, ratio, **wanted):
    return detectable(corrected_t(differences, ratio), **wanted)


def smallest_difference(a, b):
    found = compare_pair(a, b)
    return detectable(found.finding, auc=found.values)


def arms(seed: int, better: float, n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two correlated normal scores of the same rows."""
    rng = np.random.default_rng(seed)
    actual, shared = np.tile([0, 1, 0], n // 3), rng.normal(size=n)
    a, b = (shared + rng.normal(size=n) + actual * shift for shift in (better, 1.0))
    return actual, a, b


def test_promised_power_is_kept_by_delong() -> None:
    found = detectable_by_delong(*arms(0, 1.0, n=3000), power=0.8)
    error = found.error * np.sqrt(10)  # a tenth of the rows
    wanted = norm.cdf(0.5) + (norm.ppf(0.975) + norm.ppf(0.8)) * error
    better = norm.ppf(wanted) * 2
    shown = np.mean([delong_test(*arms(seed, better)).p < 0.05 for seed in range(1, 401)])
    assert 0.72 < shown < 0.88
    assert found.difference == pytest.approx((norm.ppf(0.975) + norm.ppf(0.8)) * found.error)


def test_promised_power_is_kept_over_independent_folds() -> None:
    """With a correction of next to nothing, the test is a plain t test of independent differences."""
    rng = np.random.default_rng(0)
    true = detectable_over_folds(np.array([-1.0, 1.0] * 5) * np.sqrt(0.9), 1e-9, power=0.8)
    assert true.error == pytest.approx(np.sqrt(0.1), rel=1e-6)
    shown = np.mean([corrected_t(rng.normal(true.difference, 1, 10), 1e-9).p < 0.05 for _ in range(1500)])
    assert 0.77 < shown < 0.83


def test_more_power_and_fewer_images_need_larger_differences() -> None:
    small, large = planned_difference(50, 150), planned_difference(500, 1500)
    assert small.difference == pytest.approx(large.difference * np.sqrt(10), rel=0.02)
    assert planned_difference(50, 150, power=0.9).difference > small.difference
    assert planned_difference(50, 150, correlation=0.8).difference < small.difference
    over = [
        detectable_over_folds([0.01, 0.03, 0.02, 0.05], 1 / 3, power=power).difference
        for power in (0.5, 0.8, 0.95)
    ]
    assert over == sorted(over)


def test_hanley_mcneil_equals_their_example() -> None:
    """Area .893 with 51 abnormal and 58 normal: standard error .032 to .033."""
    assert 0.0315 < hanley_mcneil_variance(0.893, 51, 58) ** 0.5 < 0.0335


def fold(seed: int, name: str, images: int) -> FoldScores:
    rng = np.random.default_rng(seed)
    actual = np.tile([0, 1], images // 2)
    return fold_scores(
        name, [f"{name} {row:03}" for row in range(images)], actual, rng.normal(size=images) + actual
    )


def test_front_follows_the_protocol() -> None:
    a, b = fold(0, "holdout", 60), fold(1, "holdout", 60)
    assert smallest_difference([a], [b]) == detectable_by_delong(a.actual, a.scores, b.scores)
    groups = tuple(f"lesion {row // 2}" for row in range(60))
    grouped = smallest_difference([replace(a, groups=groups)], [replace(b, groups=groups)])
    assert grouped == detectable_by_delong(a.actual, a.scores, b.scores, groups=groups)
    first, second = ([fold(seed + place, str(place), 60) for place in range(5)] for seed in (0, 50))
    found = smallest_difference(first, second)
    expected = detectable_over_folds(fold_aucs(first) - fold_aucs(second), 0.25)
    assert found == replace(expected, n=300, positives=150)


def test_no_variance_no_answer() -> None:
    actual, a, _ = arms(0, 1.0)
    assert np.isnan(detectable_by_delong(actual, a, a).difference)
    one, other = (fold_scores("holdout", "ab", [0, 1], np.eye(2)[row]) for row in (0, 1))
    assert smallest_difference([one], [other]).warnings
    many = fold_scores("holdout", "abc", [0, 1, 2], np.eye(3))
    found = smallest_difference([many], [many])
    assert np.isnan(found.difference)
    assert "no variance" in found.warnings[0]


def test_a_difference_that_no_arms_can_have_is_not_given() -> None:
    found = detectable_over_folds([0.3, -0.2], 1.0)
    assert np.isnan(found.difference)
    assert found.error > 0
    assert "the power for the largest possible difference, 1.000, is below 80 %" in found.warnings[-1]
    assert np.isnan(planned_difference(2, 2, auc=0.9).difference)
    narrow = corrected_t([0.1, 0.2, 0.15, 0.12, 0.11], 1.0)
    assert np.isfinite(detectable(narrow, auc=(0.8, 0.7)).difference)
    assert np.isnan(detectable(narrow, auc=(0.95, 0.45), level=1 - 1e-6).difference)


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="'power' parameter must be between 0 and 1"):
        planned_difference(10, 10, power=80)
    with pytest.raises(ConfigError, match="'correlation' parameter must be at least -1"):
        planned_difference(10, 10, correlation=1.0)
    with pytest.raises(ConfigError, match="each class needs at least one image"):
        planned_difference(0, 10)
    with pytest.raises(ConfigError, match=r"must be greater than \(1 - level\) / 2"):
        detectable_over_folds([0.1, 0.2], 1.0, power=0.02)
    with pytest.raises(InputError, match="at least two finite numbers"):
        detectable_over_folds([0.1], 1.0)
