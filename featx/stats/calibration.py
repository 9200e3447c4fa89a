"""Calibration: predicted probabilities from decision values, and measures of their quality.

A calibration is fitted on images that the scoring model was not trained on: decision values from the inner folds of the
training set. `fit_calibration` refuses inner folds that share a group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import norm, t

from featx.errors import ConfigError, InputError, LeakError, listing
from featx.stats.operating import Estimate, proportion
from featx.stats.validation import (
    BoolArray,
    FloatArray,
    IntArray,
    binary,
    check_probabilities,
    group_codes,
    several,
)

__all__ = [
    "METHODS",
    "Calibration",
    "IsotonicCurve",
    "Recalibration",
    "Reliability",
    "Sigmoid",
    "brier_score",
    "calibrate",
    "calibration_warnings",
    "fit_calibration",
    "fit_recalibration",
    "reliability",
    "smooth_calibration_curve",
]


METHODS = ("sigmoid", "isotonic")
_SPACINGS = ("uniform", "quantile")
_ISOTONIC = 1000  # with fewer rows of the smaller class, a sigmoid is better
_UNDEFINED = Estimate(float("nan"), float("nan"), float("nan"))
_ITERATIONS = 200


@dataclass(frozen=True)
class Sigmoid:
    """Platt's curve, 1 / (1 + exp(-(slope * score + intercept))).

    Attributes
    ----------
    slope, intercept : float
        Its parameters. A negative slope means that higher scores belong to the negative class.
    """

    slope: float
    intercept: float


@dataclass(frozen=True)
class IsotonicCurve:
    """An isotonic curve: linear between its points, constant outside of them.

    Attributes
    ----------
    scores, probabilities : tuple of float
        The points, both non-decreasing.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """Curves from decision values to probabilities.

    Attributes
    ----------
    method : str
        ``"sigmoid"`` or ``"isotonic"``.
    curves : tuple of Sigmoid or IsotonicCurve
        One for a two-class task, else one per class.
    n : int
        Number of images that the curves were fitted on.
    positives : tuple of int
        Number of images of the class of each curve.
    """

    method: str
    curves: tuple[Sigmoid | IsotonicCurve, ...]
    n: int
    positives: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram: predicted probability and observed fraction of positives in bins.

    Attributes
    ----------
    predicted : ndarray of float64, shape (bins,)
        Mean predicted probability of each bin that is not empty.
    observed : ndarray of float64, shape (bins,)
        Observed fraction of positives.
    low, high : ndarray of float64, shape (bins,)
        95 % interval of this fraction, from `proportion`.
    counts : ndarray of int64, shape (bins,)
        Number of rows.
    """

    predicted: FloatArray
    observed: FloatArray
    low: FloatArray
    high: FloatArray
    counts: np.ndarray


def fit_calibration(
    targets: ArrayLike,
    scores: ArrayLike,
    *,
    method: str = "sigmoid",
    folds: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Calibration:
    """Fit curves from decision values to probabilities.

    Parameters
    ----------
    targets : array_like of int, shape (n,)
        Class index of each image; 1 is positive in a two-class task.
    scores : array_like of shape (n,), (n, 1) or (n, k)
        Decision values from models that were not trained on the scored images: those of inner cross-validation.
    method : str
        ``"sigmoid"`` (Platt 1999, with smoothed targets; two parameters, suitable for few images) or ``"isotonic"``
        (Zadrozny & Elkan 2002; any non-decreasing curve; it gives ties and needs about 1,000 rows of the smaller class,
        see `calibration_warnings`). Isotonic probabilities are never exactly 0 or 1: a lowest step of m rows without a
        positive has the probability 1 / (m + 2), Laplace's rule of succession, or that of the next step if it is lower.
    folds, groups : array_like of shape (n,), optional
        Inner fold and group of each image, for the check that no group is in two folds.

    Returns
    -------
    Calibration
        One curve; with several classes, one one-vs-rest curve per class.

    Raises
    ------
    InputError
        If the shapes do not match, or a class has no image.
    ConfigError
        If `method` is unknown.
    LeakError
        If a group is in two inner folds: one of the two models was then trained on it.

    Examples
    --------
    >>> calibration = fit_calibration([0, 0, 1, 0, 1, 1], [-2, -1, -0.5, 0.5, 1, 2])
    >>> calibrate(calibration, [-2, 0, 2]).round(2)
    array([0.22, 0.5 , 0.78])
    """
    if method not in METHODS:
        raise ConfigError(f"The 'method' parameter must be one of {METHODS}. Got {method!r} instead.")
    if folds is not None and groups is not None:
        _check_disjoint(np.asarray(folds), np.asarray(groups))
    fit = _fit_sigmoid if method == "sigmoid" else _fit_steps
    columns = [binary(labels, column) for labels, column in _one_vs_rest(targets, scores)]
    for index, (labels, _) in enumerate(columns):
        if labels.all() or not labels.any():
            raise InputError(
                f"a calibration needs positive and negative images for each curve. Curve {index} has only one class."
            )
    return Calibration(
        method,
        tuple(fit(labels, column) for labels, column in columns),
        len(columns[0][0]),
        tuple(int(labels.sum()) for labels, _ in columns),
    )


def calibrate(calibration: Calibration, scores: ArrayLike) -> FloatArray:
    """Compute predicted probabilities from decision values.

    Parameters
    ----------
    calibration : Calibration
        From `fit_calibration`.
    scores : array_like of shape (n,), (n, 1) or (n, k)
        Decision values.

    Returns
    -------
    ndarray of float64, shape (n,) or (n, k)
        Probability of the positive class, or of each class, normalised to sum to 1 (equal probabilities if every curve
        gives 0).

    Raises
    ------
    InputError
        If the number of columns is not the number of curves.

    Examples
    --------
    >>> calibrate(Calibration("isotonic", (IsotonicCurve((0.0, 1.0), (0.2, 0.8)),), 9, (4,)), [-1, 0.5, 3])
    array([0.2, 0.5, 0.8])
    """
    values = np.asarray(scores, dtype=np.float64)
    columns = values[:, None] if values.ndim == 1 else values
    if columns.shape[1] != len(calibration.curves):
        raise InputError(
            f"scores must have {len(calibration.curves)} columns, as in the fit. Got {columns.shape[1]} instead."
        )
    found = np.column_stack(
        [_read(curve, columns[:, index]) for index, curve in enumerate(calibration.curves)]
    )
    if found.shape[1] == 1:
        return np.asarray(found[:, 0])
    total = found.sum(axis=1, keepdims=True)
    return np.where(total > 0, found / np.where(total > 0, total, 1.0), 1 / found.shape[1])


def calibration_warnings(calibration: Calibration) -> tuple[str, ...]:
    """Warn of a calibration that was fitted on too few rows.

    Parameters
    ----------
    calibration : Calibration
        From `fit_calibration`.

    Returns
    -------
    tuple of str
        One sentence, or empty. With fewer than about 1,000 rows, isotonic regression overfits, and a sigmoid is better
        (Niculescu-Mizil & Caruana 2005, ICML, 625-632). The rows of the smaller class are counted.

    Examples
    --------
    >>> calibration_warnings(Calibration("isotonic", (IsotonicCurve((0.0,), (0.5,)),), 900, (80,)))
    ('isotonic calibration was fitted on 80 rows of the smaller class; with fewer than about 1,000 it overfits, use sigmoid',)
    """
    fewest = min(min(count, calibration.n - count) for count in calibration.positives)
    if calibration.method != "isotonic" or fewest >= _ISOTONIC:
        return ()
    return (
        f"isotonic calibration was fitted on {fewest} rows of the smaller class; with fewer than about "
        f"{_ISOTONIC:,} it overfits, use sigmoid",
    )


def brier_score(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Brier score: the mean squared error of predicted probabilities.

    Parameters
    ----------
    targets : array_like of int, shape (n,)
        Class index of each image; 1 is positive in a two-class task.
    probabilities : array_like of shape (n,) or (n, k)
        Of the positive class: the result is the mean squared error, 0 to 1. Of each class: the squared errors are
        summed over the classes, 0 to 2 (Brier 1950, Monthly Weather Review 78, 1-3).

    Returns
    -------
    float
        0 is best. It depends on the prevalence; NaN if there are no images.

    Raises
    ------
    InputError
        If the shapes do not match or a probability is not between 0 and 1.

    Examples
    --------
    >>> round(brier_score([0, 1, 1], [0.1, 0.8, 0.6]), 4)
    0.07
    """
    values = check_probabilities(probabilities)
    if values.ndim == 1:
        errors = (binary(targets, values)[0] - values) ** 2
    else:
        labels, values = several(targets, values)
        errors = ((np.eye(values.shape[1])[labels] - values) ** 2).sum(axis=1)
    return float(errors.mean()) if len(errors) else float("nan")


