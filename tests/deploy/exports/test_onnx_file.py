"""ONNX files that are written weight by weight are those of the library."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from featx.deploy.exports import onnx_file
from featx.deploy.exports.onnx_file import write_with_weights
from featx.errors import ExportError

WEIGHTS = {
    "kernel": np.arange(300 * 70, dtype=np.float32).reshape(300, 70),
    "scalar": np.array(2.5, np.float64),
    "shape": np.array([-1, 70], np.int64),
    "empty": np.empty((0, 3), np.float32),
    "unread": np.ones(3, np.float32),
}


def model() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "kernel"], ["y"]),
        helper.make_node("Identity", ["scalar"], ["s"]),
        helper.make_node("Reshape", ["y", "shape"], ["z"]),
        helper.make_node("Identity", ["empty"], ["e"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 300])]
    inputs += [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(one.dtype), one.shape)
        for name, one in WEIGHTS.items()
    ]
    outputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [None, 70])]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs), ir_version=8)


def test_the_file_is_read_as_if_the_library_had_written_it(tmp_path):
    wanted = model()
    kept = [one for one in wanted.graph.input if one.name == "x"]
    del wanted.graph.input[:]
    wanted.graph.input.extend(kept)
    read = {name: one for name, one in WEIGHTS.items() if name != "unread"}
    wanted.graph.initializer.extend(numpy_helper.from_array(one, name) for name, one in read.items())
    write_with_weights(model(), WEIGHTS, tmp_path / "m.onnx")
    found = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(found)
    assert found == wanted
    assert [one.name for one in found.graph.initializer] == list(read)


def test_a_model_that_is_too_large_is_refused_before_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "_LIMIT", 80_000)
    with pytest.raises(ExportError, match=r"bytes, and a file of ONNX at most 80,000; nothing was written"):
        write_with_weights(model(), WEIGHTS, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "digits"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02")]
)
def test_numbers_are_written_as_protocol_buffers_do(number, digits):
    assert onnx_file._varint(number) == digits
