"""Several models on one test set: the mean of their AUCs, and its difference to an estimate on other patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from featx.errors import InputError
from featx.stats.arms import FoldScores, fold_aucs
from featx.stats.intervals import (
    FoldSummary,
    auc_components,
    delong_covariance,
    few_warning,
    logit_bounds,
)
from featx.stats.operating import Estimate
from featx.stats.validation import check_fraction, group_codes

__all__ = ["independent_difference", "summarise_models"]


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
