"""Solvers on a Gram matrix: squared hinge by exact Newton steps, hinge by libsvm.

The objective of squared hinge is that of liblinear (Fan et al. 2008, "LIBLINEAR: a library for large linear classification", eq. 3)

    ``1/2 |w|^2 [+ 1/2 b^2] + sum_i c_i max(0, 1 - y_i (w.x_i + b))^2``

and the method is that of Chapelle (2007), "Training a support vector machine in the primal", eq. 10. With
``w = sum_i beta_i x_i`` the objective is piecewise quadratic. The minimum of the piece in which the rows ``a`` lie
inside the margin solves ``(K_aa + diag(1 / 2 c_a)) beta_a = y_a``. A step goes towards that minimum; an exact line
search determines its length. If a step leaves the rows inside the margin unchanged, it has reached the optimum up to
rounding errors; there is no tolerance. The solution for each C of a grid starts from that for the previous C.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.svm.solvers.linalg import cholesky, cholesky_solve

__all__ = ["Path", "hinge_path", "squared_hinge_path", "violation"]


Floats = npt.NDArray[np.float64]


_MAX_STEPS = 100


_LINE_STEPS = 60


# A smaller relative decrease of the objective is a rounding error.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class Path:
    """Solutions of one training set along a grid of C.

    Attributes
    ----------
    coefficients : ndarray of float64, shape (n, c)
        ``beta``: the weights are ``features.T @ coefficients``.
    outputs : ndarray of float64, shape (n, c)
        Decision values of the rows, intercept included.
    intercepts : ndarray of float64, shape (c,)
        ``b``.
    residuals : ndarray of float64, shape (c,)
        Distance from the optimum: for squared hinge the duality gap over the primal objective, for hinge the
        largest violation of an optimality condition.
    iterations : ndarray of int64, shape (c,)
        Steps taken.
    """

    coefficients: Floats
    outputs: Floats
    intercepts: Floats
    residuals: Floats
    iterations: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Kernel:
    """Inner products; a regularised intercept is the weight of an additional column of ones."""

    gram: Floats
    penalise_bias: bool

    @property
    def free_bias(self) -> bool:
        return not self.penalise_bias

    def piece(self, rows: npt.NDArray[np.intp]) -> Floats:
        part = self.gram[np.ix_(rows, rows)]
        if self.penalise_bias:
            part += 1.0
        return part

    def times(self, beta: Floats) -> Floats:
        product = self.gram @ beta
        if self.penalise_bias:
            product += beta.sum()
        return np.asarray(product)


@dataclass
class _State:
    beta: Floats
    bias: float
    outputs: Floats  # decision values of the training rows, intercept included


def squared_hinge_path(
    gram: Floats,
    labels: Floats,
    weights: Floats,
    grid: Floats,
    *,
    penalise_bias: bool = True,
) -> Path:
    """Solve a squared hinge SVM for every C of a grid.

    Parameters
    ----------
    gram : ndarray of float64, shape (n, n)
        Inner products of the training rows; it is not changed.
    labels : ndarray of float64, shape (n,)
        -1 or 1.
    weights : ndarray of float64, shape (n,)
        Weight of each row's loss relative to C, at least 0. Rows with weight 0 are scored too, so training sets that
        differ can use one Gram matrix.
    grid : ndarray of float64, shape (c,)
        Values of C, ascending.

    Examples
    --------
    >>> path = squared_hinge_path(np.eye(2), np.array([-1.0, 1.0]), np.ones(2), np.array([1.0]))
    >>> path.coefficients.round(3).ravel().tolist(), path.iterations.tolist()
    ([-0.667, 0.667], [1])
    """
    count = len(labels)
    kernel = _Kernel(gram, penalise_bias)
    state = _State(np.zeros(count), 0.0, np.zeros(count))
    coefficients, outputs = np.empty((count, len(grid)), order="F"), np.empty((count, len(grid)), order="F")
    intercepts, residuals = np.empty(len(grid)), np.empty(len(grid))
    iterations = np.empty(len(grid), dtype=np.int64)
    for column, cost in enumerate(grid):
        costs = cost * weights
        state, iterations[column] = _minimise(kernel, labels, costs, state)
        coefficients[:, column], outputs[:, column] = state.beta, state.outputs
        intercepts[column] = state.beta.sum() if penalise_bias else state.bias
        residuals[column] = _gap(kernel, labels, costs, state)
    return Path(coefficients, outputs, intercepts, residuals, iterations)


def _minimise(kernel: _Kernel, labels: Floats, costs: Floats, state: _State) -> tuple[_State, int]:
    active = _inside(labels, costs, state.outputs)
    best = _objective(labels, costs, state)
    for step in range(1, _MAX_STEPS + 1):
        target = _piece_minimum(kernel, labels, costs, active, state)
        if np.array_equal(_inside(labels, costs, target.outputs), active):
            return target, step
        state = _line_search(labels, costs, state, target)
        value = _objective(labels, costs, state)
        if best - value <= _ROUNDING * best:
            break
        best, active = value, _inside(labels, costs, state.outputs)
    return state, step


def _inside(labels: Floats, costs: Floats, outputs: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((labels * outputs < 1.0) & (costs > 0.0))


def _objective(labels: Floats, costs: Floats, state: _State) -> float:
    slack = np.maximum(0.0, 1.0 - labels * state.outputs)
    return float(0.5 * state.beta @ (state.outputs - state.bias) + costs @ (slack * slack))


def _piece_minimum(
    kernel: _Kernel,
    labels: Floats,
    costs: Floats,
    active: npt.NDArray[np.bool_],
    state: _State,
) -> _State:
    rows = np.flatnonzero(active)
    beta = np.zeros(len(labels))
    bias = state.bias
    if rows.size:
        system = kernel.piece(rows)
        system.flat[:: len(rows) + 1] += 0.5 / costs[rows]
        right = (
            np.stack([labels[rows], np.ones(len(rows))], axis=1)
            if kernel.free_bias
            else labels[rows][:, None]
        )
        solved = cholesky_solve(cholesky(system), right)
        bias = float(solved[:, 0].sum() / solved[:, 1].sum()) if kernel.free_bias else 0.0
        beta[rows] = solved[:, 0] - bias * solved[:, 1] if kernel.free_bias else solved[:, 0]
    return _State(beta, bias, kernel.times(beta) + bias)


def _line_search(labels: Floats, costs: Floats, start: _State, target: _State) -> _State:
    """Minimise along a line by Newton's method with a bracket; the derivative is piecewise linear and increasing."""
    inner, change = start.outputs - start.bias, target.beta - start.beta
    curve = float(change @ (target.outputs - target.bias - inner))
    slope = float(change @ inner)
    gain = labels * (target.outputs - start.outputs)
    room = 1.0 - labels * start.outputs
    length, low, high = 1.0, 0.0, np.inf
    for _ in range(_LINE_STEPS):
        slack = room - length * gain
        part = costs * gain * (slack > 0.0)
        first = slope + length * curve - 2.0 * float(part @ slack)
        second = curve + 2.0 * float(part @ gain)
        low, high = (length, high) if first < 0.0 else (low, length)
        longer = length - first / second if second > 0.0 else np.inf
        if not low < longer < high:
            longer = 2.0 * length if np.isinf(high) else 0.5 * (low + high)
        if abs(longer - length) <= 1e-12 * length:
            break
        length = longer
    return _State(
        start.beta + length * change,
        start.bias + length * (target.bias - start.bias),
        start.outputs + length * (target.outputs - start.outputs),
    )


