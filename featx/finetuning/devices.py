"""All accelerators of the machine at once: every one gets an equal share of a batch.

Under TensorFlow by a mirrored strategy, under JAX by `keras.distribution`; under PyTorch one device is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

__all__ = ["Devices", "find_devices"]


class Devices:
    """One device: arrays go through as they are.

    Attributes
    ----------
    count : int
        Devices that share a batch.
    """

    count = 1

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Build networks in here."""
        yield

    def spread(self, arrays: Sequence[NDArray[Any]]) -> tuple[Any, ...]:
        """Give every device its share of the rows.

        Parameters
        ----------
        arrays : sequence of ndarray
            Of equal length, a multiple of `count`.

        Returns
        -------
        tuple
            What `train_on_batch` takes.
        """
        return tuple(arrays)


class _Mirrored(Devices):
    """TensorFlow: a copy of the network on each device, gradients summed up."""

    def __init__(self, names: Sequence[str]) -> None:
        import tensorflow as tf

        self._strategy, self.count = tf.distribute.MirroredStrategy(list(names)), len(names)

    @contextmanager
    def scope(self) -> Iterator[None]:
        with self._strategy.scope():
            yield

    def spread(self, arrays: Sequence[NDArray[Any]]) -> tuple[Any, ...]:
        import tensorflow as tf

        def share(array: NDArray[Any]) -> Any:
            parts = [tf.constant(part) for part in np.split(array, self.count)]
            pick = self._strategy.experimental_distribute_values_from_function
            return pick(lambda context: parts[context.replica_id_in_sync_group])

        return tuple(share(array) for array in arrays)


class _Sharded(Devices):
    """JAX: Keras distributes batches itself once a distribution is set."""

    def __init__(self, names: Sequence[str]) -> None:
        self._distribution, self.count = keras.distribution.DataParallel(devices=list(names)), len(names)

    @contextmanager
    def scope(self) -> Iterator[None]:
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(self._distribution)
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)


def find_devices(images: int) -> Devices:
    """Find the devices to train on.

    Parameters
    ----------
    images : int
        Images that go through at once; as many devices are used as divide them evenly.

    Returns
    -------
    Devices
        All accelerators, or the processor if there are none.
    """
    backend = keras.backend.backend()
    if backend not in _KINDS:
        return Devices()
    lister, kind = _KINDS[backend]
    names = lister()
    count = max(number for number in range(1, max(len(names), 1) + 1) if images % number == 0)
    return kind(names[:count]) if count > 1 else Devices()


def _tensorflow_devices() -> list[str]:
    import tensorflow as tf

    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def _jax_devices() -> list[str]:
    return list(keras.distribution.list_devices())


_KINDS: dict[str, tuple[Any, Any]] = {
    "tensorflow": (_tensorflow_devices, _Mirrored),
    "jax": (_jax_devices, _Sharded),
}
