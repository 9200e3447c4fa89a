"""Engines: what runs the forward pass, behind one small interface.

An engine is started on a batch and gives back a function that waits for the outputs, so that an engine that works
beside Python (a GPU, OpenVINO's streams) always has the next batch at hand. All batches have one fixed shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from featx.errors import ConfigError

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = [
    "ENGINES",
    "Batch",
    "Device",
    "Engine",
    "KerasEngine",
    "Outputs",
    "choose_device",
    "parse_device",
    "reference_outputs",
    "set_threads",
    "tensor_float_32",
]

ENGINES = ("auto", "keras", "openvino")

Batch = npt.NDArray[np.uint8]
Outputs = list[npt.NDArray[np.float32]]


class Engine(Protocol):
    """Runs one network on batches of one shape.

    Attributes
    ----------
    name : str
        As in `ENGINES`.
    in_flight : int
        Batches that are worth having started at a time.
    """

    name: str
    in_flight: int

    def start(self, batch: Batch) -> Callable[[], Outputs]:
        """Start on a batch of shape (rows, side, side, 3); call the result for one (rows, width) array a layer."""


@dataclass(frozen=True)
class Device:
    """Where the forward pass runs.

    Attributes
    ----------
    kind : str
        ``"cpu"`` or ``"gpu"``.
    index : int
        Which of several.
    """

    kind: str = "cpu"
    index: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}"


def parse_device(text: str) -> Device | None:
    """Read a device's name.

    Parameters
    ----------
    text : str
        ``"auto"``, ``"cpu"``, ``"gpu"`` or ``"gpu:N"``.

    Returns
    -------
    Device or None
        None for ``"auto"``.

    Raises
    ------
    ConfigError
        For any other text.

    Examples
    --------
    >>> str(parse_device("gpu:1"))
    'gpu:1'
    """
    kind, _, index = text.lower().partition(":")
    if text == "auto":
        return None
    if kind not in ("cpu", "gpu") or not (index.isdigit() or (index == "" and ":" not in text)):
        raise ConfigError(f"The 'device' parameter must be auto, cpu, gpu or gpu:N. Got {text!r} instead.")
    return Device(kind, int(index or 0))


def choose_device(wanted: Device | None) -> Device:
    """Settle on a device that Keras can use.

    Parameters
    ----------
    wanted : Device or None
        None for a GPU where there is one, else the CPU.

    Returns
    -------
    Device
        The device.

    Raises
    ------
    ConfigError
        If a GPU is wanted that Keras does not see.
    """
    if wanted is not None and wanted.kind == "cpu":
        return wanted
    found = _gpus()
    if wanted is None:
        return Device("gpu") if found else Device("cpu")
    if wanted.index >= found:
        raise ConfigError(
            f"The 'device' parameter is {wanted}, but Keras on {_backend()} sees {found} GPUs; "
            "use --device cpu, or install the GPU build of the backend"
        )
    return wanted


def _backend() -> str:
    import keras

    return str(keras.config.backend())


def _gpus() -> int:
    """Count the GPUs, and keep TensorFlow from taking all memory of each."""
    backend = _backend()
    if backend == "torch":
        import torch

        return int(torch.cuda.device_count())
    if backend == "jax":
        import jax

        return sum(device.platform == "gpu" for device in jax.devices())
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        with suppress(RuntimeError):  # in use already: its memory has been settled
            tf.config.experimental.set_memory_growth(gpu, True)
    return len(gpus)


def set_threads(threads: int) -> None:
    """Limit the threads of the forward pass, before its first use in the process.

    Parameters
    ----------
    threads : int
        Threads.

    Raises
    ------
    ConfigError
        If the backend is at work already, or cannot be told.
    """
    backend = _backend()
    try:
        if backend == "tensorflow":
            import tensorflow as tf

            if tf.config.threading.get_intra_op_parallelism_threads() != threads:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
        elif backend == "torch":
            import torch

            torch.set_num_threads(threads)
        else:
            raise ConfigError(f"The 'threads' parameter does not reach Keras on {backend}; leave it out")
    except RuntimeError as error:
        raise ConfigError(
            "The 'threads' parameter must be set before the process first computes; start a new one"
        ) from error


@contextmanager
def tensor_float_32(wanted: bool) -> Iterator[None]:
    """Let the backend of Keras multiply in TF32, or not, and put its own choice back at the end.

    NVIDIA GPUs from Ampere on round the factors of float32 products to ten bits of mantissa where this is allowed:
    features would differ from those of a CPU by 1e-3 of the largest instead of 1e-5.

    Parameters
    ----------
    wanted : bool
        Whether to allow it.
    """
    with _TF32[_backend()](wanted):
        yield


@contextmanager
def _tf32_tensorflow(wanted: bool) -> Iterator[None]:
    from tensorflow import config

    before = config.experimental.tensor_float_32_execution_enabled()
    config.experimental.enable_tensor_float_32_execution(wanted)
    try:
        yield
    finally:
        config.experimental.enable_tensor_float_32_execution(before)


@contextmanager
def _tf32_torch(wanted: bool) -> Iterator[None]:
    from torch import backends

    switches = (backends.cuda.matmul, backends.cudnn)
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = wanted
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value


@contextmanager
def _tf32_jax(wanted: bool) -> Iterator[None]:
    import jax

    # Read when a function is compiled.
    with jax.default_matmul_precision("tensorfloat32" if wanted else "float32"):
        yield


_TF32 = {"jax": _tf32_jax, "tensorflow": _tf32_tensorflow, "torch": _tf32_torch}


class KerasEngine:
    """Keras on any of its backends, as one compiled function of one shape.

    `keras.Model.predict` was seen at half the speed of this on small networks.

    Parameters
    ----------
    network : Network
        From the zoo.
    batch_size : int
        Rows of every batch.
    device : Device
        Where to run.
    tf32 : bool
        Let a GPU multiply in TF32, ten bits of mantissa, which the backends do of their own where float32 is
        asked for.
    """

    name = "keras"

    def __init__(self, network: Network, batch_size: int, device: Device, *, tf32: bool = False) -> None:
        self._device, self._tf32 = device, tf32
        # A GPU computes while Python prepares the next batch; a CPU has no one beside Python.
        self.in_flight = 2 if device.kind == "gpu" else 1
        shape = (batch_size, network.image_size, network.image_size, 3)
        with self._scope():
            self._function = _COMPILERS[_backend()](network.model, shape)

    @contextmanager
    def _scope(self) -> Iterator[None]:
        import keras

        with keras.device(str(self._device)), tensor_float_32(self._tf32):
            yield

    def start(self, batch: Batch) -> Callable[[], Outputs]:
        """Start on a batch.

        Parameters
        ----------
        batch : ndarray of uint8, shape (batch size, side, side, 3)
            Pixels.

        Returns
        -------
        callable
            Waits for the features: a float32 array of shape (batch size, width) for each layer.
        """
        with self._scope():
            outputs = self._function(batch)
        return lambda: [_array(output) for output in outputs]


def _array(output: Any) -> npt.NDArray[np.float32]:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(output), np.float32)


def reference_outputs(model: Any, pixels: Batch) -> Outputs:
    """Run a model as it is, uncompiled: the reference for every engine.

    Parameters
    ----------
    model : keras.Model
        From pixels to one feature, or to a list of them.
    pixels : ndarray of uint8, shape (n, side, side, 3)
        Images.

    Returns
    -------
    list of ndarray of float32, each (n, width)
        One for each output.
    """
    import keras

    outputs = _outputs(model(_inputs(model, keras.ops.convert_to_tensor(pixels)), training=False))
    return [_array(output) for output in outputs]


def _inputs(model: Any, pixels: Any) -> Any:
    """Give pixels in the structure that the model was made with, of which Keras warns otherwise."""
    import keras

    values = keras.ops.cast(pixels, "float32")
    return [values] if isinstance(model.input, list) else values


def _outputs(outputs: Any) -> list[Any]:
    import keras

    several = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [keras.ops.cast(output, "float32") for output in several]


def _compile_tensorflow(model: Any, shape: tuple[int, ...]) -> Callable[[Batch], list[Any]]:
    import tensorflow as tf

    # XLA is left out: on a CPU it was measured at a twelfth of the speed.
    def call(pixels: Any) -> list[Any]:
        return _outputs(model(_inputs(model, pixels), training=False))

    compiled = tf.function(call, autograph=False, jit_compile=False).get_concrete_function(
        tf.TensorSpec(shape, tf.uint8)
    )
    return lambda batch: list(compiled(tf.constant(batch)))


def _compile_jax(model: Any, shape: tuple[int, ...]) -> Callable[[Batch], list[Any]]:
    import jax

    def call(trainable: Any, fixed: Any, pixels: Any) -> list[Any]:
        outputs, _ = model.stateless_call(trainable, fixed, _inputs(model, pixels), training=False)
        return _outputs(outputs)

    trainable = [variable.value for variable in model.trainable_variables]
    fixed = [variable.value for variable in model.non_trainable_variables]
    compiled = jax.jit(call).lower(trainable, fixed, jax.ShapeDtypeStruct(shape, np.uint8)).compile()
    return lambda batch: list(compiled(trainable, fixed, batch))


def _compile_torch(model: Any, shape: tuple[int, ...]) -> Callable[[Batch], list[Any]]:
    import keras
    import torch

    def call(batch: Batch) -> list[Any]:
        with torch.no_grad():
            return _outputs(model(_inputs(model, keras.ops.convert_to_tensor(batch)), training=False))

    return call


_COMPILERS = {"jax": _compile_jax, "tensorflow": _compile_tensorflow, "torch": _compile_torch}
