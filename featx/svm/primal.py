"""Squared hinge SVMs with more rows than columns: all splits at once, in the weights.

The objective is that of `featx.svm.newton`. There, a step costs the cube of the rows; here all problems of a batch
take their steps together and share the work. While many rows are inside the margin, directions come from conjugate
gradients (`featx.svm.conjugate`); where few are, from linear systems of these rows (`featx.svm.pieces`), exactly. Gradients,
decision values, line searches and the duality gap are in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .conjugate import ConjugateGradients
from .lines import Lines, line_minima
from .pieces import piece_minima
from .rows import Rows

__all__ = ["ProblemBatch", "Solution", "primal_path"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_MAX_STEPS = 60
# Solutions on the way to a grid are solved until steps change decision values by less than this.
_ROUGH = 1e-1
# A step that promises less of the objective than this is the last, too.
_CLOSED = 1e-9
# A step of this length, to rounding, is a whole one.
_WHOLE = 1e-9
# An exact step costs the cube of the rows inside the margin, an iterative one products with all rows and the cube of
# the columns: below this many rows a column the first is cheaper, and takes 8 bytes a pair of rows.
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
    settled : float
        Steps follow until one would change no decision value by more than this times the largest. What is then left to
        change is smaller by far: each step of Newton's method leaves a small part of the last one's, or nothing.
    approach : int
        So many values at the beginning are steps on the way only, and solved roughly.

    Yields
    ------
    Solution
        For each C. Its arrays change with the next one.

    Raises
    ------
    TrainingError
        If the features are too large for any precision.
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
    """Minimises one batch, for one C after the other."""

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
            # A short step is no small one: what counts is how far the minimum of the piece is.
            moved = np.maximum(1.0, length) * np.abs(change).max(axis=0)
            done = closed | (moved <= settled * np.abs(state.outputs[:, running]).max(axis=0))
            if exact:  # the minimum of a piece within that piece is the minimum
                done |= (self._inside(state, running) == inside).all(axis=0) & (np.abs(length - 1.0) < _WHOLE)
            running = running[~done]
            if not len(running):
                break
        return steps

    def _promised(self, state: _State, which: Ints, lines: Lines) -> Floats:
        """Tell what share of the objective a whole step would take away if the objective were one piece."""
        loss = lines.costs * np.maximum(0.0, lines.room)
        weights = self._penalty[:, None] * state.weights[:, which]
        objective = 0.5 * _dots(weights, weights) + _dots(loss, np.maximum(0.0, lines.room))
        descent = 2.0 * _dots(loss, lines.gain) - lines.slope
        return np.asarray(0.5 * descent / np.maximum(objective, np.finfo(np.float64).tiny))

    def _inside(self, state: _State, which: Ints) -> Bools:
        room = 1.0 - self._batch.labels[:, which] * state.outputs[:, which]
        return np.asarray((room > 0.0) & (self._batch.weights[:, which] > 0.0))

    def _few(self, inside: Bools) -> bool:
        """Tell whether so few rows are inside the margin that exact steps are cheaper than iterative ones."""
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
        """Return multipliers ``2 c slack`` and the rows' sum with them."""
        labels, weights = self._batch.labels[:, which], self._batch.weights[:, which]
        multipliers = 2.0 * cost * weights * np.maximum(0.0, 1.0 - labels * state.outputs[:, which])
        return multipliers, self._rows.summed(multipliers * labels)

    def gaps(self, state: _State, cost: float) -> Floats:
        """Measure the duality gap over the objective, for the multipliers ``2 c slack`` (see `featx.svm.newton`)."""
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
