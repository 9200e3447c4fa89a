"""Analysis of variance of several arms: the effect of each factor on a metric, and its rank form.

The rank form is Friedman's test, with Nemenyi's critical difference and the critical-difference diagram.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import f, rankdata, studentized_range

from featx.errors import ConfigError, InputError, listing

from .intervals import TestResult
from .validation import FloatArray, check_fraction

__all__ = [
    "Anova",
    "Effect",
    "Ranking",
    "cliques",
    "critical_difference",
    "factorial_anova",
    "friedman",
    "nemenyi",
    "rank_arms",
]

_OVERLAP = "rows are folds that share images: effect sizes are valid, p values are not"
_SHARED = "blocks are folds of one data set and share images: mean ranks are valid, p values are not"


@dataclass(frozen=True)
class Effect:
    """The effect of one factor, or the interaction of several.

    Attributes
    ----------
    factors : tuple of str
        One for a main effect, several for an interaction.
    sum_of_squares : float
        Type II: explained beyond all effects that do not contain this one.
    freedom : float
        Degrees of freedom.
    statistic, p : float
        F and its p value; p is NaN if rows share images.
    eta_squared : float
        Fraction of the total sum of squares.
    partial_eta_squared : float
        Fraction of the sum of squares that the other effects do not explain.
    omega_squared : float
        `eta_squared` with a correction of its bias; negative if F is below 1.
    """

    factors: tuple[str, ...]
    sum_of_squares: float
    freedom: float
    statistic: float
    p: float
    eta_squared: float
    partial_eta_squared: float
    omega_squared: float

    @property
    def name(self) -> str:
        """Names of the factors, joined by a multiplication sign."""
        return " × ".join(self.factors)


@dataclass(frozen=True)
class Anova:
    """An analysis of variance.

    Attributes
    ----------
    test : str
        Name of the analysis.
    effects : tuple of Effect
        Main effects first, then interactions, then the block.
    residual_sum_of_squares, residual_freedom : float
        Sum of squares that no effect explains, and its degrees of freedom.
    n : int
        Number of rows.
    r_squared : float
        Fraction of the total sum of squares that the model explains.
    correction : str
        Correction of the p values, or ``"none"``.
    warnings : tuple of str
        Assumptions that do not hold, one sentence each.

    Examples
    --------
    >>> rows = [{"auc": 0.7 + 0.1 * net + 0.01 * fold, "net": net, "fold": fold} for net in (0, 1) for fold in range(4)]
    >>> found = factorial_anova(rows, "auc", ["net"])
    >>> isinstance(found, Anova), [effect.name for effect in found.effects]
    (True, ['net'])
    """

    test: str
    effects: tuple[Effect, ...]
    residual_sum_of_squares: float
    residual_freedom: float
    n: int
    r_squared: float
    correction: str = "none"
    warnings: tuple[str, ...] = ()


def factorial_anova(
    rows: Sequence[Mapping[str, object]],
    value: str,
    factors: Sequence[str],
    *,
    interactions: int = 2,
    block: str | None = None,
    overlapping: bool = True,
) -> Anova:
    """Analyse the effects of a study's factors on a metric, as in Valle et al. 2020 (Neurocomputing 383, 303-313).

    An ordinary least-squares fit with sum-to-zero contrasts and type II sums of squares (statsmodels), which also
    allow unbalanced designs. p values are not corrected for the number of effects.

    Parameters
    ----------
    rows : sequence of mapping
        One mapping for each run, such as ``{"backbone": "vgg16", "weights": "imagenet", "auc": 0.81}``.
    value : str
        Key of the metric.
    factors : sequence of str
        Keys of the factors. Their values are categories, also if they are numbers.
    interactions : int
        Highest order of the interactions: 1 for main effects only.
    block : str, optional
        Key of the block that repeats the design, such as the fold. The model has its main effect and no interaction
        with it.
    overlapping : bool
        Whether rows share images, as folds of one data set do. F then has no F distribution, and p is NaN, since it
        would be far too small.

    Returns
    -------
    Anova
        Effects with F, p and effect sizes.

    Raises
    ------
    InputError
        If a row has no value for a key, its metric is not finite, a factor has only one level, there are too few rows
        for the parameters, or factors are confounded.
    ConfigError
        If there are no factors, a factor is repeated, or `interactions` is below 1.

    Examples
    --------
    >>> rows = [
    ...     {"net": net, "start": start, "auc": auc}
    ...     for net, start, auc in [
    ...         ("small", "random", 0.70), ("small", "random", 0.72), ("small", "imagenet", 0.80),
    ...         ("small", "imagenet", 0.82), ("deep", "random", 0.71), ("deep", "random", 0.73),
    ...         ("deep", "imagenet", 0.86), ("deep", "imagenet", 0.88),
    ...     ]
    ... ]
    >>> found = factorial_anova(rows, "auc", ["net", "start"])
    >>> [(one.name, round(one.eta_squared, 2)) for one in found.effects]
    [('net', 0.07), ('start', 0.87), ('net × start', 0.03)]
    """
    names = [*factors, *([block] if block is not None else [])]
    if not factors or len(set(names)) < len(names) or interactions < 1:
        raise ConfigError(
            "an analysis of variance needs one or more different factors, other than the block, and 'interactions' of at "
            f"least 1. Got {names} and {interactions!r} instead."
        )
    values, levels = _columns(rows, value, names)
    places = range(len(factors))
    terms = [
        term for size in range(1, min(interactions, len(factors)) + 1) for term in combinations(places, size)
    ]
    terms += [(len(factors),)] if block is not None else []
    _check_size(levels, terms, len(values))
    table, r_squared = _fit(values, levels, terms)
    residual = (float(table["sum_sq"]["Residual"]), float(table["df"]["Residual"]))
    total = float(((values - values.mean()) ** 2).sum())
    effects = [_effect(table, term, names, residual, total) for term in terms]
    notes: tuple[str, ...] = (_OVERLAP,) if overlapping else ()
    if not _balanced(levels):
        notes += ("the design is not balanced: effects overlap, and their fractions do not add up to 1",)
    return Anova(
        test="factorial analysis of variance, type II",
        effects=tuple(replace(one, p=float("nan")) if overlapping else one for one in effects),
        residual_sum_of_squares=residual[0],
        residual_freedom=residual[1],
        n=len(values),
        r_squared=r_squared,
        warnings=notes,
    )


def _columns(
    rows: Sequence[Mapping[str, object]], value: str, names: Sequence[str]
) -> tuple[FloatArray, list[list[str]]]:
    """Extract the metric and the levels of each factor from the rows."""
    for index, row in enumerate(rows):
        lacking = [name for name in (value, *names) if name not in row]
        if lacking:
            raise InputError(f"row {index} of the analysis has no value for {listing(lacking)}.")
    values = np.array([row[value] for row in rows], dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(
            f"the metric must be finite. Got {values[~np.isfinite(values)][0]} in row "
            f"{int(np.argmin(np.isfinite(values)))}. Exclude the rows without a metric."
        )
    levels = [[str(row[name]) for row in rows] for name in names]
    lonely = [name for name, level in zip(names, levels, strict=True) if len(set(level)) < 2]
    if lonely:
        raise InputError(f"a factor needs at least two levels. Factors with one level: {listing(lonely)}.")
    return values, levels


def _check_size(levels: list[list[str]], terms: list[tuple[int, ...]], rows: int) -> None:
    """Refuse a model with too many parameters, empty cells, or confounded effects."""
    parameters = 1 + sum(prod(len(set(levels[place])) - 1 for place in term) for term in terms)
    if parameters >= rows:
        raise InputError(
            f"the analysis has {parameters} parameters for {rows} rows. Lower 'interactions' or add folds."
        )
    for term in terms:
        filled = len(set(zip(*(levels[place] for place in term), strict=True)))
        if filled < prod(len(set(levels[place])) for place in term):
            raise InputError(
                "some combinations of the factors have no row. Lower 'interactions' or run these arms."
            )
    if np.linalg.matrix_rank(_design(levels, terms)) < parameters:
        raise InputError(
            "the factors are confounded, so their effects cannot be separated. Lower 'interactions' or remove a factor."
        )


def _design(levels: list[list[str]], terms: list[tuple[int, ...]]) -> FloatArray:
    """Code each effect as columns of 0 and 1, without the first level of each factor."""
    coded = []
    for column in levels:
        names = np.unique(column)[1:]
        coded.append((np.array(column)[:, None] == names).astype(np.float64))
    columns = [np.ones((len(levels[0]), 1))]
    for term in terms:
        product = np.ones((len(levels[0]), 1))
        for place in term:
            product = (product[:, :, None] * coded[place][:, None, :]).reshape(len(product), -1)
        columns.append(product)
    return np.hstack(columns)


def _balanced(levels: list[list[str]]) -> bool:
    """Whether all combinations of the factors have the same number of rows."""
    counts = Counter(zip(*levels, strict=True))
    return len(counts) == prod(len(set(level)) for level in levels) and len(set(counts.values())) == 1


def _fit(
    values: FloatArray, levels: list[list[str]], terms: list[tuple[int, ...]]
) -> tuple[Mapping[str, Mapping[str, float]], float]:
    """Fit by least squares; factors are renamed to f0, f1, … so that any key is valid in the formula."""
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    frame = pd.DataFrame({"y": values} | {f"f{place}": level for place, level in enumerate(levels)})
    fitted = ols(f"y ~ {' + '.join(_term(term) for term in terms)}", frame).fit()
    return anova_lm(fitted, typ=2), float(fitted.rsquared)


def _term(places: tuple[int, ...]) -> str:
    """Name a term as statsmodels does."""
    return ":".join(f"C(f{place}, Sum)" for place in places)


def _effect(
    table: Mapping[str, Mapping[str, float]],
    places: tuple[int, ...],
    names: Sequence[str],
    residual: tuple[float, float],
    total: float,
) -> Effect:
    """Read one effect from the table and compute its effect sizes."""
    squares, freedom = (float(table[column][_term(places)]) for column in ("sum_sq", "df"))
    error = residual[0] / residual[1]
    return Effect(
        factors=tuple(names[place] for place in places),
        sum_of_squares=squares,
        freedom=freedom,
        statistic=float(table["F"][_term(places)]),
        p=float(table["PR(>F)"][_term(places)]),
        eta_squared=squares / total if total else float("nan"),
        partial_eta_squared=squares / (squares + residual[0]) if total else float("nan"),
        omega_squared=(squares - freedom * error) / (total + error) if total else float("nan"),
    )


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
        warnings=(_SHARED,) if overlapping else (),
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
