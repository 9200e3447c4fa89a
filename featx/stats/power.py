"""Power: the smallest difference of areas under the ROC curve that a data set could show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import nct, norm, t

from featx.errors import ConfigError, InputError

from .arms import FoldScores, align, count_images, fold_aucs, size_ratio
from .delong import auc_warnings, delong_covariance
from .inputs import check_share
from .intervals import corrected_variance

__all__ = [
    "Power",
    "detectable_by_delong",
    "detectable_over_folds",
    "hanley_mcneil_variance",
    "planned_difference",
    "smallest_difference",
]


@dataclass(frozen=True)
class Power:
    """The smallest difference that a test would probably show.

    Attributes
    ----------
    difference : float
        A true difference of this size is found with the chance `power`; NaN where there is no variance to go
        by.
    power, level : float
        That chance, and the confidence of the two-sided test.
    error : float
        Standard error of the difference.
    method : str
        How the error was found.
    n, positives : int or None
        Images, and those of the positive class; None where the method does not see them.
    warnings : tuple of str
        Assumptions that fail, one sentence each.
    """

    difference: float
    power: float
    level: float
    error: float
    method: str
    n: int | None = None
    positives: int | None = None
    warnings: tuple[str, ...] = ()


def smallest_difference(
    a: Sequence[FoldScores], b: Sequence[FoldScores], *, power: float = 0.8, level: float = 0.95
) -> Power:
    """Find the smallest difference that two arms' protocol could show, given how their scores vary.

    Parameters
    ----------
    a, b : sequence of FoldScores
        The folds of each arm.
    power, level : float
        Wanted chance of finding the difference, and confidence of the test.

    Returns
    -------
    Power
        For one two-class test set from DeLong's variance, else from the corrected resampled t test.

    Raises
    ------
    InputError
        If the arms were not scored on the same folds and images.
    ConfigError
        If `power` or `level` is not between 0 and 1.

    Examples
    --------
    >>> from featx.stats.arms import fold_scores
    >>> a = fold_scores("holdout", list("uvwxyz"), [0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6])
    >>> b = fold_scores("holdout", list("uvwxyz"), [0, 0, 0, 1, 1, 1], [3, 1, 5, 2, 4, 6])
    >>> round(smallest_difference([a], [b]).difference, 2)
    0.44
    """
    first, second = align([a, b])
    if len(first) == 1 and first[0].binary:
        groups = first[0].groups if len(set(first[0].groups)) < len(first[0].groups) else None
        return detectable_by_delong(
            first[0].actual, first[0].scores, second[0].scores, groups=groups, power=power, level=level
        )
    differences = fold_aucs(first) - fold_aucs(second)
    known, ratio = differences[~np.isnan(differences)], size_ratio(first)
    n, positives = count_images(first)
    if len(known) < 2 or ratio is None:
        why = "fewer than two folds with all classes, or training parts of unknown size"
        return Power(float("nan"), power, level, float("nan"), "none", n, positives, (why,))
    found = detectable_over_folds(known, ratio, power=power, level=level)
    return Power(found.difference, power, level, found.error, found.method, n, positives, found.warnings)


def detectable_by_delong(
    actual: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    power: float = 0.8,
    level: float = 0.95,
) -> Power:
    """Smallest difference of two areas that DeLong's test could show on these rows.

    Parameters
    ----------
    actual, scores_a, scores_b, groups
        As `featx.stats.row_tests.delong_test` takes them.
    power, level : float
        Wanted chance of finding the difference, and confidence of the test.

    Returns
    -------
    Power
        (z of the level + z of the power) times DeLong's standard error of the observed difference.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.
    ConfigError
        If `power` or `level` is not between 0 and 1.

    Examples
    --------
    >>> round(detectable_by_delong([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [3, 1, 5, 2, 4, 6]).difference, 2)
    0.44
    """
    columns = np.column_stack(
        [np.asarray(scores_a, dtype=np.float64), np.asarray(scores_b, dtype=np.float64)]
    )
    found = delong_covariance(actual, columns, groups)
    variance = float(np.array([1, -1]) @ found.covariance @ np.array([1, -1]))
    error = variance**0.5 if variance > 0 else float("nan")
    method = "DeLong" if groups is None else "DeLong by groups (Obuchowski)"
    return Power(
        _reach(power, level) * error,
        power,
        level,
        error,
        method,
        found.n,
        found.positives,
        auc_warnings(found),
    )


def detectable_over_folds(
    differences: ArrayLike, ratio: float, *, power: float = 0.8, level: float = 0.95
) -> Power:
    """Smallest mean difference that the corrected resampled t test could show over these folds.

    Parameters
    ----------
    differences : array_like of shape (folds,)
        One finite difference a fold, at least two; their spread counts, not their mean.
    ratio : float
        Size of the test part over that of the training part.
    power, level : float
        Wanted chance of finding the difference, and confidence of the test.

    Returns
    -------
    Power
        From the noncentral t distribution with one degree of freedom less than there are folds.

    Raises
    ------
    InputError
        If there are fewer than two differences or one is not finite.
    ConfigError
        If `ratio` is not positive, or `power` or `level` not between 0 and 1.

    Examples
    --------
    >>> round(detectable_over_folds([0.02, 0.03, 0.01, 0.04, 0.02], 0.25).difference, 4)
    0.0288
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise InputError(f"differences must be at least two finite numbers. Got {values.tolist()} instead.")
    wanted, freedom = check_share("power", power), len(values) - 1
    error = corrected_variance(values, ratio) ** 0.5
    edge = float(t.ppf((1 + check_share("level", level)) / 2, freedom))

    if wanted <= (1 - level) / 2:
        raise ConfigError(
            f"The 'power' parameter must exceed (1 - level) / 2. Got {power!r} for level {level!r} instead."
        )

    def missing(shift: float) -> float:
        return wanted - float(nct.sf(edge, freedom, shift))

    far = edge
    while missing(far) > 0:
        far *= 1.5
    shift = float(brentq(missing, 0.0, far))
    return Power(shift * error, power, level, error, "corrected resampled t")


def planned_difference(
    positives: int,
    negatives: int,
    *,
    auc: float = 0.8,
    correlation: float = 0.5,
    power: float = 0.8,
    level: float = 0.95,
) -> Power:
    """Smallest difference that a test set of given size could show, before any arm has run.

    Parameters
    ----------
    positives, negatives : int
        Images of each class in the test set.
    auc : float
        Area that is expected of both arms.
    correlation : float
        Expected correlation of the two areas' estimates, -1 to 1; arms that score the same images with
        related networks reach 0.5 and more.
    power, level : float
        Wanted chance of finding the difference, and confidence of the test.

    Returns
    -------
    Power
        From Hanley & McNeil's variance of each area (Hanley & McNeil 1983, Radiology 148, 839-843).

    Raises
    ------
    ConfigError
        If a class has no image, or a share is out of range.

    Examples
    --------
    >>> round(planned_difference(100, 300, auc=0.85).difference, 3)
    0.071
    """
    if not -1 <= correlation < 1:
        raise ConfigError(
            f"The 'correlation' parameter must be at least -1 and below 1. Got {correlation!r} instead."
        )
    error = (2 * hanley_mcneil_variance(auc, positives, negatives) * (1 - correlation)) ** 0.5
    return Power(
        _reach(power, level) * error,
        power,
        level,
        error,
        "Hanley & McNeil 1983",
        positives + negatives,
        positives,
    )


def hanley_mcneil_variance(auc: float, positives: int, negatives: int) -> float:
    """Variance of an area under the ROC curve from its size and the classes' alone.

    Hanley & McNeil 1982 (Radiology 143, 29-36), for scores that are about exponential; for planning, where
    there are no scores for DeLong's variance yet.

    Parameters
    ----------
    auc : float
        The area, between 0 and 1.
    positives, negatives : int
        Images of each class, at least one.

    Returns
    -------
    float
        The variance.

    Raises
    ------
    ConfigError
        If the area is not between 0 and 1 or a class has no image.

    Examples
    --------
    >>> round(hanley_mcneil_variance(0.893, 51, 58) ** 0.5, 4)
    0.0325
    """
    check_share("auc", auc)
    if positives < 1 or negatives < 1:
        raise ConfigError(f"each class needs an image. Got {positives} positives and {negatives} negatives.")
    two_positives, two_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (
        auc * (1 - auc)
        + (positives - 1) * (two_positives - auc**2)
        + (negatives - 1) * (two_negatives - auc**2)
    )
    return spread / (positives * negatives)


def _reach(power: float, level: float) -> float:
    """Standard errors that a difference must measure to be found."""
    return float(norm.ppf((1 + check_share("level", level)) / 2) + norm.ppf(check_share("power", power)))
