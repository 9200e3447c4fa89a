"""Newton directions by conjugate gradients, for all problems of a batch side by side.

As in Lin, Weng & Keerthi (2008), "Trust region Newton method for logistic regression", but preconditioned by the
factor of one Hessian for the whole batch: the splits of one training part differ in a tenth of their rows, and so
their Hessians are near the mean of them. Everything is in single precision: what is found is a direction only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, spotrs

from featx.errors import TrainingError

from .rows import Rows

__all__ = ["ConjugateGradients"]

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

_MAX_PRODUCTS = 150
# A direction is good enough once its residual has fallen by this factor.
_FORCING = 1e-2
# With more products than this for one direction a new preconditioner pays.
_STALE = 20
# What is added to a Hessian that rounding has made indefinite, in units of its largest element; then ten times that.
_FIRST_RIDGE = 1e-6
_RIDGES = 4


class ConjugateGradients:
    """Solves Newton's equations; keeps a preconditioner from one C to the next while it serves.

    Parameters
    ----------
    rows : Rows
        The features.
    penalty : ndarray of float64, shape (d + 1,)
        Weight of each squared weight in the objective, the bias last.
    """

    def __init__(self, rows: Rows, penalty: Floats) -> None:
        self._rows = rows
        self._penalty = penalty
        self._gram: Singles | None = None  # mean of the problems' `sum_i c_i x_i x_i'`, over C
        self._factor: Singles | None = None
        self._cost = 0.0

    def forget(self) -> None:
        """Give the memory of the preconditioner back."""
        self._gram = self._factor = None

    def directions(
        self, weights: Floats, cost: float, gradient: Floats
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Find the directions to the minima of quadratic pieces.

        Parameters
        ----------
        weights : ndarray of float64, shape (n, m)
            Cost of each row in each problem, relative to C; 0 outside the margin.
        cost : float
            C.
        gradient : ndarray of float64, shape (d + 1, m)
            Of each objective.

        Returns
        -------
        directions : ndarray of float64, shape (d + 1, m)
            To each minimum, to about a hundredth of the way.
        products : ndarray of int64, shape (m,)
            Products with the Hessian that they took.

        Raises
        ------
        TrainingError
            If the Hessian is not finite.
        """
        if self._gram is None:
            self._gram = self._rows.weighted_gram(weights.mean(axis=1))
            self._factor = None
        if self._factor is None or cost != self._cost:
            self._factor = None  # gives its memory back before more is taken
            self._factor, self._cost = _factorised(self._gram, 2.0 * cost, self._penalty), cost
        found, used = self._solve((2.0 * cost * weights).astype(np.float32), gradient)
        if used.max() > _STALE:
            self._gram = None
        return found, used

    def _solve(self, curvature: Singles, gradient: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
        penalty = self._penalty[:, None].astype(np.float32)
        # Columns are brought to length 1, so that single precision never under- or overflows.
        scale = np.linalg.norm(gradient, axis=0)
        scale[scale == 0.0] = 1.0
        residual = (-gradient / scale).astype(np.float32)
        solution = np.zeros_like(residual)
        search = self._precondition(residual)
        energy = _dots(residual, search)
        target, going = _FORCING**2 * energy, energy > 0.0
        used = np.zeros(gradient.shape[1], dtype=np.int64)
        for _ in range(_MAX_PRODUCTS):
            if not going.any():
                break
            product = penalty * search + self._rows.summed(curvature * self._rows.times(search))
            bend = _dots(search, product)
            step = np.where(going & (bend > 0.0), energy / np.where(bend > 0.0, bend, 1.0), 0.0)
            solution += step.astype(np.float32) * search
            residual -= step.astype(np.float32) * product
            used += going
            preconditioned = self._precondition(residual)
            old, energy = energy, _dots(residual, preconditioned)
            going &= (energy > target) & (step > 0.0)
            search = preconditioned + (energy / np.where(old > 0.0, old, 1.0)).astype(np.float32) * search
        return solution.astype(np.float64) * scale, used

    def _precondition(self, vectors: Singles) -> Singles:
        solved, _ = spotrs(self._factor, vectors, lower=1)
        return np.ascontiguousarray(solved)


def _dots(first: Singles, second: Singles) -> Floats:
    return np.asarray(np.einsum("ij,ij->j", first, second, dtype=np.float64))


def _factorised(gram: Singles, factor: float, penalty: Floats) -> Singles:
    """Factorise ``penalty + factor * gram``, with as much more on the diagonal as rounding may have taken from it."""
    ridge = 0.0
    for attempt in range(_RIDGES + 1):
        hessian = gram.astype(np.float64, order="F")
        hessian *= factor
        diagonal = hessian.reshape(-1, order="F")[:: len(hessian) + 1]
        largest = float(diagonal.max())
        diagonal += penalty + ridge * largest
        lower, failed = dpotrf(hessian, lower=1, clean=0, overwrite_a=1)
        if not failed and np.isfinite(lower.diagonal()).all():
            return np.asarray(lower, dtype=np.float32, order="F")
        ridge = _FIRST_RIDGE * 10.0**attempt
    raise TrainingError("the Hessian is not positive definite to working precision; scale the features")
