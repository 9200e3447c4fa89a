"""Operating points: confusion counts, sensitivity, specificity, predictive values, and thresholds.

Sensitivity is TP / (TP + FN) and specificity TN / (TN + FP), fractions of the *actual* positives and negatives.
TP / (TP + FP) and TN / (TN + FN), which some programs call sensitivity and specificity, are the predictive values. A
fraction with denominator 0 is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri, stdtrit

from featx.errors import InputError
from featx.stats.auc import roc_curve
from featx.stats.validation import FloatArray, IntArray, binary, check_fraction, count_codes, group_codes

__all__ = [
    "THRESHOLD_RULES",
    "Confusion",
    "Estimate",
    "OperatingPoint",
    "balanced_accuracy",
    "confusion",
    "confusion_at",
    "confusion_matrix",
    "effective_rows",
    "fixed_thresholds",
    "predictive_values",
    "proportion",
    "sensitivity_at_specificity",
    "specificity_at_sensitivity",
    "wilson",
    "youden_point",
]


_DECIMALS = 12  # sums of rates that differ only by rounding count as equal
_ROUNDING = 1e-12  # a rate of 19/20 counts as at least 0.95


@dataclass(frozen=True)
class Confusion:
    """Confusion counts of a two-class task.

    Attributes
    ----------
    true_positive, false_negative, false_positive, true_negative : int
        Number of rows by predicted and actual class.

    Examples
    --------
    >>> found = Confusion(true_positive=8, false_negative=2, false_positive=5, true_negative=15)
    >>> found.sensitivity, found.specificity
    (0.8, 0.75)
    """

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.positives + self.negatives

    @property
    def positives(self) -> int:
        """Number of actual positives."""
        return self.true_positive + self.false_negative

    @property
    def negatives(self) -> int:
        """Number of actual negatives."""
        return self.true_negative + self.false_positive

    @property
    def sensitivity(self) -> float:
        """Fraction of the actual positives that are predicted positive (recall, true positive rate)."""
        return _share(self.true_positive, self.positives)

    @property
    def specificity(self) -> float:
        """Fraction of the actual negatives that are predicted negative (true negative rate)."""
        return _share(self.true_negative, self.negatives)

    @property
    def positive_predictive_value(self) -> float:
        """Fraction of the predicted positives that are positive (precision); depends on the prevalence."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def negative_predictive_value(self) -> float:
        """Fraction of the predicted negatives that are negative; depends on the prevalence."""
        return _share(self.true_negative, self.true_negative + self.false_negative)

    @property
    def accuracy(self) -> float:
        """Fraction of the rows with a correct prediction."""
        return _share(self.true_positive + self.true_negative, self.n)

    @property
    def balanced_accuracy(self) -> float:
        """Mean of sensitivity and specificity; 0.5 for random predictions at any prevalence."""
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
        A row counts as positive if its score is at least this; with infinity, no row is positive.
    sensitivity, specificity : float
        Their values on the rows on which the threshold was chosen.
    """

    threshold: float
    sensitivity: float
    specificity: float


def confusion(actual: ArrayLike, predicted: ArrayLike) -> Confusion:
    """Count the predictions of a two-class task by actual class.

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
    odd = called[~np.isin(called, (0, 1))]
    if odd.size:
        raise InputError(f"predicted must contain only 0 and 1. Got {odd[0]}. Use confusion_at for scores.")
    decided = called == 1
    return Confusion(
        int((truth & decided).sum()),
        int((truth & ~decided).sum()),
        int((~truth & decided).sum()),
        int((~truth & ~decided).sum()),
    )


def confusion_at(actual: ArrayLike, scores: ArrayLike, threshold: float = 0.0) -> Confusion:
    """Count the predictions at a threshold by actual class.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Scores.
    threshold : float
        A row counts as positive if its score is at least this. A linear SVM uses 0; for probabilities, pass 0.5.

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
    """Confusion matrix of several classes.

    Parameters
    ----------
    targets, predicted : array_like of int, shape (n,)
        Class indices, 0 to `classes` - 1.
    classes : int
        Number of classes.

    Returns
    -------
    ndarray of int64, shape (classes, classes)
        Rows: actual class. Columns: predicted class.

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
            f"targets and predicted must be one-dimensional and have the same length. Got shapes {truth.shape} and "
            f"{called.shape} instead."
        )
    for values in (truth, called):
        outside = values[~np.isin(values, np.arange(classes))]
        if outside.size:
            raise InputError(f"class indices must be from 0 to {classes - 1}. Got {outside[0]} instead.")
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (truth.astype(np.int64), called.astype(np.int64)), 1)
    return matrix


