"""Tests of the difference of two arms over folds whose training parts overlap.

Each takes the differences of a metric, arm a minus arm b on the same folds. Where all differences are zero
the arms cannot be told apart and p is 1; where they are equal but not zero there is no variance to compare
with and p is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import f, t

from featx.errors import InputError

from .findings import TestResult, bounds
from .inputs import FloatArray
from .intervals import corrected_variance

__all__ = ["combined_f", "corrected_t", "dietterich_t"]

_FEW = 5
_NO_VARIANCE = "the differences do not vary: no test is possible"


def dietterich_t(differences: ArrayLike) -> TestResult:
    """5x2cv paired t test.

    Dietterich 1998 (Neural Computation 10, 1895-1923): the first difference over the root of the mean of the
    repeats' variances, t distributed with as many degrees of freedom as there are repeats. It uses one of ten
    differences in its numerator; `combined_f` uses all and is the better test.

    Parameters
    ----------
    differences : array_like of shape (repeats, 2)
        Differences of the two directions of each repeat of a two-fold split; five repeats are what the test
        was made for.

    Returns
    -------
    Finding
        The `estimate` is the mean difference.

    Raises
    ------
    InputError
        If the shape is another or a difference is not finite.

    Examples
    --------
    >>> finding = dietterich_t([[0.02, 0.03], [0.01, 0.02], [0.03, 0.02], [0.02, 0.04], [0.01, 0.03]])
    >>> round(finding.statistic, 3), round(finding.p, 3)
    (1.907, 0.115)
    """
    pairs = _repeats(differences)
    spread = float(pairs.var(axis=1, ddof=1).mean())
    statistic, notes = _over(float(pairs[0, 0]), spread**0.5, pairs)
    return TestResult(
        test="5x2cv paired t (Dietterich 1998)",
        p=float(2 * t.sf(abs(statistic), len(pairs))),
        statistic=statistic,
        statistic_name="t",
        freedom=(len(pairs),),
        estimate=float(pairs.mean()),
        correction="variance within repeats",
        folds=pairs.size,
        warnings=notes + _few_repeats(pairs),
    )


def combined_f(differences: ArrayLike) -> TestResult:
    """Combined 5x2cv F test.

    Alpaydin 1999 (Neural Computation 11, 1885-1892): the sum of all squared differences over twice the sum of
    the repeats' variances, F distributed with 10 and 5 degrees of freedom for five repeats (twice the
    repeats, and the repeats).

    Parameters
    ----------
    differences : array_like of shape (repeats, 2)
        Differences of the two directions of each repeat of a two-fold split; five repeats are what the test
        was made for.

    Returns
    -------
    Finding
        The `estimate` is the mean difference; the test has no interval of its own.

    Raises
    ------
    InputError
        If the shape is another or a difference is not finite.

    Examples
    --------
    >>> finding = combined_f([[0.02, 0.03], [0.01, 0.02], [0.03, 0.02], [0.02, 0.04], [0.01, 0.03]])
    >>> round(finding.statistic, 3), round(finding.p, 3)
    (5.545, 0.036)
    """
    pairs = _repeats(differences)
    top, spread = float((pairs**2).sum()), float(2 * pairs.var(axis=1, ddof=1).sum())
    statistic, notes = _over(top, spread, pairs)
    return TestResult(
        test="combined 5x2cv F (Alpaydin 1999)",
        p=float(f.sf(statistic, 2 * len(pairs), len(pairs))),
        statistic=statistic,
        statistic_name="F",
        freedom=(2 * len(pairs), len(pairs)),
        estimate=float(pairs.mean()),
        correction="variance within repeats",
        folds=pairs.size,
        warnings=notes + _few_repeats(pairs),
    )


def corrected_t(differences: ArrayLike, ratio: float, level: float = 0.95) -> TestResult:
    """Corrected resampled t test.

    Nadeau & Bengio 2003 (Machine Learning 52, 239-281), for (repeated) k-fold as in Bouckaert & Frank 2004:
    the mean difference over the root of `featx.stats.intervals.corrected_variance`, t distributed with one
    degree of freedom less than there are folds.

    Parameters
    ----------
    differences : array_like of shape (folds,)
        One finite difference a fold, at least two.
    ratio : float
        Size of the test part over that of the training part: 1 for 5x2, 1 / (K - 1) for K folds.
    level : float
        Confidence of the interval.

    Returns
    -------
    Finding
        With the interval of the mean difference; none where the differences do not vary.

    Raises
    ------
    InputError
        If there are fewer than two differences or one is not finite.
    ConfigError
        If `ratio` is not positive, or `level` not between 0 and 1.

    Examples
    --------
    >>> finding = corrected_t([0.02, 0.03, 0.01, 0.04, 0.02], ratio=0.25)
    >>> round(finding.statistic, 3), round(finding.p, 3), round(finding.low, 3), round(finding.high, 3)
    (3.138, 0.035, 0.003, 0.045)
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise InputError(f"differences must be at least two finite numbers. Got {values.tolist()} instead.")
    error = corrected_variance(values, ratio) ** 0.5
    mean, freedom = float(values.mean()), len(values) - 1
    statistic, notes = _over(mean, error, values)
    low, high = bounds(mean, error, freedom, level) if error > _rounding(mean) else (float("nan"),) * 2
    if len(values) < _FEW:
        notes += (f"only {len(values)} folds: the test can hardly show anything",)
    return TestResult(
        test="corrected resampled t (Nadeau & Bengio 2003)",
        p=float(2 * t.sf(abs(statistic), freedom)),
        statistic=statistic,
        statistic_name="t",
        freedom=(freedom,),
        estimate=mean,
        low=low,
        high=high,
        level=level,
        interval="none" if np.isnan(low) else "corrected resampled t",
        error=error,
        error_freedom=freedom,
        correction=f"variance x (1/{len(values)} + {ratio:.3g}) for overlapping training parts",
        folds=len(values),
        warnings=notes,
    )


def _repeats(differences: ArrayLike) -> FloatArray:
    """Check the differences of repeated two-fold splits."""
    pairs = np.asarray(differences, dtype=np.float64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or not np.isfinite(pairs).all():
        raise InputError(
            f"differences must be finite and of shape (repeats, 2). Got shape {pairs.shape} with "
            f"{int((~np.isfinite(pairs)).sum())} values that are not finite instead."
        )
    return pairs


def _over(top: float, bottom: float, differences: FloatArray) -> tuple[float, tuple[str, ...]]:
    """Divide, with the rule of this module for differences that do not vary."""
    if not differences.any():
        return 0.0, ("both arms score the same on every fold",)
    if not bottom > _rounding(top):
        return float("nan"), (_NO_VARIANCE,)
    return top / bottom, ()


def _rounding(value: float) -> float:
    """Bound what rounding makes of a spread that is 0."""
    return float(np.finfo(np.float64).eps) * abs(value)


def _few_repeats(pairs: FloatArray) -> tuple[str, ...]:
    """Warn of fewer repeats than the 5x2 tests were made for."""
    if len(pairs) >= _FEW:
        return ()
    return (f"only {len(pairs)} of the five repeats that the 5x2cv tests were made for",)
