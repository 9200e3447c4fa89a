"""Linear algebra in double precision on a GPU, by the array library that the backend of Keras brings.

Imported late, since it imports that library.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ConfigError

__all__ = ["Accelerator", "find_accelerator"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Accelerator:
    """What a device does with rows of features that lie in its memory.

    Attributes
    ----------
    library : str
        ``"tensorflow"``, ``"jax"`` or ``"torch"``.
    put : callable
        Takes an ndarray of float32; returns it in the device's memory.
    times : callable
        Takes rows there, shape (n, d), and an ndarray of float64, shape (d, k); returns their product.
    summed : callable
        Takes rows there and an ndarray of float64, shape (n, k); returns the rows' sums, shape (d, k).
    gram : callable
        Takes rows there and factors, ndarray of float64, shape (n,); returns ``sum_i factors_i^2 x_i x_i'``.
    solve : callable
        Takes rows there, factors, a number, a diagonal of shape (n,) and right sides of shape (n, k); solves
        ``(factors_i factors_j x_i . x_j + number + diagonal) s = right`` and returns ``s``, with a NaN in it if the
        matrix is not positive definite.
    """

    library: str
    put: Callable[[npt.NDArray[np.float32]], Any]
    times: Callable[[Any, Floats], Floats]
    summed: Callable[[Any, Floats], Floats]
    gram: Callable[[Any, Floats], Floats]
    solve: Callable[[Any, Floats, float, Floats, Floats], Floats]


def find_accelerator(require_gpu: bool = True) -> Accelerator:
    """Find the device that the backend of Keras would use.

    Parameters
    ----------
    require_gpu : bool
        Refuse a processor.

    Returns
    -------
    Accelerator
        The first GPU.

    Raises
    ------
    ConfigError
        If there is none, or the library is not installed.
    """
    name = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name not in _LIBRARIES:
        raise ConfigError(
            f"KERAS_BACKEND={name!r} has no arrays on a GPU; use one of {', '.join(_LIBRARIES)}"
        )
    try:
        found, has_gpu = _LIBRARIES[name]()
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{name} is not installed; set KERAS_BACKEND to one of {', '.join(_LIBRARIES)}"
        ) from error
    if require_gpu and not has_gpu:
        raise ConfigError(
            f"{name} sees no GPU here; leave --solver out, or set KERAS_BACKEND to a library that does"
        )
    return found


def _tensorflow() -> tuple[Accelerator, bool]:
    import tensorflow as tf

    def wide(values: Any) -> Any:
        return tf.cast(values, tf.float64)

    def solve(rows: Any, factors: Floats, shift: float, diagonal: Floats, right: Floats) -> Floats:
        scaled = wide(rows) * factors[:, None]
        system = tf.matmul(scaled, scaled, transpose_b=True) + shift
        system = tf.linalg.set_diag(system, tf.linalg.diag_part(system) + diagonal)
        try:
            factor = tf.linalg.cholesky(system)
        except tf.errors.InvalidArgumentError:  # on a processor; a GPU gives out NaN
            return np.full_like(right, np.nan)
        return np.asarray(tf.linalg.cholesky_solve(factor, right).numpy())

    def gram(rows: Any, factors: Floats) -> Floats:
        scaled = wide(rows) * factors[:, None]
        return np.asarray(tf.matmul(scaled, scaled, transpose_a=True).numpy())

    device = Accelerator(
        "tensorflow",
        put=tf.convert_to_tensor,
        times=lambda rows, weights: np.asarray(tf.matmul(wide(rows), weights).numpy()),
        summed=lambda rows, weights: np.asarray(tf.matmul(wide(rows), weights, transpose_a=True).numpy()),
        gram=gram,
        solve=solve,
    )
    return device, bool(tf.config.list_physical_devices("GPU"))


def _torch() -> tuple[Accelerator, bool]:
    import torch

    has_gpu = torch.cuda.is_available()
    place = torch.device("cuda" if has_gpu else "cpu")

    def wide(values: Any) -> Any:
        return torch.as_tensor(values).to(place, torch.float64)

    def solve(rows: Any, factors: Floats, shift: float, diagonal: Floats, right: Floats) -> Floats:
        scaled = wide(rows) * wide(factors)[:, None]
        system = scaled @ scaled.T + shift
        system.diagonal().add_(wide(diagonal))
        factor, failed = torch.linalg.cholesky_ex(system)
        if failed:
            return np.full_like(right, np.nan)
        return np.asarray(torch.cholesky_solve(wide(right), factor).cpu().numpy())

    def gram(rows: Any, factors: Floats) -> Floats:
        scaled = wide(rows) * wide(factors)[:, None]
        return np.asarray((scaled.T @ scaled).cpu().numpy())

    device = Accelerator(
        "torch",
        put=lambda values: torch.as_tensor(values).to(place),
        times=lambda rows, weights: np.asarray((wide(rows) @ wide(weights)).cpu().numpy()),
        summed=lambda rows, weights: np.asarray((wide(rows).T @ wide(weights)).cpu().numpy()),
        gram=gram,
        solve=solve,
    )
    return device, has_gpu


def _jax() -> tuple[Accelerator, bool]:
    import jax
    import jax.numpy as jnp

    # Wide numbers are a setting of the process in JAX: put back after each computation, since networks run without.
    enable_x64: Any = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64

    def wide(values: Any) -> Any:
        return jnp.asarray(values, jnp.float64)

    def solve(rows: Any, factors: Floats, shift: float, diagonal: Floats, right: Floats) -> Floats:
        with enable_x64(True):
            scaled = wide(rows) * wide(factors)[:, None]
            system = scaled @ scaled.T + shift + jnp.diag(wide(diagonal))
            return np.asarray(jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(system), wide(right)))

    def gram(rows: Any, factors: Floats) -> Floats:
        with enable_x64(True):
            scaled = wide(rows) * wide(factors)[:, None]
            return np.asarray(scaled.T @ scaled)

    def times(rows: Any, weights: Floats) -> Floats:
        with enable_x64(True):
            return np.asarray(wide(rows) @ wide(weights))

    def summed(rows: Any, weights: Floats) -> Floats:
        with enable_x64(True):
            return np.asarray(wide(rows).T @ wide(weights))

    device = Accelerator("jax", jnp.asarray, times, summed, gram, solve)
    return device, jax.default_backend() != "cpu"


_LIBRARIES: dict[str, Callable[[], tuple[Accelerator, bool]]] = {
    "tensorflow": _tensorflow,
    "jax": _jax,
    "torch": _torch,
}
