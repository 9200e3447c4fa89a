"""Factorial analysis of variance: which of a study's choices matter, and how much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import prod

import numpy as np

from featx.errors import ConfigError, InputError, listing

from .validation import FloatArray

__all__ = ["Anova", "Effect", "factorial_anova"]

_OVERLAP = "rows are folds that share images: they allow effect sizes, but no p value"


@dataclass(frozen=True)
class Effect:
    """What one factor, or several together, explain.

    Attributes
    ----------
    factors : tuple of str
        One for a main effect, several for an interaction.
    sum_of_squares : float
        Explained beyond all effects that do not hold this one (type II).
    freedom : float
        Degrees of freedom.
    statistic, p : float
        F and its p value; p is NaN where rows share images.
    eta_squared : float
        Share of the total sum of squares; what the successor of the paper reports.
    partial_eta_squared : float
        Share of what the other effects leave.
    omega_squared : float
        `eta_squared` without its upward bias; below 0 where the effect explains less than chance would.
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
        """Factors joined by a multiplication sign."""
        return " × ".join(self.factors)


@dataclass(frozen=True)
class Anova:
    """An analysis of variance.

    Attributes
    ----------
    test : str
        What was done.
    effects : tuple of Effect
        Main effects first, then interactions; the block last.
    residual_sum_of_squares, residual_freedom : float
        What no effect explains.
    n : int
        Rows.
    r_squared : float
        Share of the total sum of squares that the model explains.
    correction : str
        What p values are corrected for; ``"none"``.
    warnings : tuple of str
        Assumptions that fail, one sentence each.
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
    """Analyse how a study's factors explain a metric, as Valle et al. 2020 (Neurocomputing 383, 303-313).

    An ordinary least-squares fit with sum-to-zero contrasts and type II sums of squares (statsmodels), so
    that unbalanced studies, where an arm is missing, have an answer too. Every p value, of independent rows, is
    for its effect alone.

    Parameters
    ----------
    rows : sequence of mapping
        One mapping for each run, such as ``{"backbone": "vgg16", "weights": "imagenet", "auc": 0.81}``.
    value : str
        Key of the metric.
    factors : sequence of str
        Keys of the factors; their values are taken as names, numbers too.
    interactions : int
        Largest number of factors that may act together: 1 for main effects alone.
    block : str, optional
        Key of what repeats the design, such as the fold: its own effect is taken out, and it interacts with
        nothing.
    overlapping : bool
        Whether rows share images, as folds of one data set do. F then follows no F distribution, p would be far too
        small, and is NaN.

    Returns
    -------
    Anova
        Effects with F, p and effect sizes.

    Raises
    ------
    InputError
        If a row lacks a key or its metric is not finite, a factor has one level only, there are not more rows
        than parameters, or factors change together, so that their effects cannot be told apart.
    ConfigError
        If there are no factors, a factor is named twice, or `interactions` is below 1.

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
            f"an analysis needs factors, each once and none of them the block, and 'interactions' of at least 1. "
            f"Got {names} and {interactions!r} instead."
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
        notes += ("the design is not balanced: effects overlap, and their shares do not add up",)
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
    """Take the metric and the levels of each factor out of the rows."""
    for index, row in enumerate(rows):
        lacking = [name for name in (value, *names) if name not in row]
        if lacking:
            raise InputError(f"row {index} of the analysis lacks {listing(lacking)}.")
    values = np.array([row[value] for row in rows], dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(
            f"the metric must be finite; leave undefined runs out. "
            f"Row {int(np.argmin(np.isfinite(values)))} is not."
        )
    levels = [[str(row[name]) for row in rows] for name in names]
    lonely = [name for name, level in zip(names, levels, strict=True) if len(set(level)) < 2]
    if lonely:
        raise InputError(f"a factor needs at least two levels. These have one: {listing(lonely)}.")
    return values, levels


def _check_size(levels: list[list[str]], terms: list[tuple[int, ...]], rows: int) -> None:
    """Refuse a model with as many parameters as rows, or with cells that no row fills."""
    parameters = 1 + sum(prod(len(set(levels[place])) - 1 for place in term) for term in terms)
    if parameters >= rows:
        raise InputError(
            f"the analysis has {parameters} parameters for {rows} rows: lower 'interactions', or add folds."
        )
    for term in terms:
        filled = len(set(zip(*(levels[place] for place in term), strict=True)))
        if filled < prod(len(set(levels[place])) for place in term):
            raise InputError(
                "some combinations of the factors have no row: lower 'interactions', or run those arms."
            )
    if np.linalg.matrix_rank(_design(levels, terms)) < parameters:
        raise InputError(
            "the effects cannot be told apart, since factors change together: lower 'interactions', or leave a factor "
            "out."
        )


def _design(levels: list[list[str]], terms: list[tuple[int, ...]]) -> FloatArray:
    """Code every effect as columns of 0 and 1, without the first level of each factor."""
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
    """Say whether every combination of all factors has the same number of rows."""
    counts = Counter(zip(*levels, strict=True))
    return len(counts) == prod(len(set(level)) for level in levels) and len(set(counts.values())) == 1


def _fit(
    values: FloatArray, levels: list[list[str]], terms: list[tuple[int, ...]]
) -> tuple[Mapping[str, Mapping[str, float]], float]:
    """Fit by least squares and analyse; factors are called f0, f1, … so that any key will do."""
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
    """Take one effect out of the table, with its sizes."""
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
