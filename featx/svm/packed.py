"""Symmetric positive definite systems in half the memory of a square, solved at a square's speed.

Rectangular full packed format (Gustavson, Wasniewski, Dongarra & Langou 2010, ACM Transactions on Mathematical
Software 37(2), 18): of n lines, n even, the lower triangle of the later n / 2 and the transposed one of the earlier fit
into a rectangle of n / 2 lines and n + 1 columns, on which LAPACK works by blocks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .lapack import packed_cholesky, packed_solve

__all__ = ["PackedSystem", "packed_size"]

Floats = npt.NDArray[np.float64]


def packed_size(count: int) -> int:
    """Tell how many numbers a system of so many lines takes.

    Examples
    --------
    >>> packed_size(4), packed_size(3)
    (10, 10)
    """
    half = (count + 1) // 2
    return half * (2 * half + 1)


class PackedSystem:
    """A symmetric positive definite matrix, filled line by line.

    An odd number of lines is filled up by one of the unit matrix.

    Parameters
    ----------
    memory : ndarray of float64, shape (packed_size(count) or more,)
        Where the matrix goes.
    count : int
        Lines, at least 1.

    Examples
    --------
    >>> system = PackedSystem(np.empty(packed_size(2)), 2)
    >>> system.put(0, np.array([[4.0, 0.0], [2.0, 5.0]]))
    >>> system.solve(np.array([[8.0], [12.0]])).ravel().tolist()
    [1.0, 2.0]
    """

    def __init__(self, memory: Floats, count: int) -> None:
        self.count = count
        self._half = (count + 1) // 2
        self._packed = memory[: packed_size(count)].reshape(self._half, 2 * self._half + 1)

    def put(self, first: int, lines: Floats) -> None:
        """Put in some lines of the lower triangle; earlier ones have to be there already.

        Parameters
        ----------
        first : int
            Number of the first line.
        lines : ndarray of float64, shape (m, first + m)
            The lines, each up to the last one's diagonal; what is beyond its own is not looked at.
        """
        half = self._half
        early = min(max(half - first, 0), len(lines))
        if early:  # what this puts beside the triangle later lines overwrite
            end = first + early
            self._packed[:end, half + 1 + first : half + 1 + end] = lines[:early, :end].T
        if early < len(lines):
            start, end = first + early, first + len(lines)
            rows = slice(start - half, end - half)
            self._packed[rows, :start] = lines[early:, :start]
            corner = np.tri(end - start, dtype=np.bool_)
            np.copyto(self._packed[rows, start:end], lines[early:, start:end], where=corner)

    def add(self, value: float) -> None:
        """Add a number to every element."""
        self._packed += value

    def add_diagonal(self, values: Floats) -> None:
        """Add numbers to the diagonal.

        Parameters
        ----------
        values : ndarray of float64, shape (count,)
            The numbers.
        """
        half, flat = self._half, self._packed.reshape(-1)
        flat[half + 1 :: 2 * half + 2] += values[:half]
        flat[half :: 2 * half + 2][: self.count - half] += values[half:]

    def solve(self, right: Floats) -> Floats:
        """Solve for right sides; the matrix is lost.

        Parameters
        ----------
        right : ndarray of float64, shape (count, k)
            Right sides.

        Returns
        -------
        ndarray of float64, shape (count, k)
            Solutions.

        Raises
        ------
        TrainingError
            If the matrix is not positive definite to working precision.
        """
        filled = np.zeros((2 * self._half, right.shape[1]))
        filled[: self.count] = right
        if self.count < len(filled):
            self._packed[-1, :-2], self._packed[-1, -2] = 0.0, 1.0
        packed_cholesky(self._packed)
        return packed_solve(self._packed, filled)[: self.count]
