"""Decisions at a threshold: confusion counts, sensitivity, specificity, and the points at which to work.

Sensitivity here is TP / (TP + FN) and specificity TN / (TN + FP), the shares of the *actual* positives and
negatives. TP / (TP + FP) and TN / (TN + FN), which some programs print under these names, are the predictive
values. A share of nothing is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from featx.errors import InputError

from .auc import roc_curve
from .inputs import FloatArray, IntArray, binary, check_share

__all__ = [
    "RULES",
    "Confusion",
    "OperatingPoint",
    "balanced_accuracy",
    "confusion",
    "confusion_at",
    "confusion_matrix",
    "fixed_thresholds",
    "one_vs_rest",
    "sensitivity_at_specificity",
    "specificity_at_sensitivity",
    "youden_point",
]

_DECIMALS = 12  # sums of rates that are equal but for rounding are equal
_ROUNDING = 1e-12  # a rate of 19/20 meets a wanted 0.95


@dataclass(frozen=True)
class Confusion:
    """Counts of a two-class decision.

    Attributes
    ----------
    true_positive, false_negative, false_positive, true_negative : int
        Rows by actual class and decision.
    """

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int

    @property
    def n(self) -> int:
        """Rows."""
        return self.positives + self.negatives

    @property
    def positives(self) -> int:
        """Rows that are actually positive."""
        return self.true_positive + self.false_negative

    @property
    def negatives(self) -> int:
        """Rows that are actually negative."""
        return self.true_negative + self.false_positive

    @property
    def sensitivity(self) -> float:
        """Share of the actual positives that are called positive (recall, true positive rate)."""
        return _share(self.true_positive, self.positives)

    @property
    def specificity(self) -> float:
        """Share of the actual negatives that are called negative (true negative rate)."""
        return _share(self.true_negative, self.negatives)

    @property
    def positive_predictive_value(self) -> float:
        """Share of those called positive that are positive (precision); depends on the prevalence."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def negative_predictive_value(self) -> float:
        """Share of those called negative that are negative; depends on the prevalence."""
        return _share(self.true_negative, self.true_negative + self.false_negative)

    @property
    def accuracy(self) -> float:
        """Share of the rows that are called right."""
        return _share(self.true_positive + self.true_negative, self.n)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of sensitivity and specificity; 0.5 by chance whatever the prevalence."""
        return (self.sensitivity + self.specificity) / 2

    @property
    def youden(self) -> float:
        """Youden's index, sensitivity + specificity - 1 (Youden 1950, Cancer 3, 32-35)."""
        return self.sensitivity + self.specificity - 1


@dataclass(frozen=True)
class OperatingPoint:
    """One point of a ROC curve.

    Attributes
    ----------
    threshold : float
        A row counts as positive if its score is at least this; infinity calls nothing positive.
    sensitivity, specificity : float
        What this gives on the rows it was read from.
    """

    threshold: float
    sensitivity: float
    specificity: float


def confusion(actual: ArrayLike, predicted: ArrayLike) -> Confusion:
    """Count decisions.

    Parameters
    ----------
    actual, predicted : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.

    Returns
    -------
    Confusion
        The four counts.

    Raises
    ------
    InputError
        If the lengths differ or a value is neither 0 nor 1.

    Examples
    --------
    >>> confusion([1, 1, 0, 0, 0], [1, 0, 0, 0, 1])
    Confusion(true_positive=1, false_negative=1, false_positive=1, true_negative=2)
    """
    truth, called = binary(actual, predicted)
    if not np.isin(called, (0, 1)).all():
        raise InputError("predicted must hold 0 and 1 only; use confusion_at for scores.")
    decided = called == 1
    return Confusion(
        int((truth & decided).sum()),
        int((truth & ~decided).sum()),
        int((~truth & decided).sum()),
        int((~truth & ~decided).sum()),
    )


def confusion_at(actual: ArrayLike, scores: ArrayLike, threshold: float = 0.0) -> Confusion:
    """Count the decisions that a threshold makes.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Scores.
    threshold : float
        A row counts as positive if its score is at least this. 0 is where a linear SVM decides; probabilities
        want 0.5.

    Returns
    -------
    Confusion
        The four counts.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.

    Examples
    --------
    >>> confusion_at([1, 1, 0], [0.5, -0.5, -0.1]).sensitivity
    0.5
    """
    _, values = binary(actual, scores)
    return confusion(actual, values >= threshold)


def confusion_matrix(targets: ArrayLike, predicted: ArrayLike, classes: int) -> IntArray:
    """Count decisions among several classes.

    Parameters
    ----------
    targets, predicted : array_like of int, shape (n,)
        Class indices, 0 to `classes` - 1.
    classes : int
        Number of classes.

    Returns
    -------
    ndarray of int64, shape (classes, classes)
        Rows: actual class. Columns: decision.

    Raises
    ------
    InputError
        If the lengths differ or an index is out of range.

    Examples
    --------
    >>> confusion_matrix([0, 1, 2, 2], [0, 2, 2, 2], 3)
    array([[1, 0, 0],
           [0, 0, 1],
           [0, 0, 2]])
    """
    truth, called = np.asarray(targets), np.asarray(predicted)
    if truth.ndim != 1 or truth.shape != called.shape:
        raise InputError(
            f"targets and predicted must be one-dimensional and of one length. Got shapes {truth.shape} and "
            f"{called.shape} instead."
        )
    for values in (truth, called):
        outside = values[~np.isin(values, np.arange(classes))]
        if outside.size:
            raise InputError(f"class indices must be 0 to {classes - 1}. Got {outside[0]} instead.")
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (truth.astype(np.int64), called.astype(np.int64)), 1)
    return matrix


