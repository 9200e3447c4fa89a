"""Programs that call an exported model, for model cards and the docs."""

from __future__ import annotations

__all__ = ["call_example"]

_BOXES = {
    "resize": "    box = (0, 0, *image.size)",
    "center-square": """\
    edge = min(image.size)
    left, top = (image.width - edge) / 2, (image.height - edge) / 2
    box = (left, top, left + edge, top + edge)""",
}

_PREPARE = """\
from PIL import Image, ImageOps

def prepare(path):
    image = Image.open(path)
    image.draft(None, ({twice}, {twice}))  # a large JPEG is decoded at a smaller scale
    image = ImageOps.exif_transpose(image).convert("RGB")
{box}
    return np.asarray(image.resize(({side}, {side}), Image.Resampling.BILINEAR, box=box))"""

# Preparations that look for the content of an image are those of featx; there is no short form of them.
_PREPARE_BY_FEATX = """\
from featx.images import load_image

def prepare(path):
    return load_image(path, "{preparation}", {side})"""

_HEADS = {"onnx": "import onnxruntime", "openvino": "import openvino", "keras": "import keras"}

_CALLS = {
    "onnx": """\
session = onnxruntime.InferenceSession({file!r}, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
outputs = dict(zip(names, session.run(names, {{"pixels": pixels}})))""",
    "openvino": """\
exact = {{"INFERENCE_PRECISION_HINT": "f32"}}  # else bfloat16 where the processor has it
model = openvino.Core().compile_model({file!r} + "/model.xml", "CPU", exact)
values = model([pixels])
known = {{name for output in model.outputs for name in output.get_names()}}  # inner names of the graph too
outputs = {{name: values[name] for name in ("score", "probability") if name in known}}""",
    "keras": """\
model = keras.saving.load_model({file!r}, compile=False)
outputs = {{name: np.asarray(value) for name, value in model(pixels, training=False).items()}}""",
}

_PROGRAM = """\
import sys
import numpy as np
{head}
{prepare}

pixels = np.stack([prepare(path) for path in sys.argv[1:]])
{call}
for place, path in enumerate(sys.argv[1:]):
    print(path, *(f"{{name}} {{values[place].tolist()}}" for name, values in sorted(outputs.items())))
"""


def call_example(format: str, file: str, preparation: str, side: int) -> str:
    """Write a program that scores the image files on its command line by an exported model.

    Parameters
    ----------
    format : str
        Format of the model.
    file : str
        Name of its file or folder.
    preparation : str
        Name of the preparation of the run.
    side : int
        Input size, px.

    Examples
    --------
    >>> print(call_example("onnx", "model.onnx", "resize", 224).splitlines()[2])
    import onnxruntime
    """
    box = _BOXES.get(preparation)
    prepare = (_PREPARE if box else _PREPARE_BY_FEATX).format(
        box=box, side=side, twice=2 * side, preparation=preparation
    )
    call = _CALLS[format].format(file=file)
    return _PROGRAM.format(head=_HEADS[format], prepare=prepare, call=call)
