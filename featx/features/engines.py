"""Engines of the forward pass: Keras, and OpenVINO on exported networks."""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from featx.digest import canonical, digest, short
from featx.errors import ConfigError
from featx.files import folder_aside, write_json
from featx.gpus import Device, memory_error
from featx.machine import usable_cores
from featx.progress import Progress
from featx.zoo import Cost, count_costs, features_of

from .exports.batch_memory import held_bytes, request_rows, stream_count
from .low_precision.kept_layers import check_kept, read_kept

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = [
    "EXPORTS",
    "TOLERANCE",
    "Batch",
    "Deviation",
    "Engine",
    "FunctionEngine",
    "KerasEngine",
    "OpenVinoEngine",
    "Outputs",
    "PrecisionCheck",
    "check_arithmetic",
    "deviation",
    "export_costs",
    "export_network",
    "exported",
    "is_exported",
    "keras_backend",
    "reference_outputs",
    "set_threads",
    "tensor_float_32",
]


Batch = npt.NDArray[np.uint8]


Features = npt.NDArray[np.float32]


Outputs = list[Features]


_COMPARED_BATCHES = 2


class Engine(Protocol):
    """Runs one network on batches of one shape.

    Attributes
    ----------
    name : str
        ``"keras"`` or ``"openvino"``.
    in_flight : int
        Batches that are worth having started at a time.
    held_bytes : int or None
        Most bytes of intermediate results at a time, as estimated; None where that is not known.
    """

    name: str
    in_flight: int
    held_bytes: int | None

    def start(self, batch: Batch) -> Callable[[], Outputs]:
        """Start on pixels of shape (rows, side, side, 3); call the result for a (rows, width) array for each layer."""


def keras_backend() -> str:
    """Return the name of the backend of Keras."""
    import keras

    return str(keras.config.backend())


def set_threads(threads: int) -> None:
    """Limit the threads of the forward pass, before its first use in the process.

    Raises
    ------
    ConfigError
        If the backend has computed already, or has no such limit.
    """
    backend = keras_backend()
    try:
        if backend == "tensorflow":
            import tensorflow as tf

            if tf.config.threading.get_intra_op_parallelism_threads() != threads:
                tf.config.threading.set_intra_op_parallelism_threads(threads)
        elif backend == "torch":
            import torch

            torch.set_num_threads(threads)
        else:
            raise ConfigError(
                f"The 'threads' parameter has no effect on Keras with the {backend} backend; leave it out"
            )
    except RuntimeError as error:
        raise ConfigError(
            "The 'threads' parameter must be set before the first forward pass of a process; start a new process"
        ) from error


@contextmanager
def tensor_float_32(wanted: bool) -> Iterator[None]:
    """Let the backend of Keras multiply in TF32, or not, and restore its own setting at the end.

    NVIDIA GPUs from Ampere on round the factors of float32 products to ten bits of mantissa where this is allowed:
    features would differ from those of a CPU by 1e-3 of the largest instead of 1e-5.
    """
    with _TF32[keras_backend()](wanted):
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
    """Keras on any of its backends, as one compiled function of one batch shape.

    `keras.Model.predict` was measured at half the speed of this on small networks. With `tf32` a GPU multiplies in
    TF32, ten bits of mantissa, which the backends do by default for float32.
    """

    name = "keras"
    held_bytes: int | None = None

    def __init__(self, network: Network, batch_size: int, device: Device, *, tf32: bool = False) -> None:
        self._device, self._tf32 = device, tf32
        # A GPU computes while Python prepares the next batch; on a CPU both use the same cores.
        self.in_flight = 2 if device.kind == "gpu" else 1
        shape = (batch_size, network.image_size, network.image_size, 3)
        with self._scope():
            self._function = _COMPILERS[keras_backend()](network.model, shape)

    @contextmanager
    def _scope(self) -> Iterator[None]:
        import keras

        with keras.device(str(self._device)), tensor_float_32(self._tf32):
            yield

    def start(self, batch: Batch) -> Callable[[], Outputs]:
        """Start on a batch of pixels; call the result to wait for the features of each layer."""
        with self._scope():
            outputs = self._function(batch)
        return lambda: [_array(output) for output in outputs]


class FunctionEngine:
    """A user's function on batches, on the device that it chooses."""

    name = "function"
    in_flight = 1
    held_bytes: int | None = None

    def __init__(self, backbone: str) -> None:
        self._backbone = backbone

    def start(self, batch: Batch) -> Callable[[], Outputs]:
        """Run on a batch of pixels; the result returns the features."""
        features = features_of(self._backbone, batch)
        return lambda: [features]


def _array(output: Any) -> Features:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(output), np.float32)