def balanced_accuracy(matrix: ArrayLike) -> float:
    """Balanced accuracy: the mean over the classes of the fraction of correct predictions.

    Parameters
    ----------
    matrix : array_like of int, shape (classes, classes)
        From `confusion_matrix`.

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

    The result is optimistic on the rows on which the threshold was chosen. Choose it on scores of the training set and
    apply it to the test set.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.

    Returns
    -------
    OperatingPoint
        Of equally good points, the one with the highest sensitivity; all values are NaN if there is only one class.

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
        Lowest allowed specificity, between 0 and 1. Values are not interpolated between thresholds.

    Returns
    -------
    OperatingPoint
        Of equally good points, the one with the highest specificity; all values are NaN if there is only one class.

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
    floor = check_fraction("specificity", specificity) - _ROUNDING
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
        Lowest allowed sensitivity, between 0 and 1. Values are not interpolated between thresholds.

    Returns
    -------
    OperatingPoint
        Of equally good points, the one with the highest sensitivity; all values are NaN if there is only one class.

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
    floor = check_fraction("sensitivity", sensitivity) - _ROUNDING
    return _best(actual, scores, lambda sens, spec: (np.where(sens >= floor, spec, -1.0), sens))


# Rules that choose a threshold on scores of the training set: name, and function that returns the operating point.
THRESHOLD_RULES: Mapping[str, Callable[[ArrayLike, ArrayLike], OperatingPoint]] = {
    "0.90 sensitivity": lambda actual, scores: specificity_at_sensitivity(actual, scores, 0.9),
    "0.90 specificity": lambda actual, scores: sensitivity_at_specificity(actual, scores, 0.9),
    "Youden": youden_point,
}


def fixed_thresholds(actual: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Choose thresholds on the scores of a training set.

    A threshold that is chosen on the test set is optimistic. Pass scores of the training set from models that were not
    trained on these images (inner cross-validation), and apply the thresholds to the test set.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.

    Returns
    -------
    dict of str to float
        Threshold of each rule of `THRESHOLD_RULES`: a row counts as positive if its score is at least this. With infinity, no row
        is positive; NaN if there is only one class.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.

    Examples
    --------
    >>> fixed_thresholds([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    {'0.90 sensitivity': 0.35, '0.90 specificity': 0.8, 'Youden': 0.35}
    """
    return {name: rule(actual, scores).threshold for name, rule in THRESHOLD_RULES.items()}


def _best(
    actual: ArrayLike,
    scores: ArrayLike,
    worth: Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]],
) -> OperatingPoint:
    """Find the point of the ROC curve with the largest first criterion; the second one breaks ties."""
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
    """Divide; NaN if the denominator is 0."""
    return part / whole if whole else float("nan")


class Estimate(NamedTuple):
    """A point estimate with its 95 % confidence interval.

    Attributes
    ----------
    value, low, high : float
        NaN if there is no estimate or no interval.

    Examples
    --------
    >>> sensitivity = proportion([1, 1, 0, 1])
    >>> sensitivity.value, round(sensitivity.low, 2), round(sensitivity.high, 2)
    (0.75, 0.3, 0.95)
    """

    value: float
    low: float
    high: float


