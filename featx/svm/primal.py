"""Squared hinge SVMs with more rows than columns: all splits at once, in the weights.

The objective is that of `featx.svm.newton`. There, a step costs the cube of the rows; here it costs a few
products with the features, shared by every problem of a batch. Newton's directions come from conjugate gradients
(as in Lin, Weng & Keerthi 2008, "Trust region Newton method for logistic regression"), preconditioned by the
factor of one Hessian for the whole batch: the splits of one training part differ in a tenth of their rows, and so
their Hessians are near the mean of them. Directions are computed in single precision; gradients, decision values,
line searches and the duality gap, which decide when to stop, in double precision.

Work on rows is cut into blocks whose size does not depend on the number of threads, and summed in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, spotrs

from featx.errors import TrainingError

from .threads import in_threads

__all__ = ["Batch", "Rows", "Solution", "primal_path"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_BLOCK = 512
_PANEL = 512
_MAX_STEPS = 60
_MAX_PRODUCTS = 150
# A direction is good enough once its residual has fallen by this factor; steps follow until one changes no
# decision value by more than `_SETTLED` times the largest, so that what is left to change is their product, or
# until the relative duality gap is `_CLOSED`.
_FORCING = 1e-2
_SETTLED = 1e-4
_CLOSED = 1e-9
# With more products than this for one direction a new factor pays.
_STALE = 20
_LINE_STEPS = 40


class Rows:
    """A feature matrix that is only ever multiplied.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        Rows; may be memory-mapped.
    lengths : ndarray of float64, shape (n,)
        What each row is divided by.
    workers : int
        Threads.
    """

    def __init__(self, features: npt.NDArray[np.floating[Any]], lengths: Floats, workers: int = 1) -> None:
        self._features = features
        self._factors = 1.0 / lengths
        self._workers = workers
        self.count, self.width = features.shape
        self._parts = [slice(start, start + _BLOCK) for start in range(0, self.count, _BLOCK)]

    def times(self, weights: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
        """Multiply by columns of weights, the last row of which is the bias, in their precision."""
        result = np.empty((self.count, weights.shape[1]), weights.dtype)
        slopes, biases = weights[:-1], weights[-1]

        def fill(part: slice) -> None:
            product = self._features[part].astype(weights.dtype, copy=False) @ slopes
            product *= self._factors[part, None].astype(weights.dtype)
            result[part] = product + biases

        in_threads(fill, self._parts, self._workers)
        return result

    def summed(self, coefficients: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
        """Sum the rows, a 1 behind each, with columns of coefficients, in their precision."""

        def part_sum(part: slice) -> npt.NDArray[Any]:
            scaled = coefficients[part] * self._factors[part, None].astype(coefficients.dtype)
            return np.asarray(self._features[part].astype(coefficients.dtype, copy=False).T @ scaled)

        total = np.zeros((self.width + 1, coefficients.shape[1]), coefficients.dtype)
        for product in in_threads(part_sum, self._parts, self._workers):
            total[:-1] += product
        total[-1] = coefficients.sum(axis=0)
        return total

    def weighted_gram(self, weights: Floats) -> Floats:
        """Compute ``sum_i weights_i x_i x_i'`` (lower triangle) with a 1 behind each row."""
        used = np.flatnonzero(weights)
        roots = np.sqrt(weights[used])
        gram = np.zeros((self.width + 1, self.width + 1), order="F")

        def fill(start: int) -> None:
            panel = slice(start, min(start + _PANEL, self.width))
            total = np.zeros((self.width - start, panel.stop - start))
            for first in range(0, len(used), 2 * _BLOCK):
                rows = used[first : first + 2 * _BLOCK]
                scale = (roots[first : first + 2 * _BLOCK] * self._factors[rows]).astype(np.float32)
                block = self._features[rows, start:].astype(np.float32, copy=False) * scale[:, None]
                total += block.T @ block[:, : panel.stop - start]
            gram[start : self.width, panel] = total

        in_threads(fill, range(0, self.width, _PANEL), self._workers)
        gram[-1] = self.summed(weights[:, None])[:, 0]
        return gram


@dataclass(frozen=True)
class Batch:
    """Problems on the same rows.

    Attributes
    ----------
    labels : ndarray of float64, shape (n, m)
        -1 or 1.
    weights : ndarray of float64, shape (n, m)
        Cost of each row in each problem, relative to C; 0 for rows that a problem holds out.
    """

    labels: Floats
    weights: Floats