def reference_outputs(model: Any, pixels: Batch) -> Outputs:
    """Run a model as it is, uncompiled, on pixels of shape (n, side, side, 3): the reference for every engine."""
    import keras

    outputs = _outputs(model(_inputs(model, keras.ops.convert_to_tensor(pixels)), training=False))
    return [_array(output) for output in outputs]


def _inputs(model: Any, pixels: Any) -> Any:
    """Return pixels in the structure that the model was built with; Keras warns of any other."""
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


@dataclass(frozen=True)
class Deviation:
    """How far features are from their reference.

    `cosine` is the smallest cosine between the features of an image and their reference, `worst` the largest
    difference of a single feature as a fraction of the largest feature.
    """

    cosine: float
    worst: float


def deviation(found: Features, reference: Features) -> Deviation:
    """Compare features with their reference, both of shape (n, width); two zero vectors have the cosine 1.

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
    """Compares the first two batches of a network in low precision with float32 and reports the difference.

    `exact` returns the engine that runs the network in float32; `seconds` are those of building and running it.
    """

    def __init__(self, name: str, precision: str, exact: Callable[[], Engine], progress: Progress) -> None:
        self._name = f"{name} in {precision}"
        self._exact = exact
        self._progress = progress
        self._done = 0
        self.seconds = 0.0

    def __call__(self, pixels: Batch, count: int, outputs: Outputs) -> None:
        """Compare a batch, if it is one of the first two; `count` of its rows are not padding."""
        if self._done >= _COMPARED_BATCHES:
            return
        self._done += 1
        begun = time.perf_counter()
        references = self._exact().start(pixels)()
        self.seconds += time.perf_counter() - begun
        found = [
            deviation(output[:count], wanted[:count])
            for output, wanted in zip(outputs, references, strict=True)
        ]
        cosine, worst = min(item.cosine for item in found), max(item.worst for item in found)
        self._progress.say(
            f"{self._name}, batch {self._done} compared with float32: smallest cosine {cosine:.5f}, "
            f"largest difference {worst:.2g} of the largest feature"
        )


# Largest difference from Keras, as a fraction of the largest feature, that an export may show.
TOLERANCE = 2e-4


EXPORTS = "openvino"


"""Folder of exports in the folder of caches."""


_MODEL = "model.xml"


_ABOUT = "about.json"


# Version of an export's folder.
_FORMAT = 2


_TRIED_BYTES = 1 << 20


_HINTS = {"float32": ("f32", "FP32"), "bfloat16": ("bf16", "BF16"), "float16": ("f16", "FP16")}


# OpenVINO's converter reports each export to its makers, without asking, from forked processes that outlive an
# interrupted run. Where its telemetry package cannot be imported, it uses a stub that does nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def exported(cache: Path, facts: dict[str, Any]) -> Path:
    """Return the folder of a network's export, which need not exist; `facts` (JSON types) decide the network."""
    libraries = {name: version(name) for name in ("keras", "openvino", "featx")}
    key = {**facts, **libraries, "format": _FORMAT}
    return cache / EXPORTS / f"{facts['backbone']}-{short(digest(key))}"


def is_exported(folder: Path) -> bool:
    """Tell whether an export exists; exports are written atomically, so that an existing one is complete."""
    return (folder / _MODEL).is_file()


def export_network(network: Network, folder: Path) -> None:
    """Export a network in float32, after comparing the export with Keras on two noise images.

    Raises
    ------
    ConfigError
        If the network cannot be exported, or the export computes something else.
    DiskError
        If the disk is full.
    """
    name = network.backbone.name
    with folder_aside(folder) as aside:
        try:
            network.model.export(str(aside / "all.xml"), format="openvino", verbose=False)
            _keep_outputs(aside / "all.xml", aside / _MODEL, len(network.layers))
        except (MemoryError, OSError):
            raise
        except Exception as error:  # converters raise whatever they meet
            if memory_error(error):
                raise
            _try_disk(aside, 4 * network.model.count_params())
            text = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"{name} cannot be exported to OpenVINO ({text}); use --engine keras"
            ) from error
        worst = _deviation(network, aside / _MODEL)
        if not worst <= TOLERANCE:
            raise ConfigError(
                f"OpenVINO computes other features of {name} than Keras (difference {worst:.1g} of the largest feature); "
                "use --engine keras"
            )
        costs = canonical(count_costs(network.model))
        write_json(aside / _ABOUT, {"backbone": name, "deviation": worst, "costs": costs})


def _try_disk(folder: Path, size: int) -> None:
    """Raise the error of a disk that does not take so many bytes: OpenVINO does not say why it could not write."""
    with (folder / "trial").open("wb") as file:
        for _ in range(0, size + _TRIED_BYTES, _TRIED_BYTES):
            file.write(bytes(_TRIED_BYTES))


