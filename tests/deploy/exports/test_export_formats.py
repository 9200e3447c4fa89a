"""The formats: metadata in each file, constants in the ONNX graph, and missing libraries."""

from __future__ import annotations

import json
import logging
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from featx.deploy.exports import export_formats
from featx.deploy.exports.export_formats import FORMATS, OPSET, check_libraries
from featx.errors import ConfigError


def test_the_onnx_graph_has_one_input_and_states_what_it_is(onnx_model, place):
    made = onnx.load(onnx_model.path)
    assert [one.name for one in made.graph.input] == ["pixels"]
    assert made.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    assert {one.name for one in made.graph.output} == {"score", "probability"}
    assert next(one.version for one in made.opset_import if one.domain == "") == OPSET
    facts = {one.key: one.value for one in made.metadata_props}
    record = place.final.record
    assert json.loads(facts["classes"]) == list(record.classes)
    assert json.loads(facts["thresholds"]) == record.search["thresholds"]
    assert facts["recipe_digest"] == record.features["digest"]
    assert facts["use"].startswith("Research use only")
    assert facts["weights_licence"] == "MIT"


def test_the_keras_file_states_what_it_is(keras_model):
    with zipfile.ZipFile(keras_model.path) as archive:
        assert json.loads(archive.read("featx.json"))["scored"] == '["red"]'


def test_logging_is_as_before(onnx_model):
    assert onnx_model.path.is_file()
    assert logging.root.manager.disable == logging.NOTSET


def test_erfc_is_written_with_erf(tmp_path):
    nodes = [helper.make_node("Erfc", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    places = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xz"]
    graph = helper.make_graph(nodes, "g", places[:1], places[1:])
    export_formats._replace_erfc(graph)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.save(made, tmp_path / "m.onnx")
    (found,) = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {"x": np.float32([0, 1])})
    assert found == pytest.approx([-1, -0.157299], abs=1e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onnx", r"--format onnx needs tf2onnx, which is not installed; .*pip install 'featx\[export\]'"),
        ("openvino", r"--format openvino needs openvino.*pip install 'featx\[openvino\]'"),
    ],
)
def test_a_missing_library_is_an_error_with_the_command_that_installs_it(monkeypatch, name, message):
    monkeypatch.setattr(export_formats, "_installed", lambda library: library in {"onnx", "onnxruntime"})
    with pytest.raises(ConfigError, match=message):
        check_libraries(name)
    check_libraries("keras")


def test_onnx_needs_tensorflow_as_the_backend(monkeypatch):
    monkeypatch.setattr(export_formats, "backend_name", lambda: "jax")
    with pytest.raises(ConfigError, match=r"needs TensorFlow as the backend of Keras. Got 'jax'"):
        check_libraries("onnx")
    check_libraries("keras")


@pytest.mark.parametrize("name", ["onnx", "keras"])
def test_a_damaged_file_does_not_load(name, tmp_path):
    path = tmp_path / f"m.{name}"
    path.write_bytes(b"no model")
    with pytest.raises(Exception, match=r"."):
        FORMATS[name].load(path)
