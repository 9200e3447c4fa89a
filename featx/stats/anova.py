"""Factorial analysis of variance: the effect of each factor of a study on a metric."""

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

_OVERLAP = "rows are folds that share images: effect sizes are valid, p values are not"


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
