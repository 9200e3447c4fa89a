"""The weighted bootstrap against copied resamples, scikit-learn, DeLong and its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from featx.errors import ConfigError
from featx.stats.auc import average_precision, macro_auc, roc_auc
from featx.stats.intervals import delong_interval
from featx.stats.resampling import bootstrap_interval, strata_of_groups, weighted_auc, weighted_macro_auc


@given(st.integers(0, 1000))
def test_weights_equal_copies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    actual = np.array([0, 1, *rng.integers(0, 2, 10)])
    scores, weights = rng.integers(0, 5, 12), rng.integers(0, 3, (4, 12))
    weights[:, :2] += 1
    copied = [roc_auc(np.repeat(actual, row), np.repeat(scores, row)) for row in weights]
    np.testing.assert_allclose(weighted_auc(actual, scores, weights), copied, atol=1e-12)
    weighed = roc_auc_score(actual, scores, sample_weight=weights[0])
    assert weighted_auc(actual, scores, weights[:1])[0] == pytest.approx(weighed)


def test_weighted_macro_average_equals_copies() -> None:
    rng = np.random.default_rng(0)
    targets, scores = np.tile([0, 1, 2], 5), rng.normal(size=(15, 3))
    weights = rng.integers(1, 4, (3, 15))
    copied = [macro_auc(np.repeat(targets, row), np.repeat(scores, row, axis=0)) for row in weights]
    np.testing.assert_allclose(weighted_macro_auc(targets, scores, weights), copied)


def test_weight_on_one_class_is_undefined() -> None:
    assert np.isnan(weighted_auc([0, 1], [1, 2], [[0, 3]]))
    assert np.isnan(weighted_macro_auc([0, 1, 2], np.eye(3), [[1, 1, 0]]))


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_agrees_with_delong_on_the_example(asah: dict[str, np.ndarray], method: str) -> None:
    exact = delong_interval(asah["poor"], asah["s100b"])
    found = bootstrap_interval(asah["poor"], asah["s100b"], method=method)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=0.02)
    assert found.method == f"image bootstrap, {method}"
    assert (found.n, found.positives, found.warnings) == (113, 41, ())


def test_same_seed_same_interval(asah: dict[str, np.ndarray]) -> None:
    draw = [bootstrap_interval(asah["poor"], asah["ndka"], resamples=200, seed=seed) for seed in (0, 0, 1)]
    assert draw[0] == draw[1] != draw[2]


def test_metric_of_one_s_own_equals_the_fast_path(asah: dict[str, np.ndarray]) -> None:
    fast = bootstrap_interval(asah["poor"], asah["ndka"], resamples=200)
    slow = bootstrap_interval(asah["poor"], asah["ndka"], resamples=200, metric=roc_auc)
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high))
    other = bootstrap_interval(asah["poor"], asah["ndka"], resamples=200, metric=average_precision)
    assert other.low < other.estimate < other.high


def test_several_classes_are_bootstrapped() -> None:
    rng = np.random.default_rng(0)
    targets = np.tile([0, 1, 2], 20)
    scores = rng.normal(size=(60, 3)) + np.eye(3)[targets]
    found = bootstrap_interval(targets, scores, resamples=300)
    assert found.estimate == macro_auc(targets, scores)
    assert found.low < found.estimate < found.high
    assert (found.n, found.positives) == (60, None)
    one = bootstrap_interval(targets == 1, scores[:, 1:2], resamples=50)
    assert one == bootstrap_interval(targets == 1, scores[:, 1], resamples=50)


def test_groups_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    actual = np.repeat(rng.integers(0, 2, 30), 6)
    scores = np.repeat(rng.normal(size=30), 6) + actual + rng.normal(size=180) * 0.1
    alone = bootstrap_interval(actual, scores, resamples=500)
    grouped = bootstrap_interval(actual, scores, groups=np.repeat(np.arange(30), 6), resamples=500)
    assert grouped.high - grouped.low > 1.7 * (alone.high - alone.low)
    assert grouped.method == "group bootstrap, bca"


def test_coverage_by_groups() -> None:
    """Groups of three images with a shared effect, true area known from a large sample."""
    rng = np.random.default_rng(0)

    def study(groups: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        actual = np.repeat(np.arange(groups) % 2, 3)
        return (
            actual,
            np.repeat(rng.normal(size=groups), 3) + actual + rng.normal(size=3 * groups) * 0.5,
            np.repeat(np.arange(groups), 3),
        )

    true = roc_auc(*study(100_000)[:2])
    inside = 0
    for _ in range(150):
        actual, scores, groups = study(50)
        found = bootstrap_interval(actual, scores, groups=groups, resamples=300)
        inside += found.low <= true <= found.high
    assert 0.9 <= inside / 150 < 1


def test_strata_keep_the_classes() -> None:
    targets = np.array([0, 0, 1, 1, 0, 1, 0, 1])
    codes = np.array([0, 1, 2, 3, 4, 4, 5, 5])
    assert [part.tolist() for part in strata_of_groups(targets, codes)] == [[4, 5], [0, 1], [2, 3]]
    lonely = strata_of_groups(np.array([0, 0, 1]), np.array([0, 1, 2]))
    assert [part.tolist() for part in lonely] == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("actual", "scores"), [([0, 0, 0], [1, 2, 3]), ([0, 0, 1, 1], [1, 2, 3, 4]), ([0, 1], [1, 2]), ([1], [1])]
)
def test_no_bounds_where_nothing_varies(actual: list[int], scores: list[int]) -> None:
    found = bootstrap_interval(actual, scores, resamples=50)
    assert np.isnan([found.low, found.high]).all()
    assert found.warnings


def test_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match="'method' parameter must be 'bca' or 'percentile'"):
        bootstrap_interval([0, 1], [0, 1], method="studentized")
