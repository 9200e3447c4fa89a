"""Means of models and differences of estimates: several models on one test set, other patients, or the same rows twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from featx.errors import InputError
from featx.stats.arms import FoldScores, fold_aucs
from featx.stats.intervals import (
    FoldSummary,
    auc_components,
    delong_covariance,
    few_warning,
    logit_bounds,
    summarise_folds,
)
from featx.stats.operating import Estimate
from featx.stats.validation import check_fraction, group_codes

__all__ = [
    "independent_difference",
    "paired_difference",
    "summarise_draws",
    "summarise_models",
    "summarise_repeats",
]


def summarise_models(folds: Sequence[FoldScores], *, level: float = 0.95) -> FoldSummary:
    """Summarise the AUCs of several models that scored the same images, such as the models of all folds.

    The mean of the models' AUCs is a sum over the images, as the AUC of one model is. Its variance is therefore that of
    DeLong, DeLong & Clarke-Pearson 1988 with each image's components averaged over the models (and over the classes of a
    macro average); components of one group are summed before (Obuchowski 1997). The interval holds for these models and
    new patients: it has no part for the training sets, whose effect the standard deviation over the models shows.

    Parameters
    ----------
    folds : sequence of FoldScores
        One for each model; all of the same images.
    level : float
        Confidence level.

    Returns
    -------
    FoldSummary
        Mean and standard deviation over the models, with the interval on the logit scale. All are NaN, with a warning, if
        a class has no image.

    Raises
    ------
    InputError
        If there are no models, or they scored different images.

    Examples
    --------
    >>> from featx.stats import fold_scores
    >>> actual = [0, 0, 0, 1, 1, 1]
    >>> models = [fold_scores(name, list("abcdef"), actual, scores) for name, scores in
    ...           (("1", [1, 2, 4, 3, 5, 6]), ("2", [1, 2, 3, 4, 6, 5]))]
    >>> found = summarise_models(models)
    >>> round(found.mean, 3), round(found.low, 3), round(found.high, 3)
    (0.944, 0.475, 0.997)
    """
    _check_images(folds)
    aucs = fold_aucs(folds)
    mean, lost = float(aucs.mean()), int(np.isnan(aucs).sum())
    sd = float(aucs.std(ddof=1)) if len(aucs) > 1 else float("nan")
    z = float(norm.ppf((1 + check_fraction("level", level)) / 2))
    notes: tuple[str, ...] = ("a class has no image: the AUC is undefined",)
    low = high = float("nan")
    if not lost:
        variance, fewest = _variance(folds)
        low, high = logit_bounds(mean, z * variance**0.5) if variance > 0 else (low, high)
        few = few_warning(fewest, grouped=len(set(folds[0].groups)) < len(folds[0].ids))
        notes = (f"{few}: the normal approximation is poor",) if few else ()
        if np.isnan(low):
            notes += ("the estimated variance is 0 or undefined, so there is no interval",)
    method = "none" if np.isnan(low) else "DeLong, mean of models, logit"
    return FoldSummary(mean, sd, len(aucs) - lost, lost, low, high, level, method, notes)


def summarise_repeats(
    repeats: Sequence[Sequence[FoldScores]], *, ratio: float | None, level: float = 0.95
) -> FoldSummary:
    """Summarise the AUC of a training that was repeated in every fold, such as on several random parts of its training set.

    Repetitions in a fold share its test set and draw from one training set, so that they are not independent: their AUCs
    are averaged, and the mean counts as one value of the fold. Over several folds the interval is that of `summarise_draws`.
    In a single fold the variance is that of `summarise_models`, for new patients, plus the variance of the AUC over
    the repetitions divided by their number, for other draws from this training set.

    Parameters
    ----------
    repeats : sequence of sequence of FoldScores
        For each fold its repetitions, all with the same test images.
    ratio : float or None
        Size of the test set divided by that of the training set, for the correction of overlapping folds. Give that of
        whole training sets: parts of them overlap no more than these do.
    level : float
        Confidence level.

    Returns
    -------
    FoldSummary
        Mean, standard deviation over the folds (NaN for one fold) and interval; `n` counts folds.

    Raises
    ------
    InputError
        If there are no folds, or the repetitions of a fold scored different images.

    Examples
    --------
    >>> from featx.stats import fold_scores
    >>> actual = [0, 0, 0, 1, 1, 1]
    >>> draws = [fold_scores("1", list("abcdef"), actual, scores) for scores in ([1, 2, 4, 3, 5, 6], [1, 2, 3, 4, 6, 5])]
    >>> found = summarise_repeats([draws], ratio=None)
    >>> found.n, round(found.mean, 3)
    (1, 0.944)
    """
    if not repeats:
        raise InputError("the summary of repeated trainings needs at least one fold. Got none.")
    if len(repeats) > 1:
        for draws in repeats:
            _check_images(draws)
        names = [draws[0].name for draws in repeats]
        return summarise_draws([fold_aucs(draws) for draws in repeats], ratio=ratio, level=level, names=names)
    (draws,) = repeats
    one = summarise_models(draws, level=level)
    nothing, known = float("nan"), int(np.isfinite(one.mean))
    whole = replace(one, sd=nothing, n=known, undefined=1 - known)
    if not np.isfinite(one.low) or len(draws) == 1:
        return whole
    variance = _variance(draws)[0] + float(fold_aucs(draws).var(ddof=1)) / len(draws)
    z = float(norm.ppf((1 + level) / 2))
    low, high = logit_bounds(one.mean, z * variance**0.5)
    return replace(whole, low=low, high=high, method="DeLong and draws, logit")


def summarise_draws(
    values: Sequence[ArrayLike], *, ratio: float | None, level: float = 0.95, names: Sequence[str] = ()
) -> FoldSummary:
    """Summarise the AUCs of trainings that were repeated in every fold, with a corrected resampled t interval.

    The correction of Nadeau & Bengio 2003 estimates the covariance of two folds as test size / training size times the
    sample variance over the folds. Averaging the draws of a fold lowers the variance of its value, but not its covariance
    with other folds. The variance of the mean over n folds is therefore 1/n times the sample variance of the folds' means,
    plus the ratio times that of single draws.

    Parameters
    ----------
    values : sequence of array_like
        For each fold the AUC of each of its draws; NaN where it is undefined.
    ratio : float or None
        Size of the test set divided by that of the training set.
    level : float
        Confidence level.
    names : sequence of str
        Names of the folds, for warnings.

    Returns
    -------
    FoldSummary
        As that of the means of the folds, with this interval.

    Examples
    --------
    >>> found = summarise_draws([[0.70, 0.74], [0.78, 0.72], [0.76, 0.80]], ratio=0.5)
    >>> round(found.mean, 3), found.n, round(found.low, 3), round(found.high, 3)
    (0.75, 3, 0.578, 0.868)
    """
    draws = [np.asarray(one, dtype=np.float64) for one in values]
    means = np.array([one.mean() for one in draws])
    found = summarise_folds(means, ratio=ratio, level=level, scale="logit", names=names)
    common = min(map(len, draws))
    if ratio is None or common < 2 or np.isnan(found.low):
        return found
    known = np.isfinite(means)
    single = np.stack([one[:common] for one in draws])[known].var(axis=0, ddof=1).mean()
    error = float(means[known].var(ddof=1) / known.sum() + ratio * single) ** 0.5
    low, high = logit_bounds(found.mean, float(t.ppf((1 + level) / 2, known.sum() - 1)) * error)
    return replace(found, low=low, high=high, method="corrected resampled t of means of draws, logit")


def _check_images(folds: Sequence[FoldScores]) -> None:
    if not folds:
        raise InputError("the summary of several models needs at least one model. Got none.")
    first = folds[0]
    odd = [fold.name for fold in folds if fold.ids != first.ids or (fold.actual != first.actual).any()]
    if odd:
        raise InputError(
            f"models must score the same images. Model {odd[0]!r} scored others than {first.name!r}."
        )


def _variance(folds: Sequence[FoldScores]) -> tuple[float, int]:
    """Variance of the mean AUC over the models, and the number of groups of the rarest class."""
    first = folds[0]
    scores = np.stack([fold.scores for fold in folds], axis=1)
    codes = group_codes(first.groups, len(first.ids))
    if first.binary:
        clustered = len(set(first.groups)) < len(first.ids)
        found = delong_covariance(first.actual, scores, first.groups if clustered else None)
        return float(found.covariance.mean()), found.fewest
    shares, fewest = np.zeros(len(first.ids)), []
    for place in range(scores.shape[2]):
        labels = first.actual == place
        for part, values in zip((labels, ~labels), auc_components(labels, scores[:, :, place]), strict=True):
            shares[part] += (values - values.mean(axis=0)).mean(axis=1) / len(values) / scores.shape[2]
        fewest.append(len(np.unique(codes[labels])))
    sums = np.bincount(codes, weights=shares)
    units = len(sums)
    return float((sums**2).sum() * units / (units - 1)) if units > 1 else float("nan"), min(fewest)


def independent_difference(one: Estimate, other: Estimate) -> Estimate:
    """Estimate the difference of two estimates on different patients, with an interval from theirs.

    The interval squares and adds the distances of the bounds from the estimates (Newcombe 1998, Statistics in Medicine 17,
    873-890, for proportions; Zou & Donner 2008, Statistics in Medicine 27, 1693-1702, in general). It assumes that the two
    are independent; a positive correlation makes it too wide.

    Parameters
    ----------
    one, other : Estimate
        With their intervals.

    Returns
    -------
    Estimate
        `one` minus `other`; bounds are NaN if one of them has none.

    Examples
    --------
    >>> found = independent_difference(Estimate(0.7, 0.6, 0.8), Estimate(0.8, 0.76, 0.83))
    >>> [round(value, 3) for value in found]
    [-0.1, -0.204, 0.008]
    """
    value = one.value - other.value
    down = np.hypot(one.value - one.low, other.high - other.value)
    up = np.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, float(value - down), float(value + up))


def paired_difference(before: ArrayLike, after: ArrayLike, groups: ArrayLike | None = None) -> Estimate:
    """Estimate the difference of two proportions of the same rows, such as the sensitivity before and after a change.

    The mean of the rows' differences, with a t interval whose variance is estimated between groups (by linearisation,
    Cochran 1977, Sampling Techniques); the degrees of freedom are the number of groups minus 1. Rows of one image are of one
    group, so that an image that several models score counts as one.

    Parameters
    ----------
    before, after : array_like of shape (n,)
        True or 1 for a hit, False or 0 for none.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row. By default, rows are independent.

    Returns
    -------
    Estimate
        `after` minus `before`, 95 % interval within -1 and 1. All values are NaN if there are no rows; the bounds are NaN if
        the differences do not vary between groups.

    Raises
    ------
    InputError
        If the lengths differ.

    Examples
    --------
    >>> found = paired_difference([1, 1, 1, 0, 1, 1], [1, 0, 1, 0, 0, 1], ["a", "a", "b", "c", "d", "e"])
    >>> [round(value, 3) for value in found]
    [-0.333, -0.821, 0.154]
    """
    one, other = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if one.ndim != 1 or one.shape != other.shape:
        raise InputError(
            f"before and after must have the same length. Got shapes {one.shape} and {other.shape} instead."
        )
    if not len(one):
        return Estimate(float("nan"), float("nan"), float("nan"))
    change = other - one
    codes = np.arange(len(one)) if groups is None else group_codes(groups, len(one))
    mean, clusters = float(change.mean()), len(np.unique(codes))
    spread = float((np.bincount(codes, weights=change - mean) ** 2).sum())
    if clusters < 2 or spread < 1e-12:
        return Estimate(mean, float("nan"), float("nan"))
    error = (clusters / (clusters - 1) * spread) ** 0.5 / len(one)
    reach = float(t.ppf(0.975, clusters - 1)) * error
    return Estimate(mean, max(mean - reach, -1.0), min(mean + reach, 1.0))
