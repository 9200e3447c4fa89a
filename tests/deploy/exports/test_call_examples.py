"""The programs of model cards prepare images as featx does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.deploy.exports.call_examples import call_example
from featx.images import PREPARATIONS, load_image


@pytest.mark.parametrize("format", ["onnx", "openvino", "keras"])
@pytest.mark.parametrize("preparation", PREPARATIONS)
def test_every_program_compiles(format, preparation):
    text = call_example(format, 'a "quoted" name', preparation, 64)
    compile(text, "program", "exec")
    assert repr('a "quoted" name') in text


@pytest.mark.parametrize("preparation", PREPARATIONS)
@pytest.mark.parametrize(
    ("mode", "size", "ending"),
    [("RGB", (90, 70), "png"), ("L", (70, 90), "png"), ("RGB", (640, 900), "jpg"), ("RGB", (33, 47), "jpg")],
)
def test_the_pixels_are_those_of_featx(tmp_path, preparation, mode, size, ending):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (9, 8, 3) if mode == "RGB" else (9, 8), np.uint8)
    path = tmp_path / f"image.{ending}"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path, exif=exif)
    text = call_example("onnx", "m.onnx", preparation, 64)
    names: dict = {}
    exec(text[: text.index("pixels = ")].replace("import onnxruntime\n", ""), names)
    assert np.array_equal(names["prepare"](path), load_image(path, preparation, 64))


def test_the_program_of_the_docs_is_that_of_the_card():
    text = Path(__file__).parents[3].joinpath("docs", "export.md").read_text(encoding="utf-8")
    assert call_example("onnx", "model.onnx", "resize", 224) in text
