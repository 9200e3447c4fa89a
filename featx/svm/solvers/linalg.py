"""LAPACK routines that work in place and release the GIL, packed linear systems, and threads.

The wrappers of scipy hold the GIL while they run; the Cholesky factorisation of numpy takes 1.6 to 2.2 times as long and
copies its argument (`python benchmarks/svm.py --only factors`). This module calls the routines that scipy exports for Cython by
their address.
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from threading import Semaphore
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from featx.errors import TrainingError

__all__ = [
    "INDEFINITE",
    "PackedSystem",
    "cholesky",
    "cholesky_solve",
    "in_threads",
    "lower_cholesky",
    "lower_solve",
    "one_blas_thread",
    "packed_cholesky",
    "packed_size",
    "packed_solve",
]


Floats = npt.NDArray[np.float64]


Singles = npt.NDArray[np.float32]


_POINTER = ctypes.c_void_p


# dpotrf(uplo, n, a, lda, info), dpotrs(uplo, n, nrhs, a, lda, b, ldb, info),
# dpftrf(transr, uplo, n, a, info), dpftrs(transr, uplo, n, nrhs, a, b, ldb, info); spotrs as dpotrs
_ARGUMENTS = {"dpotrf": 5, "dpotrs": 8, "spotrs": 8, "dpftrf": 5, "dpftrs": 8}


INDEFINITE = (
    "the Gram matrix of the features is not positive definite in working precision; scale the features, for example "
    "with --scaling l2"
)


@cache
def _routine(name: str) -> Any:
    from scipy.linalg import cython_lapack

    capsule = cython_lapack.__pyx_capi__[name]
    interface = ctypes.pythonapi
    interface.PyCapsule_GetName.restype = ctypes.c_char_p
    interface.PyCapsule_GetName.argtypes = [ctypes.py_object]
    interface.PyCapsule_GetPointer.restype = _POINTER
    interface.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    address = interface.PyCapsule_GetPointer(capsule, interface.PyCapsule_GetName(capsule))
    # A function of this type releases the GIL while it runs.
    return ctypes.CFUNCTYPE(None, *[_POINTER] * _ARGUMENTS[name])(address)


def _call(name: str, *arguments: str | int | Floats | Singles) -> int:
    """Call a routine and return its last argument, the status."""
    status = ctypes.c_int(0)
    _routine(name)(*[_reference(one) for one in arguments], ctypes.byref(status))
    return status.value


def _reference(one: str | int | Floats | Singles) -> Any:
    if isinstance(one, str):
        return one.encode()
    # The address of the array; a pointer object would keep the array in memory until garbage collection.
    return ctypes.byref(ctypes.c_int(one)) if isinstance(one, int) else one.ctypes.data


def cholesky(system: Floats) -> Floats:
    """Factorise a positive definite matrix in place.

    Parameters
    ----------
    system : ndarray of float64, shape (n, n), C order
        Symmetric; its lower triangle is overwritten by the factor.

    Returns
    -------
    ndarray of float64, shape (n, n)
        ``L`` in the lower triangle; the upper triangle is unchanged. It is the same array if that was in C order.

    Examples
    --------
    >>> np.tril(cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    count, system = len(system), np.ascontiguousarray(system)
    # A lower triangle in C order is an upper triangle in Fortran order, which LAPACK uses.
    if count and _call("dpotrf", "U", count, system, count):
        raise TrainingError(INDEFINITE)
    return system


def cholesky_solve(factor: Floats, right: Floats) -> Floats:
    """Solve ``L L' x = right``.

    Parameters
    ----------
    factor : ndarray of float64, shape (n, n), C order
        From `cholesky`.
    right : ndarray of float64, shape (n, k)
        Right-hand sides.

    Returns
    -------
    ndarray of float64, shape (n, k)
        Solutions.

    Examples
    --------
    >>> cholesky_solve(cholesky(np.array([[4.0]])), np.array([[8.0]])).tolist()
    [[2.0]]
    """
    solution = np.array(right, dtype=np.float64, order="F")
    if solution.size:
        _call("dpotrs", "U", len(factor), solution.shape[1], factor, len(factor), solution, len(factor))
    return solution


def lower_cholesky(system: Floats) -> bool:
    """Factorise a symmetric matrix in Fortran order in place; return whether it is positive definite.

    Only the lower triangle is read, and overwritten by the factor.
    """
    return not _call("dpotrf", "L", len(system), system, len(system))


def lower_solve(factor: Singles, right: Singles) -> Singles:
    """Solve ``L L' x = right`` in single precision, for a factor in the lower triangle of an array in Fortran order.

    Examples
    --------
    >>> lower_solve(np.asfortranarray([[2.0]], np.float32), np.asarray([[8.0]], np.float32)).tolist()
    [[2.0]]
    """
    solution = np.array(right, dtype=np.float32, order="F")
    count, columns = solution.shape
    _call("spotrs", "L", count, columns, factor, count, solution, count)
    return np.ascontiguousarray(solution)


def packed_cholesky(matrix: Floats) -> None:
    """Factorise a positive definite matrix in rectangular full packed format in place.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n / 2, n + 1), C order
        In the layout of `PackedSystem`; it is overwritten by the factor.
    """
    if _call("dpftrf", "N", "U", matrix.shape[1] - 1, matrix):
        raise TrainingError(INDEFINITE)


def packed_solve(factor: Floats, right: Floats) -> Floats:
    """Solve a linear system with its packed factor.

    Parameters
    ----------
    factor : ndarray of float64, shape (n / 2, n + 1), C order
        From `packed_cholesky`.
    right : ndarray of float64, shape (n, k)
        Right-hand sides.

    Returns
    -------
    ndarray of float64, shape (n, k)
        Solutions.
    """
    solution = np.array(right, dtype=np.float64, order="F")
    count, columns = solution.shape
    _call("dpftrs", "N", "U", count, columns, factor, solution, count)
    return solution


def packed_size(count: int) -> int:
    """Return the number of elements of a packed system with `count` rows.

    Examples
    --------
    >>> packed_size(4), packed_size(3)
    (10, 10)
    """
    half = (count + 1) // 2
    return half * (2 * half + 1)


class PackedSystem:
    """A symmetric positive definite matrix in packed format, filled row by row.

    If the number of rows is odd, one row of the identity matrix is added.

    Parameters
    ----------
    memory : ndarray of float64, shape (packed_size(count) or more,)
        Memory for the matrix.

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
        """Set rows of the lower triangle, after all earlier rows.

        Parameters
        ----------
        lines : ndarray of float64, shape (m, first + m)
            The rows, up to the diagonal of the last row; elements beyond the diagonal of each row are ignored.
        """
        half = self._half
        early = min(max(half - first, 0), len(lines))
        if early:  # later rows overwrite the elements outside of the triangle
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
        """Add values to the diagonal.

        Parameters
        ----------
        values : ndarray of float64, shape (count,)
            Values to add.
        """
        half, flat = self._half, self._packed.reshape(-1)
        flat[half + 1 :: 2 * half + 2] += values[:half]
        flat[half :: 2 * half + 2][: self.count - half] += values[half:]

    def solve(self, right: Floats) -> Floats:
        """Solve for right-hand sides; the matrix is overwritten.

        Parameters
        ----------
        right : ndarray of float64, shape (count, k)
            Right-hand sides.

        Returns
        -------
        ndarray of float64, shape (count, k)
            Solutions.
        """
        filled = np.zeros((2 * self._half, right.shape[1]))
        filled[: self.count] = right
        if self.count < len(filled):
            self._packed[-1, :-2], self._packed[-1, -2] = 0.0, 1.0
        packed_cholesky(self._packed)
        return packed_solve(self._packed, filled)[: self.count]


_Item = TypeVar("_Item")


_Result = TypeVar("_Result")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, so that sums keep their order; `in_threads` runs tasks in parallel."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def in_threads(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int,
    at_once: int | None = None,
) -> list[_Result]:
    """Apply a function to items in threads; the calling thread is one of them.

    Calls within calls share the threads: one that finds none free does its work alone. So there are never more than
    `workers` at work, and those that have no fold left help with the splits of others.

    Parameters
    ----------
    workers : int
        Number of threads, shared with calls from within `work` that have the same number.
    at_once : int, optional
        Most items at once; by default `workers`.

    Examples
    --------
    >>> in_threads(abs, [-1, 2], workers=2)
    [1, 2]
    """
    jobs = list(items)
    helpers = min(workers, at_once or workers, len(jobs)) - 1
    if helpers < 1:
        return [work(item) for item in jobs]
    waiting, results = deque(enumerate(jobs)), dict[int, _Result]()

    def one() -> bool:
        try:
            number, item = waiting.popleft()
        except IndexError:
            return False
        try:
            results[number] = work(item)
        except BaseException:
            waiting.clear()
            raise
        return True

    def help_out() -> None:
        while one():
            pass

    threads, futures = _threads(workers), list[Future[None]]()
    try:
        more = True
        while more:
            # Threads may become free in the meantime.
            while waiting and len(futures) < helpers and (future := threads.submit(help_out)):
                futures.append(future)
            more = one()
    finally:
        begun = [future for future in futures if not threads.cancelled(future)]
        wait(begun)
    for future in begun:
        future.result()
    return [results[number] for number in range(len(jobs))]


class _Threads:
    """Threads that take work only where one of them is free: what waits for a thread would keep its arrays meanwhile."""

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="featx-svm")
        self._free = Semaphore(count)

    def submit(self, work: Callable[[], None]) -> Future[None] | None:
        """Begin work, or return None if no thread is free."""
        return self._executor.submit(self._do, work) if self._free.acquire(blocking=False) else None

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._free.release()

    def cancelled(self, future: Future[None]) -> bool:
        """Take work back if its thread has not begun, and say whether that was so."""
        taken = future.cancel()
        if taken:
            self._free.release()
        return taken


@cache
def _threads(workers: int) -> _Threads:
    return _Threads(workers - 1)