def _gap(kernel: _Kernel, labels: Floats, costs: Floats, state: _State) -> float:
    """Compute the relative duality gap.

    The dual objective is ``sum a - 1/2 |sum a_i y_i x_i|^2 - sum a_i^2 / 4 c_i`` for multipliers ``a >= 0``; here
    ``a = y beta``.
    """
    multipliers = labels * state.beta
    norm = float(state.beta @ (state.outputs - state.bias))
    if (multipliers < 0.0).any():  # the last step ended between two pieces
        multipliers = np.maximum(multipliers, 0.0)
        norm = float((labels * multipliers) @ kernel.times(labels * multipliers))
    used = multipliers > 0.0
    softness = float((multipliers[used] ** 2 / costs[used]).sum())
    dual = float(multipliers.sum()) - 0.5 * norm - 0.25 * softness
    primal = _objective(labels, costs, state)
    return abs(primal - dual) / max(primal, np.finfo(np.float64).tiny)


# Size of the kernel cache of libsvm, which holds rows in single precision.
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
        Weight of each row's loss relative to C.
    grid : ndarray of float64, shape (c,)
        Values of C.

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
    # Rows with weight 0 are removed here. libsvm removes them too, but then its row indices change.
    rows = np.flatnonzero(weights > 0.0)
    part = gram if len(rows) == len(gram) else gram[np.ix_(rows, rows)]
    for column, cost in enumerate(grid):
        machine = SVC(C=cost, kernel="precomputed", tol=tolerance, cache_size=_CACHE_MEGABYTES)
        with warnings.catch_warnings():
            # The convergence of every fit is measured below.
            warnings.simplefilter("ignore", ConvergenceWarning)
            machine.fit(part, labels[rows], sample_weight=weights[rows])
        beta = coefficients[:, column]
        beta[rows[machine.support_]] = machine.dual_coef_[0]
        intercepts[column] = machine.intercept_[0]
        iterations[column] = machine.n_iter_[0]
        residuals[column] = violation(gram @ beta, labels, cost * weights, beta)
    return Path(coefficients, gram @ coefficients + intercepts, intercepts, residuals, iterations)


def violation(inner: Floats, labels: Floats, costs: Floats, beta: Floats) -> float:
    """Measure the distance of a hinge SVM from its optimum.

    The measure is the largest violation of an optimality condition, in units of the margin. The tolerance of libsvm
    bounds it (Fan, Chen & Lin 2005, "Working set selection using second order information", eq. 6 and 7). The duality
    gap is not used: with separable classes and a large C it consists of rounding errors times C.

    Parameters
    ----------
    inner : ndarray of float64, shape (n,)
        Decision values of the training rows without the intercept.
    labels : ndarray of float64, shape (n,)
        -1 or 1.
    costs : ndarray of float64, shape (n,)
        C of each row.
    beta : ndarray of float64, shape (n,)
        Coefficients: multiplier times label.

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
