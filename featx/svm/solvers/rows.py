"""Products with rows of features, block by block, in single or double precision."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from featx.svm.solvers.linalg import PackedSystem, in_threads, packed_size

__all__ = ["InnerProducts", "Rows", "Work"]


Floats = npt.NDArray[np.float64]


Ints = npt.NDArray[np.int64]


Bools = npt.NDArray[np.bool_]


_BLOCK = 512


_PANEL = 512


# Rows of a band of inner products, and rows converted to double precision at a time.
_BAND = 256


# Free places for new rows, as a fraction of the requested rows.
_SPARE = 0.03


_Result = TypeVar("_Result")


Work = Callable[[int, Ints, PackedSystem], _Result]


class Rows:
    """Rows of a feature matrix, for products.

    Products are computed in blocks of a fixed size and summed in order, so they do not depend on the number of threads.

    Parameters
    ----------
    features : ndarray of float32, shape (all, d)
        Features; may be memory-mapped.
    lengths : ndarray of float64, shape (all,)
        Divisor of each row.
    numbers : ndarray of int64, shape (n,), optional
        Row indices, ascending; by default all rows.
    """

    def __init__(
        self,
        features: npt.NDArray[np.floating[Any]],
        lengths: Floats,
        workers: int = 1,
        numbers: Ints | None = None,
    ) -> None:
        self._features = features
        self._numbers = None if numbers is None or len(numbers) == len(features) else numbers
        self._copy = features if self._numbers is None else None
        self._factors = 1.0 / (lengths if self._numbers is None else lengths[self._numbers])
        self.workers = workers
        self.count, self.width = len(self._factors), features.shape[1]
        self._parts = [slice(start, start + _BLOCK) for start in range(0, self.count, _BLOCK)]

    def gather(self) -> None:
        """Copy the rows into a contiguous matrix; products then take about two thirds of the time."""
        if self._copy is None:
            self._copy = self._features[self._numbers]

    def release(self) -> None:
        """Free the memory of the copy."""
        if self._numbers is not None:
            self._copy = None

    def _block(self, part: slice | Ints) -> npt.NDArray[np.floating[Any]]:
        if self._copy is not None:
            return self._copy[part]
        assert self._numbers is not None
        return self._features[self._numbers[part]]

    def times(self, weights: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
        """Multiply the rows by weights, whose last row is the intercept, in the precision of the weights."""
        result = np.empty((self.count, weights.shape[1]), weights.dtype)
        slopes, biases = weights[:-1], weights[-1]

        def fill(part: slice) -> None:
            product = self._block(part).astype(weights.dtype, copy=False) @ slopes
            product *= self._factors[part, None].astype(weights.dtype)
            result[part] = product + biases

        in_threads(fill, self._parts, self.workers)
        return result

    def summed(self, coefficients: npt.NDArray[np.floating[Any]]) -> npt.NDArray[Any]:
        """Sum the rows (with a 1 appended) times coefficients, in the precision of the coefficients."""

        def part_sum(part: slice) -> npt.NDArray[Any]:
            scaled = coefficients[part] * self._factors[part, None].astype(coefficients.dtype)
            return np.asarray(self._block(part).astype(coefficients.dtype, copy=False).T @ scaled)

        total = np.zeros((self.width + 1, coefficients.shape[1]), coefficients.dtype)
        for product in in_threads(part_sum, self._parts, self.workers):
            total[:-1] += product
        total[-1] = coefficients.sum(axis=0)
        return total

    def weighted_gram(self, weights: Floats) -> npt.NDArray[np.float32]:
        """Compute ``sum_i weights_i x_i x_i'`` (lower triangle) with a 1 appended to each row, in single precision."""
        used = np.flatnonzero(weights)
        roots = np.sqrt(weights[used])
        gram = np.zeros((self.width + 1, self.width + 1), np.float32, order="F")

        def fill(start: int) -> None:
            panel = slice(start, min(start + _PANEL, self.width))
            total = np.zeros((self.width - start, panel.stop - start))
            for first in range(0, len(used), 2 * _BLOCK):
                rows = used[first : first + 2 * _BLOCK]
                scale = (roots[first : first + 2 * _BLOCK] * self._factors[rows]).astype(np.float32)
                block = self._block(rows)[:, start:].astype(np.float32, copy=False) * scale[:, None]
                total += block.T @ block[:, : panel.stop - start]
            gram[start : self.width, panel] = total

        in_threads(fill, range(0, self.width, _PANEL), self.workers)
        gram[-1] = self.summed(weights[:, None])[:, 0]
        return gram

    def products(self) -> InnerProducts:
        """Return an empty store for inner products of these rows."""
        return InnerProducts(self)

    def scaled(self, numbers: Ints) -> Floats:
        """Return rows divided by their lengths, in double precision."""
        return self._block(numbers).astype(np.float64) * self._factors[numbers, None]