def reliability(
    actual: ArrayLike,
    probabilities: ArrayLike,
    *,
    bins: int = 10,
    spacing: str = "uniform",
    images: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> Reliability:
    """Compare predicted probabilities with observed fractions of positives in bins.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    probabilities : array_like of shape (n,)
        Of the positive class.
    bins : int
        Number of bins, at least 1.
    spacing : str
        ``"uniform"``: bins of equal width. ``"quantile"``: bins with about the same number of images; equal
        probabilities share a bin, so there may be fewer bins.
    images, groups : array_like of shape (n,), optional
        Image of each row, if images are tested more than once, and its patient, case or lesion. Rows of the same image
        or group are not assumed to be independent.

    Returns
    -------
    Reliability
        The bins that are not empty.

    Raises
    ------
    InputError
        If the shapes do not match or a probability is not between 0 and 1.
    ConfigError
        If `spacing` is unknown or `bins` is below 1.

    Examples
    --------
    >>> diagram = reliability([0, 0, 1, 1], [0.1, 0.2, 0.6, 0.9], bins=2)
    >>> diagram.predicted, diagram.observed
    (array([0.15, 0.75]), array([0., 1.]))
    """
    if bins < 1 or spacing not in _SPACINGS:
        raise ConfigError(
            f"The 'bins' parameter must be at least 1 and 'spacing' one of {_SPACINGS}. "
            f"Got {bins!r} and {spacing!r} instead."
        )
    labels, values = binary(actual, check_probabilities(probabilities))
    inner = np.linspace(0, 1, bins + 1)[1:-1]
    edges = inner if spacing == "uniform" or not len(values) else np.quantile(values, inner)
    places = np.searchsorted(edges, values, side="left")
    held = [places == place for place in np.unique(places)]
    named = [None if names is None else np.asarray(names) for names in (images, groups)]
    found = [
        proportion(labels[rows], *(None if names is None else names[rows] for names in named))
        for rows in held
    ]
    observed, low, high = np.array(found, dtype=np.float64).reshape(-1, 3).T
    predicted = np.array([values[rows].mean() for rows in held])
    return Reliability(
        predicted, observed, low, high, np.array([rows.sum() for rows in held], dtype=np.int64)
    )


def _check_disjoint(folds: np.ndarray, groups: np.ndarray) -> None:
    """Refuse groups that are in two inner folds."""
    pairs = np.unique(np.column_stack([groups.astype(str), folds.astype(str)]), axis=0)
    names, counts = np.unique(pairs[:, 0], return_counts=True)
    shared = names[counts > 1].tolist()
    if shared:
        raise LeakError(
            f"the inner folds of a calibration must not share groups. Shared: {listing(shared)}. Split by group."
        )


def _one_vs_rest(targets: ArrayLike, scores: ArrayLike) -> list[tuple[ArrayLike, FloatArray]]:
    """Pair each column of scores with its labels."""
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim == 1 or values.shape[1] == 1:
        return [(targets, values.reshape(-1))]
    labels, values = several(targets, values)
    return [(labels == index, values[:, index]) for index in range(values.shape[1])]


def _fit_sigmoid(labels: BoolArray, scores: FloatArray) -> Sigmoid:
    """Fit Platt's curve by maximum likelihood; its smoothed targets reduce overfitting."""
    positives = labels.sum()
    wanted = np.where(labels, (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2))
    centre, spread = scores.mean(), scores.std() or 1.0
    unit = (scores - centre) / spread

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        line = parameters[0] * unit + parameters[1]
        error = expit(line) - wanted
        return float((np.logaddexp(0, line) - wanted * line).sum()), np.array([error @ unit, error.sum()])

    slope, intercept = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    return Sigmoid(float(slope / spread), float(intercept - slope * centre / spread))


def _fit_steps(labels: BoolArray, scores: FloatArray) -> IsotonicCurve:
    """Fit a non-decreasing curve by least squares."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
        scores, labels.astype(np.float64)
    )
    heights = np.clip(fitted.y_thresholds_, *_supported(fitted.predict(scores)))
    return IsotonicCurve(tuple(fitted.X_thresholds_.tolist()), tuple(heights.tolist()))


def _supported(heights: FloatArray) -> tuple[float, float]:
    """Replace probabilities 0 and 1 of the outer steps by Laplace's rule, without passing the next step."""
    levels, counts = np.unique(heights, return_counts=True)
    low, high = float(levels[0]), float(levels[-1])
    if low == 0.0:
        low = min(1 / (counts[0] + 2), *levels[1:2].tolist(), 0.5)
    if high == 1.0:
        high = max(1 - 1 / (counts[-1] + 2), *levels[-2:-1].tolist(), 0.5)
    return low, max(low, high)


def _read(curve: Sigmoid | IsotonicCurve, scores: FloatArray) -> FloatArray:
    """Evaluate a curve."""
    if isinstance(curve, Sigmoid):
        return np.asarray(expit(curve.slope * scores + curve.intercept))
    return np.interp(scores, curve.scores, curve.probabilities)


@dataclass(frozen=True)
class Recalibration:
    """Calibration slope, intercept and observed/expected ratio of predicted probabilities.

    Attributes
    ----------
    slope : Estimate
        Logistic recalibration slope. 1 is ideal; below 1 the probabilities are too extreme.
    intercept : Estimate
        Calibration in the large: the intercept with the slope fixed at 1. 0 is ideal; below 0 the probabilities are too
        high.
    observed_expected : Estimate
        Number of positives divided by the sum of the probabilities. 1 is ideal.
    warnings : tuple of str
        Reasons for undefined values.
    """

    slope: Estimate
    intercept: Estimate
    observed_expected: Estimate
    warnings: tuple[str, ...] = ()


def fit_recalibration(
    actual: ArrayLike, probabilities: ArrayLike, *, groups: ArrayLike | None = None
) -> Recalibration:
    """Measure calibration by logistic recalibration and by observed over expected positives.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    probabilities : array_like of shape (n,)
        Of the positive class.
    groups : array_like of shape (n,), optional
        Patient, lesion, or repeatedly tested image of each row. Intervals are then cluster-robust (Liang & Zeger 1986,
        Biometrika 73, 13-22), with a t quantile with one degree of freedom fewer than groups.

    Returns
    -------
    Recalibration
        Estimates and 95 % intervals. All are NaN, with a warning, if there is only one class; slope and intercept if a
        probability is exactly 0 or 1; the slope if the probabilities separate the classes.

    Raises
    ------
    InputError
        If the shapes do not match or a probability is not between 0 and 1.

    Examples
    --------
    >>> found = fit_recalibration([0, 1, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    >>> round(found.slope.value, 3), round(found.intercept.value, 3), found.observed_expected.value
    (0.474, 0.0, 1.0)
    """
    labels, values = binary(actual, check_probabilities(probabilities))
    if labels.all() or not labels.any():
        return Recalibration(
            _UNDEFINED, _UNDEFINED, _UNDEFINED, ("only one class: calibration is undefined",)
        )
    codes = None if groups is None else group_codes(groups, len(labels))
    if codes is not None and len(np.unique(codes)) == len(codes):
        codes = None
    ratio = _observed_expected(labels, values, codes)
    if ((values == 0) | (values == 1)).any():
        return Recalibration(
            _UNDEFINED,
            _UNDEFINED,
            ratio,
            ("probabilities of exactly 0 or 1 have no finite logit: slope and intercept are undefined",),
        )
    line, one = logit(values), np.ones((len(values), 1))
    intercept = _last(_logistic(labels, one, line, codes))
    inside, outside = line[labels], line[~labels]
    if inside.min() >= outside.max() or inside.max() <= outside.min():
        return Recalibration(
            _UNDEFINED, intercept, ratio, ("the probabilities separate the classes: the slope is undefined",)
        )
    slope = _last(_logistic(labels, np.column_stack([one, line]), np.zeros(len(values)), codes))
    return Recalibration(slope, intercept, ratio)


def _logistic(
    labels: BoolArray, design: FloatArray, offset: FloatArray, codes: IntArray | None
) -> tuple[FloatArray, FloatArray, float]:
    """Logistic regression by Newton's method: coefficients, standard errors, and quantile of the interval."""
    beta = np.zeros(design.shape[1])
    for _ in range(_ITERATIONS):
        chance = expit(offset + design @ beta)
        bread = (design * (chance * (1 - chance))[:, None]).T @ design
        step = np.linalg.solve(bread, design.T @ (labels - chance))
        # Limit the step: the quadratic approximation holds only near the current coefficients.
        beta = beta + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    else:
        beta = np.full_like(beta, np.nan)
    covariance = np.linalg.inv(bread)
    if codes is None:
        return beta, np.sqrt(np.diag(covariance)), float(norm.ppf(0.975))
    parts = np.column_stack([np.bincount(codes, weights=column) for column in (design.T * (labels - chance))])
    meat = _few(codes) * parts.T @ parts
    robust = np.sqrt(np.diag(covariance @ meat @ covariance))
    return beta, robust, float(t.ppf(0.975, len(parts) - 1))


def _last(fitted: tuple[FloatArray, FloatArray, float]) -> Estimate:
    beta, errors, quantile = fitted
    reach = quantile * errors[-1]
    return Estimate(*map(float, (beta[-1], beta[-1] - reach, beta[-1] + reach)))


def _observed_expected(labels: BoolArray, values: FloatArray, codes: IntArray | None) -> Estimate:
    """Observed/expected ratio, with the interval of its logarithm by linearisation."""
    positives = float(labels.sum())
    ratio = positives / values.sum()
    residuals = labels - ratio * values
    rows = np.arange(len(values)) if codes is None else codes
    spread = _few(rows) * (np.bincount(rows, weights=residuals) ** 2).sum()
    clusters = len(np.unique(rows))
    quantile = norm.ppf(0.975) if codes is None else t.ppf(0.975, clusters - 1)
    reach = float(np.exp(quantile * np.sqrt(spread) / positives))
    return Estimate(float(ratio), float(ratio / reach), float(ratio * reach))


def _few(codes: IntArray) -> float:
    """Small-sample correction of a variance between groups: m / (m - 1) for m groups."""
    clusters = len(np.unique(codes))
    return clusters / (clusters - 1) if clusters > 1 else float("nan")


def smooth_calibration_curve(
    actual: ArrayLike, probabilities: ArrayLike, *, points: int = 101
) -> tuple[FloatArray, FloatArray]:
    """Smooth calibration curve: the observed fraction of positives over the predicted probability, without bins.

    Local linear regression over the nearest three quarters of the rows (loess, Cleveland 1979, J. American Statistical
    Association 74, 829-836, without its robustness iterations), as in Austin & Steyerberg 2014 (Statistics in Medicine
    33, 517-535).

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    probabilities : array_like of shape (n,)
        Of the positive class.
    points : int
        Number of points between the lowest and the highest probability.

    Returns
    -------
    probability, observed : ndarray of float64, shape (m,)
        The curve, between 0 and 1. Points whose neighbours all have the same probability are omitted; with fewer than
        ten rows the curve is empty.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> chance = rng.uniform(size=2000)
    >>> where, observed = smooth_calibration_curve(rng.uniform(size=2000) < chance, chance)
    >>> bool(np.abs(where - observed).max() < 0.06)
    True
    """
    from statsmodels.nonparametric.smoothers_lowess import lowess

    labels, values = binary(actual, probabilities)
    if len(values) < 10 or np.ptp(values) == 0:
        return np.empty(0), np.empty(0)
    grid = np.linspace(values.min(), values.max(), points)
    with np.errstate(invalid="ignore", divide="ignore"):
        curve = lowess(labels.astype(np.float64), values, frac=0.75, it=0, xvals=grid)
    known = np.isfinite(curve)
    return grid[known], np.clip(curve[known], 0.0, 1.0)