def export_costs(folder: Path) -> tuple[Cost, ...]:
    """Read what each layer of an export costs."""
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    return tuple(Cost(**cost) for cost in about["costs"])


def _keep_outputs(source: Path, target: Path, count: int) -> None:
    """Keep the network's own outputs: the converter adds inner tensors of some networks as further outputs."""
    import openvino as ov

    model = ov.Core().read_model(source)
    wanted = ["Identity:0", *(f"Identity_{place}:0" for place in range(1, count))]
    named = {name: output for output in model.outputs for name in output.get_names()}
    if len(model.outputs) > count and all(name in named for name in wanted):
        results = [named[name].get_node() for name in wanted]
        model = ov.Model(results, model.get_parameters(), model.get_friendly_name())
    ov.save_model(model, target, compress_to_fp16=False)
    del model  # it maps the file of the weights
    for path in (source, source.with_suffix(".bin")):
        path.unlink()


def _deviation(network: Network, model: Path) -> float:
    size = network.image_size
    noise = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    # No name keeps the engine, whose memory would add to that of Keras.
    outputs = OpenVinoEngine(model.parent, 2, size, precision="float32", threads=None).start(noise)()
    # One image at a time: of two, Keras' own kernels were seen to take 0.5 GB with Xception.
    each = [reference_outputs(network.model, image[None]) for image in noise]
    references = [np.concatenate(layer) for layer in zip(*each, strict=True)]
    if [output.shape for output in outputs] != [reference.shape for reference in references]:
        return float("inf")
    return max(
        float(np.abs(output - reference).max() / max(np.abs(reference).max(), 1e-12))
        for output, reference in zip(outputs, references, strict=True)
    )


def check_arithmetic(precision: str) -> None:
    """Refuse a precision that this processor has no arithmetic for, as OpenVINO sees it.

    Raises
    ------
    ConfigError
        If the processor lacks it.

    Examples
    --------
    >>> check_arithmetic("float32")
    """
    import openvino as ov

    if _HINTS[precision][1] not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ConfigError(
            f"This processor has no {precision} arithmetic; use --precision float32, or --engine keras"
        )


class OpenVinoEngine:
    """An export, run by asynchronous streams.

    `threads` are those of all streams (all cores for None); `networks` that run side by side share them. `kept` first
    depthwise convolutions stay in float32. Batches whose intermediate results are large are computed in parts.

    Raises
    ------
    ConfigError
        If the processor has no arithmetic of this precision, or layers cannot stay in float32.
    """

    name = "openvino"

    def __init__(
        self,
        folder: Path,
        batch_size: int,
        image_size: int,
        *,
        precision: str,
        threads: int | None,
        networks: int = 1,
        kept: int = 0,
    ) -> None:
        import openvino as ov

        check_arithmetic(precision)
        core = ov.Core()
        path = folder / _MODEL
        model, names = read_kept(core, path, kept) if kept else (core.read_model(path), [])
        model.reshape([batch_size, image_size, image_size, 3])
        held = held_bytes(model)
        self._rows = request_rows(batch_size, held)
        model.reshape([self._rows, image_size, image_size, 3])
        steps = ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8)
        for place in range(len(model.outputs)):
            steps.output(place).tensor().set_element_type(ov.Type.f32)
        cores = max(1, (threads or usable_cores()) // networks)
        # Networks side by side keep the cores busy by themselves.
        streams = stream_count(cores) if networks == 1 else 1
        self.held_bytes: int | None = streams * held * self._rows // batch_size
        options = {
            # Left to itself it takes bfloat16 wherever the processor has it.
            "INFERENCE_PRECISION_HINT": _HINTS[precision][0],
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": streams,
            # Reader threads run on the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(steps.build(), "CPU", options)
        if names:
            check_kept(compiled, names)
        # One batch more than there are streams, so that none waits for Python.
        self.in_flight = streams + 1
        self._outputs = len(compiled.outputs)
        self._tensor = ov.Tensor
        requests = self.in_flight * (batch_size // self._rows)
        self._free = deque(compiled.create_infer_request() for _ in range(requests))

    def start(self, batch: Batch) -> Callable[[], Outputs]:
        """Start on a batch of pixels; no more than `in_flight` batches may be waited for at a time."""
        requests = [self._begun(batch[row : row + self._rows]) for row in range(0, len(batch), self._rows)]

        def collect() -> Outputs:
            for request in requests:
                request.wait()
            outputs = [
                np.concatenate([request.get_output_tensor(place).data for request in requests])
                for place in range(self._outputs)
            ]
            assert batch is not None  # the requests read its memory until here
            self._free.extend(requests)
            return outputs

        return collect

    def _begun(self, rows: Batch) -> Any:
        request = self._free.popleft()
        request.set_input_tensor(self._tensor(rows, shared_memory=True))
        request.start_async()
        return request
