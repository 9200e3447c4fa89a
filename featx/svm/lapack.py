"""LAPACK routines that work in place and leave the interpreter to other threads.

scipy's own wrappers hold Python's lock while they run, and numpy's Cholesky copies its argument and takes twice as
long. The routines here are those that scipy exports for Cython, called by their address.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import TrainingError

__all__ = ["INDEFINITE", "cholesky", "cholesky_solve", "packed_cholesky", "packed_solve"]

Floats = npt.NDArray[np.float64]

_POINTER = ctypes.c_void_p
# dpotrf(uplo, n, a, lda, info), dpotrs(uplo, n, nrhs, a, lda, b, ldb, info),
# dpftrf(transr, uplo, n, a, info), dpftrs(transr, uplo, n, nrhs, a, b, ldb, info)
_ARGUMENTS = {"dpotrf": 5, "dpotrs": 8, "dpftrf": 5, "dpftrs": 8}
INDEFINITE = (
    "the Gram matrix of the features is not positive definite to working precision; scale the features"
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
    # A function of this kind releases the lock while it runs.
    return ctypes.CFUNCTYPE(None, *[_POINTER] * _ARGUMENTS[name])(address)


def _call(name: str, *arguments: str | int | Floats) -> int:
    """Call a routine; its last argument, the status, is returned."""
    status = ctypes.c_int(0)
    _routine(name)(*[_reference(one) for one in arguments], ctypes.byref(status))
    return status.value


def _reference(one: str | int | Floats) -> Any:
    if isinstance(one, str):
        return one.encode()
    # An array's address, not a pointer that holds it: such pointers live on until the garbage collector comes.
    return ctypes.byref(ctypes.c_int(one)) if isinstance(one, int) else one.ctypes.data


def cholesky(system: Floats) -> Floats:
    """Factorise a positive definite matrix in its own memory.

    Parameters
    ----------
    system : ndarray of float64, shape (n, n), C order
        Symmetric; its lower triangle is overwritten by the factor.

    Returns
    -------
    ndarray of float64, shape (n, n)
        ``L`` in the lower triangle, the rest as it was: the same array, if that was in C order.

    Raises
    ------
    TrainingError
        If the matrix is not positive definite to working precision.

    Examples
    --------
    >>> np.tril(cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    count, system = len(system), np.ascontiguousarray(system)
    # What is a lower triangle by rows is an upper one by columns, as LAPACK reads it.
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
        Right sides.

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


def packed_cholesky(matrix: Floats) -> None:
    """Factorise a positive definite matrix in rectangular full packed format in its own memory.

    Parameters
    ----------
    matrix : ndarray of float64, shape (n / 2, n + 1), C order
        As `featx.svm.packed` lays it out; overwritten by the factor.

    Raises
    ------
    TrainingError
        If the matrix is not positive definite to working precision.
    """
    if _call("dpftrf", "N", "U", matrix.shape[1] - 1, matrix):
        raise TrainingError(INDEFINITE)


def packed_solve(factor: Floats, right: Floats) -> Floats:
    """Solve a system by its packed factor.

    Parameters
    ----------
    factor : ndarray of float64, shape (n / 2, n + 1), C order
        From `packed_cholesky`.
    right : ndarray of float64, shape (n, k)
        Right sides.

    Returns
    -------
    ndarray of float64, shape (n, k)
        Solutions.
    """
    solution = np.array(right, dtype=np.float64, order="F")
    count, columns = solution.shape
    _call("dpftrs", "N", "U", count, columns, factor, solution, count)
    return solution
