"""Ranks against Demšar's published example and tables, scipy and scikit-posthocs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare

from featx.errors import InputError
from featx.stats.anova import cliques, critical_difference, friedman, nemenyi, rank_arms


def test_critical_values_equal_demsar_table_5() -> None:
    published = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    ours = [critical_difference(arms, 1) / np.sqrt(arms * (arms + 1) / 6) for arms in range(2, 11)]
    np.testing.assert_allclose(ours, published, atol=1.1e-3)
    tenth = [
        critical_difference(arms, 1, level=0.9) / np.sqrt(arms * (arms + 1) / 6) for arms in (2, 3, 4, 5)
    ]
    np.testing.assert_allclose(tenth, [1.645, 2.052, 2.291, 2.459], atol=1.1e-3)


def test_critical_difference_equals_demsar_example() -> None:
    """Four classifiers on fourteen data sets: 1.25 at 5 %, 1.12 at 10 %."""
    assert round(critical_difference(4, 14), 2) == 1.25
    assert round(critical_difference(4, 14, level=0.9), 2) == 1.12


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_follows_from_scipy(ties: bool) -> None:
    rng = np.random.default_rng(1)
    table = rng.integers(0, 4, (9, 5)) / 4 if ties else rng.normal(size=(9, 5))
    squared = friedmanchisquare(*table.T).statistic
    found = friedman(table)
    assert found.statistic == pytest.approx(8 * squared / (9 * 4 - squared))
    assert found.freedom == (4, 32)
    assert found.folds == 9


@pytest.mark.parametrize("seed", range(3))
def test_nemenyi_equals_scikit_posthocs(seed: int) -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    table = np.random.default_rng(seed).normal(size=(8, 4)) + np.arange(4) / 2
    expected = np.asarray(posthocs.posthoc_nemenyi_friedman(table))
    np.testing.assert_allclose(nemenyi(table), expected, atol=2e-3)


@given(st.integers(0, 1000))
def test_nemenyi_and_the_critical_difference_agree(seed: int) -> None:
    table = np.random.default_rng(seed).normal(size=(6, 4)) + np.arange(4)
    ranking = rank_arms(table, list("abcd"))
    gaps = np.abs(np.subtract.outer(ranking.ranks, ranking.ranks))
    np.testing.assert_array_equal(np.array(ranking.p) < 0.05, gaps > ranking.critical_difference)
    for clique in ranking.cliques:
        places = [list("abcd").index(name) for name in clique]
        assert gaps[np.ix_(places, places)].max() < ranking.critical_difference


def test_best_arm_has_rank_one() -> None:
    ranking = rank_arms([[0.9, 0.7, 0.8]] * 4, ["a", "b", "c"])
    assert ranking.ranks == (1.0, 3.0, 2.0)
    assert (ranking.finding.p, ranking.finding.statistic) == (0.0, np.inf)


def test_ties_everywhere_have_a_p_of_one() -> None:
    found = friedman(np.ones((4, 3)))
    assert (found.p, found.statistic) == (1.0, 0.0)


def test_cliques_are_the_largest_sets() -> None:
    assert cliques([1, 2, 3, 4], list("abcd"), 5) == (("a", "b", "c", "d"),)
    assert cliques([1, 2, 3, 4], list("abcd"), 0.5) == ()
    assert cliques([1, 2, 3, 4], list("abcd"), 1.0) == ()  # a difference of exactly the gap is significant
    assert cliques([3, 1, 2.5], list("abc"), 1.6) == (("b", "c"), ("c", "a"))


def test_overlapping_blocks_are_named() -> None:
    table = np.random.default_rng(0).normal(size=(5, 3))
    assert friedman(table).warnings == ()
    found = friedman(table, overlapping=True)
    assert "share images" in found.warnings[0]
    assert (np.isnan(found.p), found.statistic) == (True, friedman(table).statistic)


def test_overlapping_blocks_have_only_ranks() -> None:
    table = np.random.default_rng(0).normal(size=(5, 3))
    alone, shared = (rank_arms(table, list("abc"), overlapping=one) for one in (False, True))
    assert shared.ranks == alone.ranks
    assert np.isnan([shared.critical_difference, *np.ravel(shared.p)]).all()
    assert shared.cliques == ()


@pytest.mark.parametrize("table", [[[1, 2, 3]], [[1, 2], [3, 4]], [[1, 2, np.nan], [1, 2, 3]]])
def test_bad_tables_are_refused(table: list[list[float]]) -> None:
    with pytest.raises(InputError, match="at least two blocks and three arms"):
        friedman(table)
    with pytest.raises(InputError, match="and one name per arm"):
        rank_arms(np.eye(3), ["a", "b"])
