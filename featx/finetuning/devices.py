"""Data-parallel training on all devices of a machine, and deterministic training on a CPU.

TensorFlow uses a mirrored strategy, JAX `keras.distribution`; PyTorch uses one device.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from featx.gpus import Device

__all__ = ["Devices", "find_devices", "make_deterministic", "slow_training"]


class Devices:
    """One device, which takes arrays as they are; `count` is the number of devices that a batch is split over."""

    count = 1

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Enter the scope in which networks have to be built."""
        yield

    def split(self, arrays: Sequence[NDArray[Any]]) -> tuple[Any, ...]:
        """Split arrays, whose length is a multiple of `count`, over the devices."""
        return tuple(arrays)


class _OneOf(Devices):
    """One of several devices, whose name Keras knows."""

    def __init__(self, name: str) -> None:
        self._name = name

    @contextmanager
    def scope(self) -> Iterator[None]:
        with keras.device(self._name):
            yield


class _Mirrored(Devices):
    """TensorFlow: a replica of the network on each device; gradients are summed."""

    def __init__(self, names: Sequence[str]) -> None:
        import tensorflow as tf

        self._strategy, self.count = tf.distribute.MirroredStrategy(list(names)), len(names)

    @contextmanager
    def scope(self) -> Iterator[None]:
        with self._strategy.scope():
            yield

    def split(self, arrays: Sequence[NDArray[Any]]) -> tuple[Any, ...]:
        import tensorflow as tf

        def over_devices(array: NDArray[Any]) -> Any:
            parts = [tf.constant(part) for part in np.split(array, self.count)]
            pick = self._strategy.experimental_distribute_values_from_function
            return pick(lambda context: parts[context.replica_id_in_sync_group])

        return tuple(over_devices(array) for array in arrays)


class _Sharded(Devices):
    """JAX: Keras splits batches itself once a distribution is set."""

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


def make_deterministic() -> bool:
    """Make TensorFlow on a CPU run one operation at a time, each on all threads.

    Where a layer's output is used more than twice, its gradients are summed, and TensorFlow starts with the one whose
    memory it can reuse. Which one that is depends on what runs at the same time, so that sums differ in the last bit
    and two trainings soon diverge. Running one operation at a time costs no measurable time, since each still uses
    every thread.

    Returns
    -------
    bool
        False if TensorFlow was used before in this process, which fixes its settings. True also if nothing has to be
        set: with another backend, or on a GPU, which is not bitwise reproducible in any case.
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


def slow_training(wanted: Device | None = None) -> str:
    """Warn of a backend that trains slowly on the wanted device (None: any that there is); empty where none is known.

    The figure is of one network on two cores; other networks and processors have other ones.
    """
    if keras.backend.backend() != "jax" or (wanted.kind == "gpu" if wanted else _jax_has_gpu()):
        return ""
    return (
        "JAX trains slowly on a CPU: it was measured at 5 images/s where TensorFlow reached 80; set "
        "KERAS_BACKEND=tensorflow, or train on a GPU"
    )


def _jax_has_gpu() -> bool:
    import jax

    return any(device.platform != "cpu" for device in jax.devices())


def find_devices(images: int, wanted: Device | None = None) -> Devices:
    """Find the devices that a batch of so many images can be split over evenly: the wanted one, or all."""
    if wanted is not None:
        return _OneOf(str(wanted))
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
