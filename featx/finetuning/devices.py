"""All accelerators of the machine at once: every one gets an equal share of a batch; and a processor in order.

Under TensorFlow by a mirrored strategy, under JAX by `keras.distribution`; under PyTorch one device is used.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

__all__ = ["Devices", "compute_in_order", "find_devices"]


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


def compute_in_order() -> bool:
    """Let TensorFlow on a processor compute one operation after the other, each on all threads.

    Where a layer's output is used more than twice, its gradients are added up, and TensorFlow begins with the one
    whose memory it can take over. Which that is depends on what happens to be computed at the same time: sums
    differ in the last bit, and two trainings soon in all. Ordered operations cost no measurable time, since each
    still uses every thread.

    Returns
    -------
    bool
        False where TensorFlow was at work before and can no longer be told; true too where there is nothing to tell:
        under another backend, and on a GPU, which does not repeat itself to the bit in any case.
    """
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return True
    given = tf.config.threading.get_inter_op_parallelism_threads()
    if (given or int(os.environ.get("TF_NUM_INTEROP_THREADS") or 0)) == 1:
        return True
    try:
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        return False
    return True


def find_devices(images: int) -> Devices:
    """Find the devices to train on."""
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
