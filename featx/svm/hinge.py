"""Hinge SVMs by libsvm on a Gram matrix, with the violation of optimality that scikit-learn does not report.

The objective is that of ``SVC(kernel="linear")``: ``1/2 |w|^2 + sum_i c_i max(0, 1 - y_i (w.x_i + b))``, the bias
not penalised. On one Gram matrix it costs a hundredth of what the same solver costs on the features, whose inner
products it would compute again for every value of C and every inner split.
"""

from __future__ import annotations

import warnings

import numpy as np

from .newton import Floats, Path

__all__ = ["hinge_path", "violation"]

# libsvm keeps rows of the kernel in single precision: as many as fit here, whatever the matrix that they come from.
_CACHE_MEGABYTES = 64


def hinge_path(
    gram: Floats, labels: Floats, weights: Floats, grid: Floats, *, tolerance: float = 1e-3
) -> Path:
    """Solve a hinge SVM for every C of a grid.

    Parameters
    ----------
    gram : ndarray of float64, shape (n, n)
        Inner products of the training rows.
    labels : ndarray of float64, shape (n,)
        -1 or 1, both present.
    weights : ndarray of float64, shape (n,)
        Cost of each row's loss relative to C.
    grid : ndarray of float64, shape (c,)
        Values of C.
    tolerance : float
        libsvm's: the largest violation of an optimality condition.

    Returns
    -------
    Path
        One solution for each C.

    Examples
    --------
    >>> path = hinge_path(np.eye(2), np.array([-1.0, 1.0]), np.ones(2), np.array([10.0]))
    >>> path.coefficients.round(3).ravel().tolist()
    [-1.0, 1.0]
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC

    coefficients = np.zeros((len(labels), len(grid)), order="F")
    intercepts, residuals = np.empty(len(grid)), np.empty(len(grid))
    iterations = np.empty(len(grid), dtype=np.int64)
    # Rows of no weight are taken out here: libsvm takes them out too, but then counts its rows anew.
    rows = np.flatnonzero(weights > 0.0)
    part = gram if len(rows) == len(gram) else gram[np.ix_(rows, rows)]
    for column, cost in enumerate(grid):
        machine = SVC(C=cost, kernel="precomputed", tol=tolerance, cache_size=_CACHE_MEGABYTES)
        with warnings.catch_warnings():
            # What this warning says is measured below, for every fit.
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(part, labels[rows], sample_weight=weights[rows])
        beta = coefficients[:, column]
        beta[rows[machine.support_]] = machine.dual_coef_[0]
        intercepts[column] = machine.intercept_[0]
        iterations[column] = machine.n_iter_[0]
        residuals[column] = violation(gram @ beta, labels, cost * weights, beta)
    return Path(coefficients, gram @ coefficients + intercepts, intercepts, residuals, iterations)


def violation(inner: Floats, labels: Floats, costs: Floats, beta: Floats) -> float:
    """Measure how far a hinge SVM is from its optimum.

    The largest violation of an optimality condition, in units of the margin: what libsvm's tolerance bounds (Fan, Chen
    & Lin 2005, "Working set selection using second order information", eq. 6 and 7). A duality gap would not do: with
    separable classes and a large C it is made of rounding times C.

    Parameters
    ----------
    inner : ndarray of float64, shape (n,)
        Decision values of the training rows without the bias.
    labels : ndarray of float64, shape (n,)
        -1 or 1.
    costs : ndarray of float64, shape (n,)
        C of each row.
    beta : ndarray of float64, shape (n,)
        Coefficients: multiplier times label.

    Returns
    -------
    float
        0 at the optimum.

    Examples
    --------
    >>> labels = np.array([-1.0, 1.0])
    >>> violation(np.zeros(2), labels, np.ones(2), np.zeros(2)), violation(labels, labels, np.ones(2), labels / 2)
    (2.0, 0.0)
    """
    slope = labels - inner
    multipliers = labels * beta
    may_rise, may_fall = multipliers < costs, multipliers > 0.0
    up = np.where(labels > 0.0, may_rise, may_fall)
    low = np.where(labels > 0.0, may_fall, may_rise)
    return max(0.0, float(slope[up].max(initial=-np.inf) - slope[low].min(initial=np.inf)))
