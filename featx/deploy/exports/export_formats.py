"""The formats of exported models: how each is written, and run to check it."""

from __future__ import annotations

import json
import logging
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.deploy.exports.export_graph import INPUT
from featx.deploy.exports.onnx_file import write_with_weights
from featx.errors import ConfigError
from featx.zoo import backend_name

if TYPE_CHECKING:
    import keras

__all__ = ["FORMATS", "OPSET", "ExportFormat", "Runner", "check_libraries"]

OPSET = 17
"""Version of the ONNX operators."""

Pixels = npt.NDArray[np.uint8]
Outputs = Mapping[str, npt.NDArray[np.float32]]
Metadata = Mapping[str, str]
Runner = Callable[[Pixels], Outputs]


def _write_onnx(model: keras.Model, target: Path, metadata: Metadata) -> None:
    """Convert the graph with its weights as inputs, then make the weights constants.

    tf2onnx copies the constants of a graph many times; weights that are inputs have no values yet.
    """
    import onnx
    import tensorflow as tf
    import tf2onnx

    held, trainable = (
        [*model.trainable_variables, *model.non_trainable_variables],
        len(model.trainable_variables),
    )
    names = [f"weight_{place}" for place in range(len(held))]

    def call(pixels: Any, *weights: Any) -> Any:
        given = list(weights)
        return model.stateless_call(given[:trainable], given[trainable:], pixels, training=False)[0]

    shapes = [tf.TensorSpec(one.shape, one.dtype, name=name) for one, name in zip(held, names, strict=True)]
    signature = [tf.TensorSpec(model.inputs[0].shape, tf.uint8, name=INPUT), *shapes]
    function = tf.function(call, autograph=False)
    with _quiet(), _inlined():
        made, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
        # Some layers keep constants that are no weights; they are inputs too.
        captured = function.get_concrete_function(*signature).graph.captures
    values = dict(zip(names, held, strict=True)) | {place.name: value for value, place in captured}
    _replace_erfc(made.graph)
    onnx.helper.set_model_props(made, dict(metadata))
    made.producer_name = "featx"
    write_with_weights(made, values, target)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence tf2onnx, which tells of rules that it does not apply and of operators that are replaced afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _inlined() -> Iterator[None]:
    """Trace through the functions inside a graph: Keras compiles grouped convolutions as functions of their own."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _replace_erfc(graph: Any) -> None:
    """Write erfc(x), which ONNX lacks, as 1 - erf(x); GELU has it."""
    from onnx import helper, numpy_helper

    places = [place for place, node in enumerate(graph.node) if node.op_type == "Erfc"]
    for place in reversed(places):
        node, result = graph.node[place], graph.node[place].output[0]
        node.op_type, node.output[0] = "Erf", f"{result}/erf"
        graph.node.insert(place + 1, helper.make_node("Sub", ["one", f"{result}/erf"], [result]))
    if places:
        graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "one"))


def _load_onnx(path: Path) -> Runner:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return lambda pixels: dict(zip(names, session.run(names, {INPUT: pixels}), strict=True))


def _write_openvino(model: keras.Model, target: Path, metadata: Metadata) -> None:
    import openvino as ov

    raw = target / "raw.xml"
    model.export(str(raw), format="openvino", verbose=False)
    made = ov.Core().read_model(raw)
    for name, value in metadata.items():
        made.set_rt_info(value, ["featx", name])
    ov.save_model(made, target / "model.xml", compress_to_fp16=False)
    del made  # it maps the file of the weights
    for path in (raw, raw.with_suffix(".bin")):
        path.unlink()


def _load_openvino(path: Path) -> Runner:
    import openvino as ov

    core = ov.Core()
    # Left to itself OpenVINO takes bfloat16 wherever the processor has it.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(path / "model.xml"), "CPU", options)
    places = {name: place for place, output in enumerate(compiled.outputs) for name in output.get_names()}

    def run(pixels: Pixels) -> Outputs:
        result = compiled([pixels])
        return {name: np.array(result[place]) for name, place in places.items()}

    return run


def _write_keras(model: keras.Model, target: Path, metadata: Metadata) -> None:
    model.save(target)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("featx.json", json.dumps(metadata, indent=1))


def _load_keras(path: Path) -> Runner:
    import keras

    model = keras.saving.load_model(path, compile=False)

    def run(pixels: Pixels) -> Outputs:
        outputs = model(pixels, training=False)
        return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}

    return run


@dataclass(frozen=True)
class ExportFormat:
    """A format of exported models.

    Attributes
    ----------
    ending : str
        Ending of the file; empty for a folder.
    libraries : tuple of str
        Libraries that it needs beside those of featx.
    extra : str
        Extra of featx that installs them.
    write : callable
        Function of a Keras model, the path of a new file or an empty folder, and metadata (texts).
    load : callable
        Function of the path; returns a function from prepared pixels to the outputs by name.
    """

    ending: str
    libraries: tuple[str, ...]
    extra: str
    write: Callable[[keras.Model, Path, Metadata], None]
    load: Callable[[Path], Runner]


FORMATS = {
    "onnx": ExportFormat(".onnx", ("onnx", "onnxruntime", "tf2onnx"), "export", _write_onnx, _load_onnx),
    "openvino": ExportFormat("", ("openvino",), "openvino", _write_openvino, _load_openvino),
    "keras": ExportFormat(".keras", (), "", _write_keras, _load_keras),
}


def check_libraries(name: str) -> None:
    """Check that the libraries of a format are installed, and that Keras uses the backend that it needs.

    Raises
    ------
    ConfigError
        If one is not, or another backend is used; the message says what to do.
    """
    form = FORMATS[name]
    missing = [library for library in form.libraries if not _installed(library)]
    if missing:
        raise ConfigError(
            f"--format {name} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed; "
            f"install with `pip install 'featx[{form.extra}]'`"
        )
    if name == "onnx" and backend_name() != "tensorflow":
        raise ConfigError(
            f"--format onnx needs TensorFlow as the backend of Keras. Got {backend_name()!r}; set KERAS_BACKEND=tensorflow"
        )


def _installed(library: str) -> bool:
    return library in sys.modules or find_spec(library) is not None
