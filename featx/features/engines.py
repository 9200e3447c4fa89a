"""Engines: what runs the forward pass, behind one small interface.

An engine is started on a batch and gives back a function that waits for the outputs, so that an engine that works
beside Python (a GPU, OpenVINO's streams) always has the next batch at hand. All batches have one fixed shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from featx.errors import ConfigError
from featx.progress import Progress
from featx.zoo import Backbone, estimated_multiply_adds

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = [
    "ENGINES",
    "Batch",
    "Deviation",
    "Device",
    "Engine",
    "KerasEngine",
    "Load",
    "Outputs",
    "PrecisionCheck",
    "choose_device",
    "choose_engine",
    "deviation",
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
    """Settle on a device that Keras can use."""
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
    """Limit the threads of the forward pass, before its first use in the process."""
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


_BATCHES = 2


Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Deviation:
    """How far features lie from their reference.

    Attributes
    ----------
    cosine : float
        Smallest cosine between an image's features and their reference.
    worst : float
        Largest difference of a single feature, as a share of the largest feature.
    """

    cosine: float
    worst: float


def deviation(found: Rows, reference: Rows) -> Deviation:
    """Compare features with their reference.

    Parameters
    ----------
    found, reference : ndarray of float32, shape (n, width)
        Features of the same images.

    Examples
    --------
    >>> deviation(np.float32([[3, 4]]), np.float32([[3, 4]])).worst
    0.0
    >>> round(deviation(np.float32([[1, 0]]), np.float32([[1, 1]])).cosine, 3)
    0.707
    """
    a, b = found.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = (a * b).sum(axis=1)
    cosines = np.where(
        norms > 0, products / np.where(norms > 0, norms, 1), (a == b).all(axis=1).astype(float)
    )
    largest = max(float(np.abs(b).max(initial=0)), np.finfo(np.float32).tiny)
    return Deviation(float(cosines.min(initial=1)), float(np.abs(a - b).max(initial=0) / largest))


class PrecisionCheck:
    """Compares the first two batches of a network with float32 and says the outcome."""

    def __init__(self, name: str, precision: str, exact: Callable[[], Engine], progress: Progress) -> None:
        self._name = f"{name} in {precision}"
        self._exact = exact
        self._progress = progress
        self._done = 0

    def __call__(self, pixels: Batch, count: int, outputs: Outputs) -> None:
        """Compare a batch, if it is among the first.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (batch size, side, side, 3)
            The batch.
        outputs : list of ndarray of float32, each (batch size, width)
            What the network made of it.
        """
        if self._done >= _BATCHES:
            return
        self._done += 1
        references = self._exact().start(pixels)()
        found = [
            deviation(output[:count], wanted[:count])
            for output, wanted in zip(outputs, references, strict=True)
        ]
        cosine, worst = min(item.cosine for item in found), max(item.worst for item in found)
        self._progress.say(
            f"{self._name}, batch {self._done} against float32: smallest cosine {cosine:.5f}, "
            f"worst feature off by {worst:.2g} of the largest"
        )


# Processor time measured on two cores of an AMD EPYC, batches of 16, random weights. For an image, Keras on TensorFlow
# took 3.2 ms with MobileNet 0.25, 18 ms with MobileNet, 84 ms with DenseNet-121, 86 ms with ResNet-50 and 208 ms with
# Xception; OpenVINO took 5 to 25 % less, and keeps the cores busier: 1.3 to 2 times as fast by the clock. An export
# took 2 to 14 s, with the number of layers.
_SECONDS_PER_IMAGE = 2e-3


_SECONDS_PER_MULTIPLY_ADD = 2.3e-11


_SHARE_SAVED = 0.3


_EXPORT_SECONDS = 8.0


@dataclass(frozen=True)
class Load:
    """What a network has to do in a pass.

    Attributes
    ----------
    backbone : Backbone
        Row of the zoo's table.
    image_size : int
        Input size in pixels.
    rows : int
        Images, times the views of each.
    exported : bool
        Whether an export of the network stands.
    """

    backbone: Backbone
    image_size: int
    rows: int
    exported: bool


def choose_engine(loads: Sequence[Load], cores: int) -> tuple[str, str]:
    """Choose between Keras and OpenVINO on a CPU.

    Features agree within 2e-4 of the largest, so that the choice decides about time alone.

    Returns
    -------
    engine : str
        ``"openvino"`` where it saves more time than the missing exports take, else ``"keras"``.
    reason : str
        Why, for the log.

    Examples
    --------
    >>> from featx.zoo.backbones import find_backbone
    >>> choose_engine([Load(find_backbone("xception"), 299, 1011, False)], 2)
    ('openvino', 'exporting takes about 8 s and saves about 29 s of 98 s')
    >>> choose_engine([Load(find_backbone("tiny"), 64, 1011, False)], 2)
    ('keras', 'exporting to openvino takes about 8 s and saves about 0 s of 1 s')
    """
    export = _EXPORT_SECONDS * sum(not load.exported for load in loads)
    if not export:
        return "openvino", "its exports stand"
    keras = sum(_keras_seconds(load) for load in loads) / cores
    saved = _SHARE_SAVED * keras
    times = f"takes about {export:.0f} s and saves about {saved:.0f} s of {keras:.0f} s"
    if saved > export:
        return "openvino", f"exporting {times}"
    return "keras", f"exporting to openvino {times}"


def _keras_seconds(load: Load) -> float:
    """Seconds of one core."""
    work = estimated_multiply_adds(load.backbone, load.image_size)
    return load.rows * (_SECONDS_PER_IMAGE + _SECONDS_PER_MULTIPLY_ADD * work)
