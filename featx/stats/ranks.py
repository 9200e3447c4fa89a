"""Mean ranks of several arms: Friedman's test, Nemenyi's critical difference and the critical-difference diagram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import f, rankdata, studentized_range

from featx.errors import InputError

from .intervals import TestResult
from .validation import FloatArray, check_fraction

__all__ = ["Ranking", "cliques", "critical_difference", "friedman", "nemenyi", "rank_arms"]

_OVERLAP = "blocks are folds of one data set and share images: mean ranks are valid, p values are not"


@dataclass(frozen=True)
class Ranking:
    """Mean ranks of arms over blocks.

    Attributes
    ----------
    arms : tuple of str
        Names in the order of the columns.
    ranks : tuple of float
        Mean rank of each arm, 1 is best; tied arms have the mean of their ranks.
    finding : TestResult
        Friedman's test of the hypothesis that all arms perform the same.
    level : float
        Confidence level of the critical difference.
    critical_difference : float
        Mean ranks that differ by less are not significantly different (Nemenyi); NaN if blocks share images.
    p : tuple of tuple of float
        Nemenyi's p value of each pair, corrected for all pairs; NaN if blocks share images.
    cliques : tuple of tuple of str
        The bars of the critical-difference diagram: maximal sets of arms that are not significantly different, each
        in the order of the ranks; empty if blocks share images.
    """

    arms: tuple[str, ...]
    ranks: tuple[float, ...]
    finding: TestResult
    level: float
    critical_difference: float
    p: tuple[tuple[float, ...], ...]
    cliques: tuple[tuple[str, ...], ...]


def rank_arms(
    table: ArrayLike, names: Sequence[str], *, level: float = 0.95, overlapping: bool = False
) -> Ranking:
    """Rank arms over blocks (Demšar 2006, Journal of Machine Learning Research 7, 1-30).

    `table` has shape (blocks, arms) and contains a metric, higher is better, of each arm on each block: a data set, a
    task or a fold. There must be at least two blocks and three arms.

    Examples
    --------
    >>> table = [[0.9, 0.8, 0.7], [0.8, 0.85, 0.6], [0.9, 0.8, 0.75], [0.7, 0.6, 0.5]]
    >>> ranking = rank_arms(table, ["a", "b", "c"])
    >>> ranking.ranks, round(ranking.critical_difference, 3), ranking.cliques
    ((1.25, 1.75, 3.0), 1.657, (('a', 'b'), ('b', 'c')))
    """
    values = _table(table, len(names))
    finding = friedman(values, overlapping=overlapping)
    ranks = _ranks(values).mean(axis=0)
    gap = critical_difference(len(names), len(values), level)
    p = nemenyi(values)
    if overlapping:
        gap, p = float("nan"), np.full_like(p, np.nan)
    return Ranking(
        tuple(names),
        tuple(ranks.tolist()),
        finding,
        level,
        gap,
        tuple(tuple(row) for row in p.tolist()),
        () if overlapping else cliques(ranks, names, gap),
    )


def friedman(table: ArrayLike, *, overlapping: bool = False) -> TestResult:
    """Friedman's test of equal mean ranks, in the F form of Iman & Davenport 1980.

    The chi-squared form is conservative with few blocks (Demšar 2006). The F statistic is
    (blocks - 1) chi² / (blocks (arms - 1) - chi²), with a correction for ties.

    Parameters
    ----------
    table : array_like of shape (blocks, arms)
        A metric, higher is better; at least two blocks and three arms.
    overlapping : bool
        Whether blocks share images. If so, p is NaN, and a warning says why.

    Returns
    -------
    TestResult
        F with arms - 1 and (arms - 1)(blocks - 1) degrees of freedom. With independent blocks, p is 1 if all arms are
        tied in every block, and 0 if all blocks have the same strict order.

    Raises
    ------
    InputError
        If the table has another shape, or a value is not finite.

    Examples
    --------
    >>> finding = friedman([[0.9, 0.8, 0.7], [0.8, 0.85, 0.6], [0.9, 0.8, 0.75], [0.7, 0.6, 0.5]])
    >>> round(finding.statistic, 3), round(finding.p, 4)
    (13.0, 0.0066)
    """
    values = _table(table)
    ranks = _ranks(values)
    blocks, arms = values.shape
    spread = float(((ranks - (arms + 1) / 2) ** 2).sum()) / (blocks * (arms - 1))
    between = blocks * float(((ranks.mean(axis=0) - (arms + 1) / 2) ** 2).sum())
    squared = between / spread if spread else 0.0
    rest = blocks * (arms - 1) - squared
    statistic = (blocks - 1) * squared / rest if rest > 1e-9 else float("inf")
    freedom = (arms - 1, (arms - 1) * (blocks - 1))
    return TestResult(
        test="Friedman (F form, Iman & Davenport 1980)",
        p=float("nan") if overlapping else float(f.sf(statistic, *freedom)),
        statistic=statistic,
        statistic_name="F",
        freedom=freedom,
        folds=blocks,
        warnings=(_OVERLAP,) if overlapping else (),
    )


def nemenyi(table: ArrayLike) -> FloatArray:
    """Nemenyi's test of every pair of arms from their mean ranks, corrected for all pairs.

    Parameters
    ----------
    table : array_like of shape (blocks, arms)
        A metric, higher is better; at least two blocks and three arms.

    Returns
    -------
    ndarray of float64, shape (arms, arms)
        p values from the studentized range distribution; symmetric, with 1 on the diagonal.

    Raises
    ------
    InputError
        If the table has another shape, or a value is not finite.

    Examples
    --------
    >>> nemenyi([[0.9, 0.8, 0.7], [0.8, 0.85, 0.6], [0.9, 0.8, 0.75], [0.7, 0.6, 0.5]]).round(3)
    array([[1.   , 0.759, 0.036],
           [0.759, 1.   , 0.181],
           [0.036, 0.181, 1.   ]])
    """
    values = _table(table)
    blocks, arms = values.shape
    mean = _ranks(values).mean(axis=0)
    gaps = np.abs(mean[:, None] - mean[None, :]) / np.sqrt(arms * (arms + 1) / (12 * blocks))
    p = np.asarray(studentized_range.sf(gaps, arms, np.inf), dtype=np.float64)
    np.fill_diagonal(p, 1.0)
    return p


def critical_difference(arms: int, blocks: int, level: float = 0.95) -> float:
    """Smallest difference of mean ranks that is significant in Nemenyi's test.

    Examples
    --------
    >>> round(critical_difference(4, 14), 2)
    1.25
    """
    quantile = float(studentized_range.ppf(check_fraction("level", level), arms, np.inf))
    return quantile * float(np.sqrt(arms * (arms + 1) / (12 * blocks)))


def cliques(ranks: ArrayLike, names: Sequence[str], gap: float) -> tuple[tuple[str, ...], ...]:
    """Find the maximal sets of at least two arms whose mean ranks differ by less than `gap`, in the order of the ranks.

    Examples
    --------
    >>> cliques([1.0, 1.5, 2.2, 4.0], ["a", "b", "c", "d"], 1.0)
    (('a', 'b'), ('b', 'c'))
    """
    values = np.asarray(ranks, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    found: list[tuple[str, ...]] = []
    reached = 0
    for start in range(len(order)):
        end = int(np.searchsorted(values[order], values[order[start]] + gap, side="left"))
        if end - start > 1 and end > reached:
            found.append(tuple(names[index] for index in order[start:end]))
        reached = max(reached, end)
    return tuple(found)


def _ranks(values: FloatArray) -> FloatArray:
    """Rank the arms within each block; the highest value has rank 1."""
    return np.asarray(rankdata(-values, axis=1), dtype=np.float64)


def _table(table: ArrayLike, arms: int | None = None) -> FloatArray:
    """Check the shape and the values of a table of blocks and arms."""
    values = np.asarray(table, dtype=np.float64)
    fits = values.ndim == 2 and len(values) > 1 and values.shape[1] > 2 and arms in (None, values.shape[-1])
    if not fits or not np.isfinite(values).all():
        raise InputError(
            "the ranking needs finite values for at least two blocks and three arms, and one name per arm. Got "
            f"shape {values.shape} instead."
        )
    return values