class InnerProducts:
    """Inner products in double precision of the rows that were requested last (lower triangle).

    New rows take the places of rows that are no longer requested, so a set of rows that changes slowly needs no second
    matrix.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._held = np.empty(0, dtype=np.int64)  # the row in each place, -1 for none
        self._places = np.full(rows.count, -1, dtype=np.int64)
        self._bands: list[
            Floats
        ] = []  # rows of the triangle, `_BAND` at a time, up to the diagonal of the last row

    def cover(self, numbers: Ints) -> None:
        """Compute the inner products of rows that are not held yet.

        Parameters
        ----------
        numbers : ndarray of int64, shape (m,)
            Row indices; other rows may be dropped.
        """
        missing = numbers[self._places[numbers] < 0]
        free = np.setdiff1d(np.arange(len(self._held)), self._places[numbers])
        if len(missing) > len(free):
            self._bands = []  # frees its memory before the next allocation
            size = len(numbers) + int(_SPARE * len(numbers))
            self._bands = [np.zeros((_BAND, start + _BAND)) for start in range(0, size, _BAND)]
            self._held, self._places[:] = np.full(len(self._bands) * _BAND, -1), -1
            missing, free = numbers, np.arange(len(self._held))
        if len(missing):
            self._place(missing, free[: len(missing)])

    def _place(self, numbers: Ints, places: Ints) -> None:
        dropped = self._held[places]
        self._places[dropped[dropped >= 0]] = -1
        self._held[places], self._places[numbers] = numbers, places
        new = np.zeros(len(self._held), dtype=np.bool_)
        new[places] = True
        in_threads(lambda band: self._fill(band, new), range(len(self._bands)), self._rows.workers)

    def _fill(self, number: int, new: npt.NDArray[np.bool_]) -> None:
        """Compute the columns and rows of one band that belong to new rows."""
        band, first = self._bands[number], number * _BAND
        used = self._held >= 0
        lines = np.flatnonzero(used[first : first + _BAND]) + first
        fresh = lines[new[lines]]
        before = np.arange(first + _BAND)
        for some, columns in ((lines, before[new[before]]), (fresh, before[used[before] & ~new[before]])):
            if not len(some):
                continue
            left = self._rows.scaled(self._held[some])
            for start in range(0, len(columns), _BAND):
                part = columns[start : start + _BAND]
                band[np.ix_(some - first, part)] = left @ self._rows.scaled(self._held[part]).T

    def each(self, inside: Bools, work: Work[_Result], workers: int) -> list[_Result]:
        """Apply `work` to the inner products of each set of rows.

        Parameters
        ----------
        inside : ndarray of bool, shape (n, m)
            The sets, one in each column.
        """
        self.cover(np.flatnonzero(inside.any(axis=1)))
        # Memory of one system for each thread, allocated once: memory that threads allocate and free stays in their arenas.
        largest = int(inside.sum(axis=0).max())
        systems: SimpleQueue[Floats] = SimpleQueue()
        for _ in range(min(workers, inside.shape[1])):
            systems.put(np.empty(packed_size(largest)))

        def one(column: int) -> _Result:
            memory = systems.get()
            try:
                return work(column, *self.piece(np.flatnonzero(inside[:, column]), memory))
            finally:
                systems.put(memory)

        return in_threads(one, range(inside.shape[1]), workers)

    def piece(self, numbers: Ints, memory: Floats) -> tuple[Ints, PackedSystem]:
        """Return the inner products of rows with each other.

        Parameters
        ----------
        numbers : ndarray of int64, shape (m,)
            Row indices, passed to `cover` before.
        memory : ndarray of float64, shape (packed_size(m) or more,)
            Memory for the matrix.

        Returns
        -------
        numbers : ndarray of int64, shape (m,)
            The same row indices in the order of the matrix.
        matrix : PackedSystem
            Inner products.
        """
        places = np.sort(self._places[numbers])
        matrix = PackedSystem(memory, len(places))
        ends = np.searchsorted(places, [(band + 1) * _BAND for band in range(len(self._bands))])
        begin = 0
        for band, end in enumerate(ends):
            lines = self._bands[band].take(places[begin:end] - band * _BAND, axis=0)
            matrix.put(begin, lines.take(places[:end], axis=1))
            begin = end
        return self._held[places], matrix
