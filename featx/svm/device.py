"""Rows of features in the memory of a GPU: products with them, and the systems of those inside the margin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from featx.errors import TrainingError

from .lapack import INDEFINITE
from .rows import Products, Rows, Work

if TYPE_CHECKING:
    from featx.zoo import Accelerator

__all__ = ["DeviceRows", "DeviceSystem"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_Result = TypeVar("_Result")

# Rows in double precision at a time: with 4,096 columns half a gigabyte of the device's memory.
_BLOCK = 16_384


class DeviceRows(Rows):
    """Rows as `featx.svm.rows.Rows`, multiplied on a device, always in double precision.

    Parameters
    ----------
    features : ndarray of float32, shape (all, d)
        Features.
    lengths : ndarray of float64, shape (all,)
        What each row is divided by.
    workers : int
        Threads.
    numbers : ndarray of int64, shape (n,), optional
        Which rows, ascending; all if not given.
    device : Accelerator
        Where they go.
    """

    def __init__(
        self,
        features: npt.NDArray[np.floating[Any]],
        lengths: Floats,
        workers: int = 1,
        numbers: Ints | None = None,
        *,
        device: Accelerator,
    ) -> None:
        super().__init__(features, lengths, workers, numbers)
        self.device = device
        self._blocks = [slice(start, start + _BLOCK) for start in range(0, self.count, _BLOCK)]
        places = np.arange(self.count) if self._numbers is None else self._numbers
        self._there = [
            device.put(np.ascontiguousarray(features[places[part]], np.float32)) for part in self._blocks
        ]

    def gather(self) -> None:
        """Do nothing: the rows are gathered."""

    def times(self, weights: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
        """Multiply by columns of weights, the last row of which is the bias."""
        slopes = weights[:-1].astype(np.float64)
        result = np.concatenate([self.device.times(rows, slopes) for rows in self._there])
        result *= self._factors[:, None]
        return np.asarray(result + weights[-1], weights.dtype)

    def summed(self, coefficients: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
        """Sum the rows, a 1 behind each, with columns of coefficients."""
        scaled = coefficients.astype(np.float64) * self._factors[:, None]
        total = np.zeros((self.width + 1, coefficients.shape[1]))
        for part, rows in zip(self._blocks, self._there, strict=True):
            total[:-1] += self.device.summed(rows, scaled[part])
        total[-1] = coefficients.sum(axis=0)
        return np.asarray(total, coefficients.dtype)

    def weighted_gram(self, weights: Floats) -> npt.NDArray[np.float32]:
        """Compute ``sum_i weights_i x_i x_i'`` with a 1 behind each row."""
        total = np.zeros((self.width + 1, self.width + 1))
        roots = np.sqrt(weights) * self._factors
        for part, rows in zip(self._blocks, self._there, strict=True):
            total[:-1, :-1] += self.device.gram(rows, roots[part])
        total[-1] = self.summed(weights[:, None])[:, 0]
        return np.asarray(total, np.float32, order="F")

    def products(self) -> Products:
        """Return these rows: a device computes products faster than it would keep them."""
        return self

    def each(self, inside: Bools, work: Work[_Result], workers: int) -> list[_Result]:
        """Work on the products of several sets of rows, as `InnerProducts.each`, but one after the other."""
        columns = range(inside.shape[1])
        return [work(column, *self.system(np.flatnonzero(inside[:, column]))) for column in columns]

    def system(self, numbers: Ints) -> tuple[Ints, DeviceSystem]:
        """Take the products of some rows with each other.

        Parameters
        ----------
        numbers : ndarray of int64, shape (m,)
            Rows.

        Returns
        -------
        numbers : ndarray of int64, shape (m,)
            The same rows.
        matrix : DeviceSystem
            Products.
        """
        rows = self._block(numbers).astype(np.float32)
        return numbers, DeviceSystem(self.device, self.device.put(rows), self._factors[numbers])


class DeviceSystem:
    """Inner products of some rows, made where they are solved; as `featx.svm.packed.PackedSystem`.

    Parameters
    ----------
    device : Accelerator
        Where the rows are.
    rows : array of the device's library, shape (m, d)
        The rows.
    factors : ndarray of float64, shape (m,)
        What each row is multiplied by.
    """

    def __init__(self, device: Accelerator, rows: Any, factors: Floats) -> None:
        self._device, self._rows, self._factors = device, rows, factors
        self._shift, self._diagonal = 0.0, np.zeros(len(factors))

    def add(self, value: float) -> None:
        """Add a number to every element."""
        self._shift += value

    def add_diagonal(self, values: Floats) -> None:
        """Add numbers to the diagonal."""
        self._diagonal += values

    def solve(self, right: Floats) -> Floats:
        """Solve for right sides, shape (m, k), or raise `TrainingError` as `PackedSystem` does."""
        found = self._device.solve(self._rows, self._factors, self._shift, self._diagonal, right)
        if not np.isfinite(found).all():
            raise TrainingError(INDEFINITE)
        return found