def one_vs_rest(matrix: ArrayLike, index: int) -> Confusion:
    """Reduce a confusion matrix to one class against all others.

    Parameters
    ----------
    matrix : array_like of int, shape (classes, classes)
        As `confusion_matrix` returns it.
    index : int
        The class that counts as positive.

    Returns
    -------
    Confusion
        The four counts.

    Examples
    --------
    >>> one_vs_rest([[1, 0, 0], [0, 0, 1], [0, 0, 2]], 2)
    Confusion(true_positive=2, false_negative=0, false_positive=1, true_negative=1)
    """
    counts = np.asarray(matrix)
    hit = int(counts[index, index])
    missed, wrong = int(counts[index].sum()) - hit, int(counts[:, index].sum()) - hit
    return Confusion(hit, missed, wrong, int(counts.sum()) - hit - missed - wrong)


def balanced_accuracy(matrix: ArrayLike) -> float:
    """Mean over the classes of the share that is called right.

    Parameters
    ----------
    matrix : array_like of int, shape (classes, classes)
        As `confusion_matrix` returns it.

    Returns
    -------
    float
        0 to 1; NaN if a class has no rows.

    Examples
    --------
    >>> round(balanced_accuracy([[1, 0, 0], [0, 0, 1], [0, 0, 2]]), 4)
    0.6667
    """
    counts = np.asarray(matrix)
    return float(np.mean([_share(int(row[index]), int(row.sum())) for index, row in enumerate(counts)]))


def youden_point(actual: ArrayLike, scores: ArrayLike) -> OperatingPoint:
    """Find the threshold with the largest sensitivity + specificity.

    On the rows it was picked on, this point looks better than it is: pick it on training scores and apply it
    to the test part, or read it as a description.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.

    Returns
    -------
    OperatingPoint
        Among equally good points the one with the highest sensitivity; NaN throughout with one class only.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.

    Examples
    --------
    >>> youden_point([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    OperatingPoint(threshold=0.35, sensitivity=1.0, specificity=0.5)
    """
    return _best(actual, scores, lambda sens, spec: (sens + spec, sens))


def sensitivity_at_specificity(actual: ArrayLike, scores: ArrayLike, specificity: float) -> OperatingPoint:
    """Find the highest sensitivity among the thresholds with at least a given specificity.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.
    specificity : float
        Lowest specificity allowed, between 0 and 1. No value is interpolated between two thresholds.

    Returns
    -------
    OperatingPoint
        Of those with this sensitivity, the one with the highest specificity; NaN throughout with one class
        only.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.
    ConfigError
        If `specificity` is not between 0 and 1.

    Examples
    --------
    >>> sensitivity_at_specificity([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.9)
    OperatingPoint(threshold=0.8, sensitivity=0.5, specificity=1.0)
    """
    floor = check_share("specificity", specificity) - _ROUNDING
    return _best(actual, scores, lambda sens, spec: (np.where(spec >= floor, sens, -1.0), spec))


def specificity_at_sensitivity(actual: ArrayLike, scores: ArrayLike, sensitivity: float) -> OperatingPoint:
    """Find the highest specificity among the thresholds with at least a given sensitivity.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.
    sensitivity : float
        Lowest sensitivity allowed, between 0 and 1. No value is interpolated between two thresholds.

    Returns
    -------
    OperatingPoint
        Of those with this specificity, the one with the highest sensitivity; NaN throughout with one class
        only.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.
    ConfigError
        If `sensitivity` is not between 0 and 1.

    Examples
    --------
    >>> specificity_at_sensitivity([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.9)
    OperatingPoint(threshold=0.35, sensitivity=1.0, specificity=0.5)
    """
    floor = check_share("sensitivity", sensitivity) - _ROUNDING
    return _best(actual, scores, lambda sens, spec: (np.where(sens >= floor, spec, -1.0), sens))


# Ways to fix a threshold on scores of a training part: their names, and the point of the ROC curve that they take.
RULES: Mapping[str, Callable[[ArrayLike, ArrayLike], OperatingPoint]] = {
    "0.90 sensitivity": lambda actual, scores: specificity_at_sensitivity(actual, scores, 0.9),
    "0.90 specificity": lambda actual, scores: sensitivity_at_specificity(actual, scores, 0.9),
    "Youden": youden_point,
}


def fixed_thresholds(actual: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Fix thresholds on scores, to be applied to others.

    A threshold that is read off the rows which it then decides reports a better point than it gives on new ones. Give
    the scores of a training part by models that were not trained on them, and apply the thresholds to the test part.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.

    Returns
    -------
    dict of str to float
        For each of `RULES` its threshold: a row counts as positive if its score is at least this. Infinity calls
        nothing positive; NaN with one class only.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.

    Examples
    --------
    >>> fixed_thresholds([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    {'0.90 sensitivity': 0.35, '0.90 specificity': 0.8, 'Youden': 0.35}
    """
    return {name: rule(actual, scores).threshold for name, rule in RULES.items()}


def _best(
    actual: ArrayLike,
    scores: ArrayLike,
    worth: Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]],
) -> OperatingPoint:
    """Find the point of the ROC curve with the largest worth; a second worth decides among equals."""
    curve = roc_curve(actual, scores)
    sensitivity, specificity = curve.true_positive_rate, 1 - curve.false_positive_rate
    if not np.isfinite(sensitivity + specificity).all():
        return OperatingPoint(float("nan"), float("nan"), float("nan"))
    first, second = worth(sensitivity, specificity)
    index = np.lexsort((second, first.round(_DECIMALS)))[-1]
    return OperatingPoint(
        float(curve.thresholds[index]), float(sensitivity[index]), float(specificity[index])
    )


def _share(part: int, whole: int) -> float:
    """Divide, NaN for a share of nothing."""
    return part / whole if whole else float("nan")