@dataclass
class _State:
    """Where the problems of a batch stand."""

    weights: Floats  # (d + 1, m), the bias last
    outputs: Floats  # (n, m)


@dataclass(frozen=True)
class Solution:
    """The minimum of a batch for one C.

    Attributes
    ----------
    outputs : ndarray of float64, shape (n, m)
        Decision values of all rows, those held out included.
    weights : ndarray of float64, shape (d + 1, m)
        Weights, the bias last.
    gaps : ndarray of float64, shape (m,)
        Duality gap over primal objective.
    products : ndarray of int64, shape (m,)
        Products with the features that the directions took.
    """

    outputs: Floats
    weights: Floats
    gaps: Floats
    products: npt.NDArray[np.int64]


def primal_path(rows: Rows, batch: Batch, grid: Floats, *, penalise_bias: bool = True) -> Iterator[Solution]:
    """Solve a batch of squared hinge SVMs for every C of a grid, each when it is asked for.

    Parameters
    ----------
    rows : Rows
        The features.
    batch : Batch
        Labels and costs.
    grid : ndarray of float64, shape (c,)
        Values of C, ascending.
    penalise_bias : bool
        Count the bias in the norm.

    Yields
    ------
    Solution
        For each C. Its arrays change with the next one.

    Raises
    ------
    TrainingError
        If a Hessian is not positive definite to working precision.
    """
    problems = batch.labels.shape[1]
    state = _State(np.zeros((rows.width + 1, problems)), np.zeros((rows.count, problems)))
    penalty = np.ones(rows.width + 1)
    penalty[-1] = 1.0 if penalise_bias else 0.0
    for cost in grid:
        gaps, products = _Minimiser(rows, batch.labels, cost * batch.weights, penalty).run(state)
        yield Solution(state.outputs, state.weights, gaps, products)