def wilson(shares: ArrayLike, counts: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Wilson's 95 % interval of proportions (Wilson 1927, J. American Statistical Association 22, 209-212).

    `counts` has the number of independent rows of each proportion, which need not be an integer.

    Examples
    --------
    >>> low, high = wilson([0.5], [10])
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.237], [0.763])
    """
    share, count = np.asarray(shares, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    z = float(ndtri(0.975))
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return np.clip(centre - reach, 0.0, 1.0), np.clip(centre + reach, 0.0, 1.0)


def proportion(hits: ArrayLike, images: ArrayLike | None = None, groups: ArrayLike | None = None) -> Estimate:
    """Estimate a proportion of rows that may repeat an image or belong to the same patient.

    For independent rows, the interval is Wilson's. For correlated rows, the variance of the proportion is estimated
    between groups (by linearisation, Cochran 1977, Sampling Techniques), and the interval is Wilson's with the effective
    number of rows, which gives the same variance (Korn & Graubard 1998, Survey Methodology 24, 193-201; compared in Dean
    & Pagano 2015, J. Survey Statistics and Methodology 3, 484-503). Unlike a bootstrap interval, it has a width even if
    all groups agree.

    Parameters
    ----------
    hits : array_like of shape (n,)
        True or 1 for a hit, False or 0 for none.
    images : array_like of shape (n,), optional
        Image of each row, if images are tested more than once. The effective number of rows is at most the number of
        images.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row. By default its image.

    Returns
    -------
    Estimate
        All values are NaN if there are no rows.

    Examples
    --------
    >>> [round(value, 3) for value in proportion([1, 1, 0, 1])]
    [0.75, 0.301, 0.954]
    >>> [round(value, 3) for value in proportion([1, 1, 0, 1, 1, 1], images=["a", "a", "b", "c", "d", "d"])]
    [0.833, 0.198, 0.99]
    """
    share, count = effective_rows(hits, images, groups)
    if not count:
        return Estimate(float("nan"), float("nan"), float("nan"))
    low, high = wilson([share], [count])
    return Estimate(share, float(low[0]), float(high[0]))


def effective_rows(
    hits: ArrayLike, images: ArrayLike | None = None, groups: ArrayLike | None = None
) -> tuple[float, float]:
    """Proportion of hits, and the number of independent rows that would estimate it as well; arguments of `proportion`.

    Examples
    --------
    >>> effective_rows([1, 1, 0, 0], groups=["a", "a", "b", "b"])[0]
    0.5
    """
    values = np.asarray(hits, dtype=np.float64)
    count = len(values)
    if not count:
        return float("nan"), 0.0
    rows = np.arange(count) if images is None else group_codes(images, count)
    codes = rows if groups is None else group_codes(groups, count)
    share = float(values.mean())
    return share, _independent(values - share, share, rows, codes)


def _independent(residuals: FloatArray, share: float, images: np.ndarray, codes: np.ndarray) -> float:
    """Effective number of rows: as many independent rows have the variance that is estimated between groups."""
    count, clusters = len(residuals), count_codes(codes)
    if clusters == count:
        return float(count)
    spread = float((np.bincount(codes, weights=residuals) ** 2).sum())
    if share in (0.0, 1.0) or clusters == 1:  # no variance: only the groups are independent
        return float(clusters)
    variance = clusters / (clusters - 1) * spread / count**2
    few = float((ndtri(0.975) / stdtrit(clusters - 1, 0.975)) ** 2)
    most = float(count_codes(images))
    return min(most, few * share * (1 - share) / variance) if variance > 0 else most


def predictive_values(
    sensitivity: Estimate, specificity: Estimate, prevalence: float
) -> tuple[Estimate, Estimate]:
    """Predictive values at a prevalence, from sensitivity and specificity.

    Bayes' rule: with prevalence q, the positive predictive value is ``q / (q + (1 - q) r)`` with
    ``r = (1 - specificity) / sensitivity``, and the negative one accordingly with ``(1 - sensitivity) / specificity``.
    The interval of such a ratio is computed from those of sensitivity and specificity, assuming that they are
    independent (Donner & Zou 2012, Statistical Methods in Medical Research 21, 347-359).

    Parameters
    ----------
    sensitivity, specificity : Estimate
        With their intervals.
    prevalence : float
        Fraction of positives in the population.

    Returns
    -------
    positive, negative : Estimate
        Predictive values; NaN if no row would be predicted positive, or negative.

    Raises
    ------
    ConfigError
        If `prevalence` is not between 0 and 1.

    Examples
    --------
    >>> positive, negative = predictive_values(Estimate(0.9, 0.8, 0.95), Estimate(0.8, 0.75, 0.85), 0.1)
    >>> [round(value, 3) for value in positive], [round(value, 3) for value in negative]
    ([0.333, 0.28, 0.401], [0.986, 0.973, 0.993])
    """
    share = check_fraction("prevalence", prevalence)
    odds = (1 - share) / share
    positive = _ratio(_other(specificity), sensitivity)
    negative = _ratio(_other(sensitivity), specificity)
    return _inverted(positive, odds), _inverted(negative, 1 / odds)


def _other(one: Estimate) -> Estimate:
    return Estimate(1 - one.value, 1 - one.high, 1 - one.low)


def _inverted(ratio: Estimate, odds: float) -> Estimate:
    return Estimate(*(1 / (1 + odds * value) for value in (ratio.value, ratio.high, ratio.low)))


def _ratio(top: Estimate, bottom: Estimate) -> Estimate:
    """Ratio of two estimates of proportions, with its interval."""
    if not bottom.value > 0:
        none = float("inf") if top.value > 0 else float("nan")
        return Estimate(none, float("nan"), float("nan"))
    product = top.value * bottom.value

    def end(numerator: float, denominator: float, side: int) -> float:
        scale = denominator * (2 * bottom.value - denominator)
        part = numerator * (2 * top.value - numerator)
        if abs(scale) < 1e-12:
            return part / (2 * product) if product else 0.0
        return (product + side * float(np.sqrt(max(product**2 - part * scale, 0.0)))) / scale

    return Estimate(
        top.value / bottom.value, max(0.0, end(top.low, bottom.high, -1)), end(top.high, bottom.low, 1)
    )
