"""DeLong's covariance against pROC's published results, the definition, and simulation."""

from __future__ import annotations

import numpy as np
import pytest

from featx.stats.auc import roc_auc
from featx.stats.delong import auc_warnings, delong_covariance

MARKERS = ("wfns", "ndka", "s100b")


def by_definition(actual: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Covariance of the areas, as DeLong et al. define it: a kernel for every pair."""
    pairs = scores[actual == 1][:, None, :] - scores[actual == 0][None, :, :]
    kernel = (pairs > 0) + 0.5 * (pairs == 0)
    positives, negatives = kernel.shape[:2]
    first = np.atleast_2d(np.cov(kernel.mean(axis=1), rowvar=False))
    second = np.atleast_2d(np.cov(kernel.mean(axis=0), rowvar=False))
    return first / positives + second / negatives


def test_equals_proc_on_its_example(asah: dict[str, np.ndarray]) -> None:
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


def test_copies_within_a_group_add_no_certainty(asah: dict[str, np.ndarray]) -> None:
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
        ([1, 1, 1], [1, 2, 3], "one class only"),
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


def test_one_group_has_no_variance() -> None:
    found = delong_covariance([0, 1, 0, 1], [1, 3, 2, 4], groups=["a", "a", "a", "a"])
    assert np.isnan(found.covariance).all()
    assert found.groups == 1


def test_no_assumption_fails_on_the_example(asah: dict[str, np.ndarray]) -> None:
    assert auc_warnings(delong_covariance(asah["poor"], asah["s100b"])) == ()
