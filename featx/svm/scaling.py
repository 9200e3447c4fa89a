"""Scaling of features, fitted on the training rows of each SVM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.machine import require_memory

__all__ = ["ROWWISE", "Scaler", "fit_scaler", "prepare_rows", "row_lengths", "signed_root", "unit_rows"]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.floating[Any]]

# Scalings of single rows: nothing is fitted, so all splits can use one Gram matrix.
ROWWISE = frozenset({"l2", "root", "none"})
# Fraction of the variance that the components of `pca` and `whiten` explain.
VARIANCE = 0.99
# Rows converted to double precision at a time; they take a few megabytes.
_BLOCK = 128


@dataclass(frozen=True)
class Scaler:
    """A fitted scaling.

    Attributes
    ----------
    name : str
        One of ``l2``, ``root``, ``none``, ``zscore``, ``pca``, ``whiten``.
    center : ndarray of float64, shape (d,)
        Subtracted from each row; empty for ``l2``, ``root`` and ``none``.
    factor : ndarray of float64, shape (d,)
        Factor of each column; empty except for ``zscore``.
    components : ndarray of float64, shape (d, k)
        Projection; empty except for ``pca`` and ``whiten``.

    Examples
    --------
    >>> nothing = np.empty(0)
    >>> Scaler("l2", nothing, nothing, np.empty((0, 0))).apply(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """

    name: str
    center: Floats
    factor: Floats
    components: Floats

    def apply(self, rows: Rows) -> Floats:
        """Scale rows.

        Parameters
        ----------
        rows : ndarray of float, shape (n, d)
            Features.

        Returns
        -------
        ndarray of float64, shape (n, k)
            Scaled features.
        """
        return np.concatenate([self._block(block) for block in _blocks(rows)])

    def _block(self, rows: Rows) -> Floats:
        if self.name in ROWWISE:
            prepared, lengths = prepare_rows(self.name, rows)
            return prepared.astype(np.float64) / lengths[:, None]
        block = rows.astype(np.float64)
        if self.center.size:
            block -= self.center
        if self.factor.size:
            block *= self.factor
        return block @ self.components if self.components.size else block

    def scores(self, rows: Rows, weights: Floats) -> Floats:
        """Scale rows and multiply them by weights, block by block.

        Parameters
        ----------
        rows : ndarray of float, shape (n, d)
            Features.
        weights : ndarray of float64, shape (k, c)
            Columns of weights.

        Returns
        -------
        ndarray of float64, shape (n, c)
            Products.
        """
        return np.concatenate([self._block(block) @ weights for block in _blocks(rows)])

    def pull_back(self, features: Rows, numbers: npt.NDArray[np.int64], coefficients: Floats) -> Floats:
        """Compute the weights of an SVM from its dual coefficients.

        Parameters
        ----------
        features : ndarray of float, shape (all, d)
            Features, unscaled.
        numbers : ndarray of int64, shape (n,)
            Indices of the training rows.
        coefficients : ndarray of float64, shape (n, c)
            Coefficient of each training row.

        Returns
        -------
        ndarray of float64, shape (k, c)
            ``scaled.T @ coefficients``.
        """
        parts = (slice(start, start + _BLOCK) for start in range(0, len(numbers), _BLOCK))
        return np.asarray(sum(self._block(features[numbers[part]]).T @ coefficients[part] for part in parts))


def _blocks(rows: Rows) -> Iterator[Rows]:
    return (rows[start : start + _BLOCK] for start in range(0, max(len(rows), 1), _BLOCK))


def unit_rows(rows: Rows) -> npt.NDArray[np.float32]:
    """Scale rows to length 1; a row of zeros stays.

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    return (rows / row_lengths(rows)[:, None]).astype(np.float32)


def row_lengths(rows: Rows) -> Floats:
    """Compute the Euclidean length of each row; a row of zeros gets length 1.

    Parameters
    ----------
    rows : ndarray of float, shape (n, d)
        Features.

    Returns
    -------
    ndarray of float64, shape (n,)
        Lengths. If the rows are multiplied by a power of two, the lengths are multiplied by it exactly.

    Examples
    --------
    >>> row_lengths(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [5.0, 1.0]
    """
    lengths = np.concatenate(
        [
            np.sqrt(np.einsum("ij,ij->i", block, block))
            for block in (b.astype(np.float64) for b in _blocks(rows))
        ]
    )
    lengths[lengths == 0.0] = 1.0
    return np.asarray(lengths)


def signed_root(rows: Rows) -> Rows:
    """Take the square root of each number's absolute value and keep its sign.

    Power normalisation with exponent 1/2 (Perronnin, Sanchez & Mensink 2010, ECCV). Inner products of such rows of unit
    length are the Hellinger kernel of rows without negative numbers.

    Examples
    --------
    >>> signed_root(np.array([[4.0, -9.0, 0.0]])).tolist()
    [[2.0, -3.0, 0.0]]
    """
    roots = np.abs(rows)
    np.sqrt(roots, out=roots)
    return np.asarray(np.copysign(roots, rows, out=roots))


def prepare_rows(name: str, rows: Rows) -> tuple[Rows, Floats]:
    """Prepare rows for a scaling that needs no fit: the scaled rows are the returned ones over the divisors.

    Parameters
    ----------
    name : str
        A scaling of `ROWWISE`.
    rows : ndarray of float, shape (n, d)
        Features; may be memory-mapped.

    Returns
    -------
    rows : ndarray of float, shape (n, d)
        A copy for ``root``, else the rows themselves.
    divisors : ndarray of float64, shape (n,)
        Ones for ``none``, else the lengths of the returned rows.

    Raises
    ------
    ConfigError
        If the copy does not fit into memory.

    Examples
    --------
    >>> [part.tolist() for part in prepare_rows("root", np.array([[9.0, 16.0]]))]
    [[[3.0, 4.0]], [5.0]]
    """
    if name == "root":
        require_memory(
            rows.nbytes, f"square roots of {len(rows)} rows", "use the scaling l2, or select fewer images"
        )
    prepared = signed_root(rows) if name == "root" else rows
    return prepared, np.ones(len(rows)) if name == "none" else row_lengths(prepared)


def fit_scaler(name: str, rows: Rows) -> Scaler:
    """Fit a scaling.

    Parameters
    ----------
    rows : ndarray of float, shape (n, d)
        Training rows.

    Examples
    --------
    >>> fit_scaler("zscore", np.array([[1.0, 5.0], [3.0, 5.0]])).apply(np.array([[5.0, 7.0]])).tolist()
    [[3.0, 0.0]]
    """
    empty = np.empty(0)
    if name in ROWWISE:
        return Scaler(name, empty, empty, np.empty((0, 0)))
    full = rows.astype(np.float64)
    center = full.mean(axis=0)
    full -= center
    if name == "zscore":
        spread = np.sqrt(np.einsum("ij,ij->j", full, full) / len(full))
        # The mean of a constant column has a rounding error, so its standard deviation is not exactly 0.
        varying = spread > 1e-7 * np.abs(center)
        return Scaler(
            name, center, np.divide(1.0, spread, out=np.zeros_like(spread), where=varying), np.empty((0, 0))
        )
    return Scaler(name, center, empty, _principal_components(full, whiten=name == "whiten"))


def _principal_components(centred: Floats, whiten: bool) -> Floats:
    count, width = centred.shape
    small = count <= width
    values, vectors = np.linalg.eigh(centred @ centred.T if small else centred.T @ centred)
    values, vectors = values[::-1].clip(0.0), vectors[:, ::-1]
    # Directions without variance hold rounding errors only; whitening would amplify them.
    positive = int((values > values[0] * 1e-12).sum())
    share = np.cumsum(values[:positive]) / max(values[:positive].sum(), np.finfo(np.float64).tiny)
    kept = min(positive, int(np.searchsorted(share, VARIANCE)) + 1)
    values, vectors = values[:kept], vectors[:, :kept]
    components = centred.T @ (vectors / np.sqrt(values)) if small else vectors
    scaled = components / np.sqrt(values / count) if whiten else components
    # Without variance there is no component; one component of zeros keeps the shapes valid.
    return np.ascontiguousarray(scaled) if kept else np.zeros((width, 1))