class _Minimiser:
    """Minimises one batch for one C."""

    def __init__(self, rows: Rows, labels: Floats, costs: Floats, penalty: Floats) -> None:
        self._rows = rows
        self._labels = labels
        self._costs = costs
        self._penalty = penalty
        self._factor: Singles | None = None

    def run(self, state: _State) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Move the state to the minimum; return relative gaps and products of each problem."""
        problems = self._labels.shape[1]
        gaps, products = np.empty(problems), np.zeros(problems, dtype=np.int64)
        running, settled = np.arange(problems), np.zeros(problems, dtype=np.bool_)
        stale = True
        for _ in range(_MAX_STEPS):
            slack, gradient = self._look(state, running)
            gaps[running] = self._gaps(state, running, slack, gradient)
            going = ~settled[running] & ~(gaps[running] <= _CLOSED)
            if not going.any():
                break
            running, slack, gradient = running[going], slack[:, going], gradient[:, going]
            curvature = (slack > 0.0) * self._costs[:, running]
            if stale:
                self._factor = self._factorise(curvature)
            direction, used = self._direction(curvature, gradient)
            products[running] += used
            stale = bool(used.max() > _STALE)
            change = self._rows.times(direction)
            length = self._line_search(state, running, direction, change)
            state.weights[:, running] += length * direction
            state.outputs[:, running] += length * change
            moved = np.abs(length * change).max(axis=0)
            settled[running] = moved <= _SETTLED * np.abs(state.outputs[:, running]).max(axis=0)
        return gaps, products

    def _look(self, state: _State, which: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
        """Return slacks and gradients."""
        labels, costs = self._labels[:, which], self._costs[:, which]
        slack = np.where(costs > 0.0, np.maximum(0.0, 1.0 - labels * state.outputs[:, which]), 0.0)
        pull = self._rows.summed(2.0 * costs * slack * labels)
        return slack, self._penalty[:, None] * state.weights[:, which] - pull

    def _gaps(self, state: _State, which: npt.NDArray[np.intp], slack: Floats, gradient: Floats) -> Floats:
        """Relative duality gaps for the multipliers ``2 c slack`` (see `featx.svm.newton`)."""
        costs, weights = self._costs[:, which], self._penalty[:, None] * state.weights[:, which]
        loss = np.einsum("ij,ij->j", costs, slack * slack)
        primal = 0.5 * np.einsum("ij,ij->j", weights, weights) + loss
        pull = weights - gradient
        pull[self._penalty == 0.0] = 0.0
        dual = 2.0 * np.einsum("ij,ij->j", costs, slack) - 0.5 * np.einsum("ij,ij->j", pull, pull) - loss
        return np.asarray(np.abs(primal - dual) / np.maximum(primal, np.finfo(np.float64).tiny))

    def _factorise(self, active: Floats) -> Singles:
        """Factorise the mean of the problems' Hessians."""
        hessian = 2.0 * self._rows.weighted_gram(active.mean(axis=1))
        hessian.flat[:: len(hessian) + 1] += self._penalty
        factor, failed = dpotrf(hessian, lower=1, clean=0, overwrite_a=1)
        if failed or not np.isfinite(factor.diagonal()).all():
            raise TrainingError(
                "the Hessian is not positive definite to working precision; scale the features"
            )
        return np.asarray(factor, dtype=np.float32, order="F")

    def _direction(self, active: Floats, gradient: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Solve the Newton equations by preconditioned conjugate gradients, all columns side by side."""
        curvature = (2.0 * active).astype(np.float32)
        penalty = self._penalty[:, None].astype(np.float32)
        # Columns are brought to length 1, so that single precision never under- or overflows.
        scale = np.linalg.norm(gradient, axis=0)
        scale[scale == 0.0] = 1.0
        residual = (-gradient / scale).astype(np.float32)
        solution = np.zeros_like(residual)
        search = self._precondition(residual)
        energy = np.einsum("ij,ij->j", residual, search, dtype=np.float64)
        target, going = _FORCING**2 * energy, energy > 0.0
        used = np.zeros(gradient.shape[1], dtype=np.int64)
        for _ in range(_MAX_PRODUCTS):
            if not going.any():
                break
            product = penalty * search + self._rows.summed(curvature * self._rows.times(search))
            bend = np.einsum("ij,ij->j", search, product, dtype=np.float64)
            step = np.where(going & (bend > 0.0), energy / np.where(bend > 0.0, bend, 1.0), 0.0).astype(
                np.float32
            )
            solution += step * search
            residual -= step * product
            used += going
            preconditioned = self._precondition(residual)
            old, energy = energy, np.einsum("ij,ij->j", residual, preconditioned, dtype=np.float64)
            going &= (energy > target) & (step > 0.0)
            search = preconditioned + (energy / np.where(old > 0.0, old, 1.0)).astype(np.float32) * search
        return solution.astype(np.float64) * scale, used

    def _precondition(self, vectors: Singles) -> Singles:
        solved, _ = spotrs(self._factor, vectors, lower=1)
        return np.ascontiguousarray(solved)

    def _line_search(
        self, state: _State, which: npt.NDArray[np.intp], direction: Floats, change: Floats
    ) -> Floats:
        """Minimise each problem along its direction: the slope is piecewise linear and rises."""
        labels, costs = self._labels[:, which], self._costs[:, which]
        weights = self._penalty[:, None] * state.weights[:, which]
        slope = np.einsum("ij,ij->j", weights, direction)
        curve = np.einsum("ij,ij->j", self._penalty[:, None] * direction, direction)
        room, gain = 1.0 - labels * state.outputs[:, which], labels * change
        length, low, high = np.ones(len(which)), np.zeros(len(which)), np.full(len(which), np.inf)
        for _ in range(_LINE_STEPS):
            slack = room - length * gain
            part = np.where(slack > 0.0, costs * gain, 0.0)
            first = slope + length * curve - 2.0 * np.einsum("ij,ij->j", part, slack)
            second = curve + 2.0 * np.einsum("ij,ij->j", part, gain)
            low, high = np.where(first < 0.0, length, low), np.where(first < 0.0, high, length)
            longer = length - first / np.where(second > 0.0, second, 1.0)
            outside = (second <= 0.0) | (longer <= low) | (longer >= high)
            middle = np.where(np.isinf(high), 2.0 * length, 0.5 * (low + np.where(np.isinf(high), low, high)))
            longer = np.where(outside, middle, longer)
            if (np.abs(longer - length) <= 1e-10 * length).all():
                break
            length = longer
        return length
