"""Exact Newton steps for the splits of one training part, on inner products that they share."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .rows import Products, System

__all__ = ["piece_minima"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def piece_minima(
    products: Products,
    labels: Floats,
    costs: Floats,
    inside: Bools,
    *,
    penalise_bias: bool,
    workers: int = 1,
) -> tuple[Floats, Floats]:
    """Minimise the quadratic pieces in which given rows lie inside the margin, one for each problem.

    ``(K_aa + diag(1 / 2 c_a)) beta_a = y_a`` for the rows ``a`` inside (see `featx.svm.newton`).

    Parameters
    ----------
    products : Products
        Of the rows.
    labels, costs : ndarray of float64, shape (n, m)
        -1 or 1, and the cost of each row's loss, for each problem.
    inside : ndarray of bool, shape (n, m)
        Rows inside the margin; their costs are above 0.
    penalise_bias : bool
        Count the bias in the norm.
    workers : int
        Threads.

    Returns
    -------
    coefficients : ndarray of float64, shape (n, m)
        Weights are the rows' sum with these.
    biases : ndarray of float64, shape (m,)
        Intercepts; NaN where no row is inside and the bias is free, as any is then a minimum.

    Raises
    ------
    TrainingError
        If the inner products are not positive semidefinite to working precision.

    Examples
    --------
    >>> from featx.svm.rows import InnerProducts, Rows
    >>> products = InnerProducts(Rows(np.eye(2, dtype=np.float32), np.ones(2)))
    >>> labels, ones = np.array([[-1.0], [1.0]]), np.ones((2, 1))
    >>> beta, bias = piece_minima(products, labels, ones, ones > 0, penalise_bias=True)
    >>> beta.round(3).ravel().tolist()
    [-0.667, 0.667]
    """

    def solve(column: int, rows: Ints, system: System) -> tuple[Floats, float]:
        return _minimum(system, rows, labels[:, column], costs[:, column], penalise_bias)

    found = products.each(inside, solve, workers)
    return np.stack([beta for beta, _ in found], axis=1), np.array([bias for _, bias in found])


def _minimum(
    system: System, rows: Ints, labels: Floats, costs: Floats, penalise_bias: bool
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
