"""Squared hinge SVMs with more rows than columns, solved in the weights (primal) for all splits together.

The objective is that of `featx.svm.solvers.gram`, where the cost of a step grows with the cube of the rows. Here all
problems of a batch take their steps together. While many rows are inside the margin, directions come from conjugate
gradients (`ConjugateGradients`). When few rows are inside, directions are the exact solutions of linear systems of
these rows (`piece_minima`). Gradients, decision values, line searches and the duality gap are in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.errors import TrainingError
from featx.svm.solvers.linalg import PackedSystem, lower_cholesky, lower_solve
from featx.svm.solvers.rows import InnerProducts, Rows

__all__ = [
    "ConjugateGradients",
    "Lines",
    "ProblemBatch",
    "Solution",
    "line_minima",
    "piece_minima",
    "primal_path",
]


Singles = npt.NDArray[np.float32]


_MAX_PRODUCTS = 150


# Conjugate gradients stop when the residual has decreased by this factor.
_FORCING = 1e-2


# If one direction takes more products than this, a new preconditioner is computed.
_STALE = 20


# Added to the diagonal of a Hessian that is indefinite by rounding errors, relative to its largest element; ten times
# as much after each failure.
_FIRST_RIDGE = 1e-6


_RIDGES = 4


class ConjugateGradients:
    """Solves Newton's equations; reuses the preconditioner for the next C until it needs too many products.

    Parameters
    ----------
    penalty : ndarray of float64, shape (d + 1,)
        Factor of each squared weight in the objective, the intercept last.
    """

    def __init__(self, rows: Rows, penalty: Floats) -> None:
        self._rows = rows
        self._penalty = penalty
        self._gram: Singles | None = None  # mean of the problems' `sum_i c_i x_i x_i'`, over C
        self._factor: Singles | None = None
        self._cost = 0.0

    def forget(self) -> None:
        """Free the memory of the preconditioner."""
        self._gram = self._factor = None

    def directions(
        self, weights: Floats, cost: float, gradient: Floats
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Compute the directions to the minima of quadratic pieces.

        Parameters
        ----------
        weights : ndarray of float64, shape (n, m)
            Weight of each row in each problem, relative to C; 0 outside the margin.
        gradient : ndarray of float64, shape (d + 1, m)
            Gradient of each objective.

        Returns
        -------
        directions : ndarray of float64, shape (d + 1, m)
            Direction to each minimum, with a relative error of about 0.01.
        products : ndarray of int64, shape (m,)
            Number of products with the Hessian.
        """
        if self._gram is None:
            self._gram = self._rows.weighted_gram(weights.mean(axis=1))
            self._factor = None
        if self._factor is None or cost != self._cost:
            self._factor = None  # frees its memory before the next allocation
            self._factor, self._cost = _factorised(self._gram, 2.0 * cost, self._penalty), cost
        found, used = self._solve((2.0 * cost * weights).astype(np.float32), gradient)
        if used.max() > _STALE:
            self._gram = None
        return found, used

    def _solve(self, curvature: Singles, gradient: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
        penalty = self._penalty[:, None].astype(np.float32)
        # Columns are scaled to length 1, to avoid underflow and overflow in single precision.
        scale = np.linalg.norm(gradient, axis=0)
        scale[scale == 0.0] = 1.0
        residual = (-gradient / scale).astype(np.float32)
        solution = np.zeros_like(residual)
        search = self._precondition(residual)
        energy = _column_dots(residual, search)
        target, going = _FORCING**2 * energy, energy > 0.0
        used = np.zeros(gradient.shape[1], dtype=np.int64)
        for _ in range(_MAX_PRODUCTS):
            if not going.any():
                break
            product = penalty * search + self._rows.summed(curvature * self._rows.times(search))
            bend = _column_dots(search, product)
            step = np.where(going & (bend > 0.0), energy / np.where(bend > 0.0, bend, 1.0), 0.0)
            solution += step.astype(np.float32) * search
            residual -= step.astype(np.float32) * product
            used += going
            preconditioned = self._precondition(residual)
            old, energy = energy, _column_dots(residual, preconditioned)
            going &= (energy > target) & (step > 0.0)
            search = preconditioned + (energy / np.where(old > 0.0, old, 1.0)).astype(np.float32) * search
        return solution.astype(np.float64) * scale, used

    def _precondition(self, vectors: Singles) -> Singles:
        assert self._factor is not None
        return lower_solve(self._factor, vectors)


def _column_dots(first: Singles, second: Singles) -> Floats:
    return np.asarray(np.einsum("ij,ij->j", first, second, dtype=np.float64))


def _factorised(gram: Singles, factor: float, penalty: Floats) -> Singles:
    """Factorise ``penalty + factor * gram``; increase the diagonal if rounding errors made the matrix indefinite."""
    ridge = 0.0
    for attempt in range(_RIDGES + 1):
        hessian = gram.astype(np.float64, order="F")
        hessian *= factor
        diagonal = hessian.reshape(-1, order="F")[:: len(hessian) + 1]
        largest = float(diagonal.max())
        diagonal += penalty + ridge * largest
        if lower_cholesky(hessian) and np.isfinite(hessian.diagonal()).all():
            return np.asarray(hessian, dtype=np.float32, order="F")
        ridge = _FIRST_RIDGE * 10.0**attempt
    raise TrainingError(
        "the Hessian is not positive definite in working precision; scale the features, for example with --scaling l2"
    )


_STEPS = 40


_PRECISION = 1e-10


@dataclass(frozen=True, eq=False)
class Lines:
    """Objectives along lines, one for each problem: ``slope t + curve t^2 / 2 + sum c max(0, room - t gain)^2``.

    Attributes
    ----------
    slope, curve : ndarray of float64, shape (m,)
        First and second derivative of the regularisation term.
    room : ndarray of float64, shape (n, m)
        ``1 - y f`` of each row at the start of the line.
    gain : ndarray of float64, shape (n, m)
        Decrease of ``room`` by a step of length 1.
    costs : ndarray of float64, shape (n, m)
        Weight of each row's loss.
    """

    slope: Floats
    curve: Floats
    room: Floats
    gain: Floats
    costs: Floats


def line_minima(lines: Lines) -> Floats:
    """Compute the step length that minimises each objective.

    The derivative is piecewise linear and increasing; Newton's method with a bracket needs a few steps.

    Returns
    -------
    ndarray of float64, shape (m,)
        Lengths.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> line_minima(Lines(np.zeros(1), np.ones(1), one, one, one)).round(4).tolist()
    [0.6667]
    """
    count = len(lines.slope)
    length, low, high = np.ones(count), np.zeros(count), np.full(count, np.inf)
    for _ in range(_STEPS):
        slack = lines.room - length * lines.gain
        part = np.where(slack > 0.0, lines.costs * lines.gain, 0.0)
        first = lines.slope + length * lines.curve - 2.0 * np.einsum("ij,ij->j", part, slack)
        second = lines.curve + 2.0 * np.einsum("ij,ij->j", part, lines.gain)
        low, high = np.where(first < 0.0, length, low), np.where(first < 0.0, high, length)
        longer = length - first / np.where(second > 0.0, second, 1.0)
        outside = (second <= 0.0) | (longer < low) | (longer > high)
        middle = np.where(np.isinf(high), 2.0 * length, 0.5 * (low + np.where(np.isinf(high), low, high)))
        longer = np.where(outside, middle, longer)
        if (np.abs(longer - length) <= _PRECISION * length).all():
            break
        length = longer
    return length


def piece_minima(
    products: InnerProducts,
    labels: Floats,
    costs: Floats,
    inside: Bools,
    *,
    penalise_bias: bool,
    workers: int = 1,
) -> tuple[Floats, Floats]:
    """Minimise the quadratic piece of each problem in which the given rows lie inside the margin.

    Solves ``(K_aa + diag(1 / 2 c_a)) beta_a = y_a`` for the rows ``a`` inside (see `featx.svm.solvers.gram`).

    Parameters
    ----------
    labels, costs : ndarray of float64, shape (n, m)
        -1 or 1, and the weight of each row's loss, for each problem.
    inside : ndarray of bool, shape (n, m)
        Rows inside the margin; their costs are above 0.

    Returns
    -------
    coefficients : ndarray of float64, shape (n, m)
        Dual coefficients: the weights are ``rows.T @ coefficients``.
    biases : ndarray of float64, shape (m,)
        Intercepts; NaN if no row is inside and the intercept is not regularised, because every intercept is then a
        minimum.

    Examples
    --------
    >>> from featx.svm.solvers.rows import InnerProducts, Rows
    >>> products = InnerProducts(Rows(np.eye(2, dtype=np.float32), np.ones(2)))
    >>> labels, ones = np.array([[-1.0], [1.0]]), np.ones((2, 1))
    >>> beta, bias = piece_minima(products, labels, ones, ones > 0, penalise_bias=True)
    >>> beta.round(3).ravel().tolist()
    [-0.667, 0.667]
    """

    def solve(column: int, rows: Ints, system: PackedSystem) -> tuple[Floats, float]:
        return _minimum(system, rows, labels[:, column], costs[:, column], penalise_bias)

    found = products.each(inside, solve, workers)
    return np.stack([beta for beta, _ in found], axis=1), np.array([bias for _, bias in found])


def _minimum(
    system: PackedSystem, rows: Ints, labels: Floats, costs: Floats, penalise_bias: bool
) -> tuple[Floats, float]:
    beta = np.zeros(len(labels))
    if not len(rows):
        return beta, 0.0 if penalise_bias else np.nan
    if penalise_bias:
        system.add(1.0)
    system.add_diagonal(0.5 / costs[rows])
    right = labels[rows, None]
    if not penalise_bias:
        right = np.hstack([right, np.ones_like(right)])
    solved = system.solve(right)
    if penalise_bias:
        beta[rows] = solved[:, 0]
        return beta, float(beta.sum())
    bias = float(solved[:, 0].sum() / solved[:, 1].sum())
    beta[rows] = solved[:, 0] - bias * solved[:, 1]
    return beta, bias


Floats = npt.NDArray[np.float64]


Ints = npt.NDArray[np.int64]


Bools = npt.NDArray[np.bool_]


_MAX_STEPS = 60


# Tolerance of solutions before the grid, relative to the largest decision value.
_ROUGH = 1e-1


# A fit also stops if the predicted decrease is less than this fraction of the objective.
_CLOSED = 1e-9


# A step length that differs from 1 by less than this counts as 1.
_WHOLE = 1e-9


# The cost of an exact step grows with the cube of the rows inside the margin. An iterative step costs products with all
# rows and the cube of the columns. Below this many rows per column the exact step is cheaper; it needs 8 bytes for each
# pair of rows.
_ROWS_PER_COLUMN = 1.2


_MOST_ROWS = 12_000


@dataclass(frozen=True)
class ProblemBatch:
    """Problems on the same rows.

    Attributes
    ----------
    labels : ndarray of float64, shape (n, m)
        -1 or 1.
    weights : ndarray of float64, shape (n, m)
        Weight of each row in each problem, relative to C; 0 for held-out rows.
    """

    labels: Floats
    weights: Floats


@dataclass
class _State:
    """Current weights and decision values of the problems of a batch."""

    weights: Floats  # (d + 1, m), the intercept last
    outputs: Floats  # (n, m)


@dataclass(frozen=True)
class Solution:
    """The minimum of a batch for one C.

    Attributes
    ----------
    outputs : ndarray of float64, shape (n, m)
        Decision values of all rows, including held-out rows.
    weights : ndarray of float64, shape (d + 1, m)
        Weights, the intercept last.
    gaps : ndarray of float64, shape (m,)
        Duality gap over primal objective.
    steps : ndarray of int64, shape (m,)
        Newton steps.
    """

    outputs: Floats
    weights: Floats
    gaps: Floats
    steps: Ints


def primal_path(
    rows: Rows,
    batch: ProblemBatch,
    grid: Floats,
    *,
    penalise_bias: bool = True,
    settled: float = 1e-6,
    approach: int = 0,
) -> Iterator[Solution]:
    """Solve a batch of squared hinge SVMs for every C of a grid; each solution is computed on request.

    Parameters
    ----------
    grid : ndarray of float64, shape (c,)
        Values of C, ascending.
    """
    problems = batch.labels.shape[1]
    state = _State(np.zeros((rows.width + 1, problems)), np.zeros((rows.count, problems)))
    penalty = np.ones(rows.width + 1)
    penalty[-1] = 1.0 if penalise_bias else 0.0
    minimiser = _Minimiser(rows, batch, penalty)
    for place, cost in enumerate(grid):
        steps = minimiser.run(state, cost, _ROUGH if place < approach else settled)
        yield Solution(state.outputs, state.weights, minimiser.gaps(state, cost), steps)


class _Minimiser:
    """Minimises the objectives of one batch, one C after the other."""

    def __init__(self, rows: Rows, batch: ProblemBatch, penalty: Floats) -> None:
        self._rows = rows
        self._batch = batch
        self._penalty = penalty
        self._iterative = ConjugateGradients(rows, penalty)
        self._products = rows.products()

    def run(self, state: _State, cost: float, settled: float) -> npt.NDArray[np.int64]:
        """Move the state to the minimum; return the Newton steps of each problem."""
        problems = self._batch.labels.shape[1]
        steps, running = np.zeros(problems, dtype=np.int64), np.arange(problems)
        for _ in range(_MAX_STEPS):
            inside = self._inside(state, running)
            exact = self._few(inside)
            direction = (self._exact if exact else self._approximate)(state, running, cost, inside)
            change = self._rows.times(direction)
            lines = self._lines(state, running, cost, direction, change)
            closed = self._promised(state, running, lines) <= _CLOSED
            length = line_minima(lines)
            state.weights[:, running] += length * direction
            state.outputs[:, running] += length * change
            steps[running] += 1
            # The distance to the minimum of the piece counts, even if the line search made the step short.
            moved = np.maximum(1.0, length) * np.abs(change).max(axis=0)
            done = closed | (moved <= settled * np.abs(state.outputs[:, running]).max(axis=0))
            if exact:  # a minimum of a piece that lies in this piece is the minimum of the objective
                done |= (self._inside(state, running) == inside).all(axis=0) & (np.abs(length - 1.0) < _WHOLE)
            running = running[~done]
            if not len(running):
                break
        return steps

    def _promised(self, state: _State, which: Ints, lines: Lines) -> Floats:
        """Return the fraction by which a step of length 1 would decrease the objective if it were quadratic."""
        loss = lines.costs * np.maximum(0.0, lines.room)
        weights = self._penalty[:, None] * state.weights[:, which]
        objective = 0.5 * _dots(weights, weights) + _dots(loss, np.maximum(0.0, lines.room))
        descent = 2.0 * _dots(loss, lines.gain) - lines.slope
        return np.asarray(0.5 * descent / np.maximum(objective, np.finfo(np.float64).tiny))

    def _inside(self, state: _State, which: Ints) -> Bools:
        room = 1.0 - self._batch.labels[:, which] * state.outputs[:, which]
        return np.asarray((room > 0.0) & (self._batch.weights[:, which] > 0.0))

    def _few(self, inside: Bools) -> bool:
        """Return whether so few rows are inside the margin that exact steps are cheaper than iterative steps."""
        most = min(_ROWS_PER_COLUMN * self._rows.width, _MOST_ROWS)
        return bool(inside.sum(axis=0).mean() <= most)

    def _exact(self, state: _State, which: Ints, cost: float, inside: Bools) -> Floats:
        self._iterative.forget()
        self._rows.release()
        found, biases = piece_minima(
            self._products,
            self._batch.labels[:, which],
            cost * self._batch.weights[:, which],
            inside,
            penalise_bias=self._penalty[-1] != 0.0,
            workers=self._rows.workers,
        )
        target = self._rows.summed(found)
        target[-1] = np.where(np.isnan(biases), state.weights[-1, which], biases)
        return target - state.weights[:, which]

    def _approximate(self, state: _State, which: Ints, cost: float, inside: Bools) -> Floats:
        self._rows.gather()
        gradient = self._penalty[:, None] * state.weights[:, which] - self._pull(state, which, cost)[1]
        return self._iterative.directions(inside * self._batch.weights[:, which], cost, gradient)[0]

    def _pull(self, state: _State, which: Ints, cost: float) -> tuple[Floats, Floats]:
        """Return the multipliers ``2 c slack`` and the rows weighted by them, summed."""
        labels, weights = self._batch.labels[:, which], self._batch.weights[:, which]
        multipliers = 2.0 * cost * weights * np.maximum(0.0, 1.0 - labels * state.outputs[:, which])
        return multipliers, self._rows.summed(multipliers * labels)

    def gaps(self, state: _State, cost: float) -> Floats:
        """Compute the duality gap over the objective, for the multipliers ``2 c slack`` (see `featx.svm.solvers.gram`)."""
        multipliers, pull = self._pull(state, np.arange(self._batch.labels.shape[1]), cost)
        slack = np.maximum(0.0, 1.0 - self._batch.labels * state.outputs)
        loss = 0.5 * _dots(multipliers, slack)
        weights = self._penalty[:, None] * state.weights
        pull[self._penalty == 0.0] = 0.0
        primal = 0.5 * _dots(weights, weights) + loss
        dual = multipliers.sum(axis=0) - 0.5 * _dots(pull, pull) - loss
        return np.asarray(np.abs(primal - dual) / np.maximum(primal, np.finfo(np.float64).tiny))

    def _lines(self, state: _State, which: Ints, cost: float, direction: Floats, change: Floats) -> Lines:
        labels = self._batch.labels[:, which]
        step = self._penalty[:, None] * direction
        return Lines(
            _dots(step, state.weights[:, which]),
            _dots(step, direction),
            1.0 - labels * state.outputs[:, which],
            labels * change,
            cost * self._batch.weights[:, which],
        )


def _dots(first: Floats, second: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->j", first, second))
