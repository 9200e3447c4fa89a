"""Tests of the difference of two arms: on one test set, and over folds whose training sets overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.stats import binomtest, f, norm, rankdata, t

from featx.errors import InputError
from featx.stats.auc import fold_auc
from featx.stats.intervals import TestResult, auc_warnings, bounds, corrected_variance, delong_covariance
from featx.stats.operating import confusion
from featx.stats.resampling import Metric, resample, weigher
from featx.stats.validation import BoolArray, FloatArray, IntArray, binary, group_codes

__all__ = [
    "bootstrap_test",
    "combined_f",
    "corrected_t",
    "delong_test",
    "dietterich_t",
    "mcnemar_test",
    "permutation_test",
]


_SAME = "both arms rank the rows in the same order"
_BATCH = 2_000_000  # number of scores in memory at a time (16 MB)
_FEW = 5  # fewer folds or repeats than this give a warning
_NO_VARIANCE = "the differences do not vary: no test is possible"


def delong_test(
    actual: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> TestResult:
    """DeLong's test of two AUCs on the same rows.

    DeLong, DeLong & Clarke-Pearson 1988; with groups Obuchowski 1997 (see `delong_covariance`).

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores_a, scores_b : array_like of shape (n,)
        Scores of the two arms; their scales may differ.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row. By default, rows are independent.
    level : float
        Confidence level of the interval.

    Returns
    -------
    TestResult
        z statistic of the difference of the AUCs, a - b. p is 1 if both arms rank the rows in the same order, and NaN
        if there is only one class.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.
    ConfigError
        If `level` is not between 0 and 1.

    Examples
    --------
    >>> finding = delong_test([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [3, 1, 5, 2, 4, 6])
    >>> round(finding.estimate, 3), round(finding.statistic, 3), round(finding.p, 3)
    (0.222, 1.414, 0.157)
    """
    columns = np.column_stack(
        [np.asarray(scores_a, dtype=np.float64), np.asarray(scores_b, dtype=np.float64)]
    )
    found = delong_covariance(actual, columns, groups)
    contrast = np.array([1.0, -1.0])
    estimate = float(contrast @ found.auc)
    variance = float(contrast @ found.covariance @ contrast)
    error = variance**0.5 if variance >= 0 else 0.0 * variance  # rounding can give -1e-20; NaN stays NaN
    statistic, why = _standardised(estimate, error)
    low, high = bounds(estimate, error, level=level)
    return TestResult(
        test="DeLong 1988" if groups is None else "DeLong by groups (Obuchowski 1997)",
        p=float(2 * norm.sf(abs(statistic))),
        statistic=statistic,
        statistic_name="z",
        estimate=estimate,
        low=low,
        high=high,
        level=level,
        interval="none" if np.isnan(low) else "DeLong",
        error=error,
        correction="none" if groups is None else f"variance by {found.groups} groups",
        n=found.n,
        positives=found.positives,
        warnings=auc_warnings(found) + why,
    )


def bootstrap_test(
    actual: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    metric: Metric | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> TestResult:
    """Paired bootstrap test of any metric of two arms on the same rows.

    The difference divided by its standard deviation over the resamples is assumed to be normal, as in the R package
    pROC (Robin et al. 2011, BMC Bioinformatics 12, 77). Resamples are drawn as in `bootstrap_interval`.

    Parameters
    ----------
    actual : array_like of int, shape (n,)
        Class index of each row; 1 is positive in a two-class task.
    scores_a, scores_b : array_like of shape (n,) or (n, k)
        Scores of the two arms.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row; whole groups are drawn.
    metric : callable, optional
        Takes labels and scores and returns a number. By default `fold_auc`.
    resamples : int
        Number of resamples.
    level : float
        Confidence level of the interval.
    seed : int
        Random seed of the resamples.

    Returns
    -------
    TestResult
        z statistic of the difference of the metric, a - b. p is NaN if the metric is undefined on the rows or in a
        resample.

    Raises
    ------
    InputError
        If the arrays do not fit the metric.
    ConfigError
        If `level` is not between 0 and 1.

    Examples
    --------
    >>> finding = bootstrap_test([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [3, 1, 5, 2, 4, 6])
    >>> round(finding.estimate, 3), 0.05 < finding.p < 0.3
    (0.222, True)
    """
    first, second = (np.asarray(scores, dtype=np.float64) for scores in (scores_a, scores_b))
    labels = np.asarray(actual).astype(np.int64)
    codes = np.arange(len(labels)) if groups is None else group_codes(groups, len(labels))
    estimate = (metric or fold_auc)(actual, first) - (metric or fold_auc)(actual, second)
    error = float("nan")
    if np.isfinite(estimate) and codes.max() > 0:
        one, other = weigher(labels, first, metric), weigher(labels, second, metric)
        found = resample(
            lambda weights: one(weights) - other(weights),
            labels,
            codes,
            method="percentile",
            resamples=resamples,
            level=level,
            seed=seed,
        )
        error = float(found.values.std(ddof=1))
    statistic, notes = _standardised(estimate, error)
    low, high = bounds(float(estimate), error, level=level)
    unit = "image" if groups is None else "group"
    return TestResult(
        test=f"paired {unit} bootstrap, {resamples} resamples",
        p=float(2 * norm.sf(abs(statistic))),
        statistic=statistic,
        statistic_name="z",
        estimate=float(estimate),
        low=low,
        high=high,
        level=level,
        interval="none" if np.isnan(low) else f"{unit} bootstrap, normal",
        error=error,
        correction="none" if groups is None else f"resampling of {len(np.unique(codes))} groups",
        n=len(labels),
        positives=int((labels == 1).sum()) if first.ndim == 1 else None,
        warnings=notes,
    )


def permutation_test(
    actual: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> TestResult:
    """Permutation test of two AUCs on the same rows.

    Under the null hypothesis, the ranks that the two arms give a row can be exchanged (Bandos, Rockette & Gur 2005,
    Statistics in Medicine 24, 2873-2893). Scores are first replaced by ranks, since the scales of the arms may differ.
    Rows of a group are exchanged together. If there are at most `resamples` permutations, all are used.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores_a, scores_b : array_like of shape (n,)
        Scores of the two arms.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row.
    resamples : int
        Number of random permutations.
    seed : int
        Random seed of the permutations.

    Returns
    -------
    TestResult
        The statistic is the difference of the AUCs, a - b. The test is one of exchangeable arms rather than of equal
        AUCs: ROC curves that cross can also make it significant. p is NaN if there is only one class.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.

    Examples
    --------
    >>> finding = permutation_test([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], [3, 1, 5, 2, 4, 6])
    >>> round(finding.estimate, 3), round(finding.p, 3)
    (0.222, 0.125)
    """
    labels, first = binary(actual, scores_a)
    ranks = np.stack([rankdata(first), rankdata(binary(actual, scores_b)[1])])
    codes = np.arange(len(labels)) if groups is None else group_codes(groups, len(labels))
    units = int(codes.max(initial=-1)) + 1
    positives = int(labels.sum())
    estimate, p = fold_auc(labels, ranks[0]) - fold_auc(labels, ranks[1]), float("nan")
    notes: tuple[str, ...] = ("fewer than two classes or groups: no test is possible",)
    if 0 < positives < len(labels) and units > 1:
        notes = (_SAME,) if (ranks[0] == ranks[1]).all() else ()

        def statistic(drawn: IntArray, kept: IntArray, axis: int) -> FloatArray:
            swapped = (np.moveaxis(drawn, axis, -1) >= units)[..., codes]
            return _area(np.where(swapped, ranks[1], ranks[0]), labels) - _area(
                np.where(swapped, ranks[0], ranks[1]), labels
            )

        p = stats.permutation_test(
            (np.arange(units), np.arange(units) + units),
            statistic,
            permutation_type="samples",
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, _BATCH // len(labels)),
            rng=np.random.default_rng(seed),
        ).pvalue
    return TestResult(
        test="permutation of ranks between arms (Bandos et al. 2005)",
        p=float(p),
        statistic=estimate,
        statistic_name="difference",
        estimate=estimate,
        correction="none" if groups is None else f"permutation of {units} whole groups",
        n=len(labels),
        positives=positives,
        warnings=notes,
    )


def mcnemar_test(
    actual: ArrayLike, decisions_a: ArrayLike, decisions_b: ArrayLike, *, groups: ArrayLike | None = None
) -> TestResult:
    """McNemar's exact test of the accuracy of two arms on the same rows.

    Under the null hypothesis, each arm is right in half of the rows that only one of them classifies correctly
    (McNemar 1947, Psychometrika 12, 153-157; exact binomial form).

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative. Pass only the positives to compare sensitivities, only the
        negatives to compare specificities.
    decisions_a, decisions_b : array_like of shape (n,)
        True or 1 where the arm predicts the positive class, at a threshold that was chosen on other data.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row. The test assumes independent rows; a warning says if groups have several
        rows.

    Returns
    -------
    TestResult
        The estimate is the difference of the accuracies, a - b. The statistic is the number of rows that only arm a
        classifies correctly. The exact test is usually conservative.

    Raises
    ------
    InputError
        If the lengths differ or a value is neither 0 nor 1.

    Examples
    --------
    >>> finding = mcnemar_test([1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0])
    >>> finding.statistic, finding.p
    (4.0, 0.125)
    """
    confusion(actual, decisions_a), confusion(actual, decisions_b)
    truth, first, second = (np.asarray(values, dtype=bool) for values in (actual, decisions_a, decisions_b))
    a_alone = int(((first == truth) & (second != truth)).sum())
    b_alone = int(((first != truth) & (second == truth)).sum())
    clustered = groups is not None and group_codes(groups, len(truth)).max(initial=-1) + 1 < len(truth)
    return TestResult(
        test="McNemar, exact",
        p=float(binomtest(a_alone, a_alone + b_alone).pvalue) if a_alone + b_alone else 1.0,
        statistic=float(a_alone),
        statistic_name="rows that only a classifies correctly",
        estimate=(a_alone - b_alone) / len(truth) if len(truth) else float("nan"),
        n=len(truth),
        positives=int(truth.sum()),
        warnings=("groups have several rows, which this test assumes to be independent",)
        if clustered
        else (),
    )


def _standardised(estimate: float, error: float) -> tuple[float, tuple[str, ...]]:
    """Divide a difference by its standard error; NaN, with a warning, if that is not possible."""
    if error > np.finfo(np.float64).eps:
        return estimate / error, ()
    if estimate == 0 and error >= 0:
        return 0.0, (_SAME,)
    return float("nan"), ("the difference is undefined or has no variance: no test is possible",)


def _area(values: FloatArray, labels: BoolArray) -> FloatArray:
    """AUC of each row of a matrix of scores."""
    positives = labels.sum()
    pairs = positives * (labels.shape[-1] - positives)
    return np.asarray(
        (rankdata(values, axis=-1)[..., labels].sum(axis=-1) - positives * (positives + 1) / 2) / pairs
    )


def dietterich_t(differences: ArrayLike) -> TestResult:
    """5x2cv paired t test.

    Dietterich 1998 (Neural Computation 10, 1895-1923): the first difference divided by the square root of the mean
    variance of the repeats, with a t distribution of one degree of freedom per repeat. The numerator uses only one of
    the ten differences; `combined_f` uses all of them and is the better test.

    Parameters
    ----------
    differences : array_like of shape (repeats, 2)
        Differences of the two directions of each repeat of a two-fold split. The test is designed for five repeats.

    Returns
    -------
    TestResult
        The `estimate` is the mean difference.

    Raises
    ------
    InputError
        If the shape is wrong or a difference is not finite.

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

    Alpaydin 1999 (Neural Computation 11, 1885-1892): the sum of all squared differences divided by twice the sum of
    the variances of the repeats, with an F distribution of 10 and 5 degrees of freedom for five repeats (twice the
    number of repeats, and the number of repeats).

    Parameters
    ----------
    differences : array_like of shape (repeats, 2)
        Differences of the two directions of each repeat of a two-fold split. The test is designed for five repeats.

    Returns
    -------
    TestResult
        The `estimate` is the mean difference; the test has no interval of its own.

    Raises
    ------
    InputError
        If the shape is wrong or a difference is not finite.

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

    Nadeau & Bengio 2003 (Machine Learning 52, 239-281), for (repeated) k-fold as in Bouckaert & Frank 2004: the mean
    difference divided by its standard error, with a t distribution of n - 1 degrees of freedom for n folds. The variance
    of the mean is (1/n + ratio) times the sample variance.

    Parameters
    ----------
    differences : array_like of shape (folds,)
        One finite difference per fold, at least two.
    ratio : float
        Size of the test set divided by that of the training set: 1 for 5x2, 1 / (K - 1) for K folds.
    level : float
        Confidence level of the interval.

    Returns
    -------
    TestResult
        With the interval of the mean difference. There is no interval if the differences do not vary.

    Raises
    ------
    InputError
        If there are fewer than two differences or one is not finite.
    ConfigError
        If `ratio` is not positive, or `level` is not between 0 and 1.

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
        notes += (f"only {len(values)} folds: the test has little power",)
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
        correction=f"variance x (1/{len(values)} + {ratio:.3g}) for overlapping training sets",
        folds=len(values),
        warnings=notes,
    )


def _repeats(differences: ArrayLike) -> FloatArray:
    """Check the shape and the values of the differences of repeated two-fold splits."""
    pairs = np.asarray(differences, dtype=np.float64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or not np.isfinite(pairs).all():
        raise InputError(
            f"differences must be finite and have shape (repeats, 2). Got shape {pairs.shape} with "
            f"{int((~np.isfinite(pairs)).sum())} values that are not finite."
        )
    return pairs


def _over(top: float, bottom: float, differences: FloatArray) -> tuple[float, tuple[str, ...]]:
    """Divide; NaN, with a warning, if the differences do not vary, and 0 if they are all 0."""
    if not differences.any():
        return 0.0, ("both arms have the same value in every fold",)
    if not bottom > _rounding(top):
        return float("nan"), (_NO_VARIANCE,)
    return top / bottom, ()


def _rounding(value: float) -> float:
    """Upper bound of a standard error that is 0 except for rounding."""
    return float(np.finfo(np.float64).eps) * abs(value)


def _few_repeats(pairs: FloatArray) -> tuple[str, ...]:
    """Warn of fewer repeats than the 5x2cv tests are designed for."""
    if len(pairs) >= _FEW:
        return ()
    return (f"only {len(pairs)} repeats: the 5x2cv tests are designed for five",)
