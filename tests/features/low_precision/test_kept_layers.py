from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import numpy as np
import pytest

from featx.errors import ConfigError
from featx.features import engines
from featx.features.engines import OpenVinoEngine
from featx.features.low_precision.kept_layers import check_kept, read_kept

GRAPH = """<net><layers>
<layer id="0" name="pixels" type="Parameter"><data shape="1"/></layer>
<layer id="1" name="first" type="Convolution"><data strides="1"/></layer>
<layer id="2" name="wide" type="GroupConvolution"><data strides="1"/><output/></layer>
<layer id="3" name="bare" type="GroupConvolution"><rt_info><attribute name="fused_names_0"/></rt_info><output/></layer>
</layers></net>"""


class Core:
    """Reads a graph and keeps what it has read."""

    def read_model(self, path, weights):
        self.graph, self.weights = ElementTree.parse(path), weights
        return "model"


@pytest.fixture
def path(tmp_path):
    (tmp_path / "model.xml").write_text(GRAPH)
    return tmp_path / "model.xml"


@pytest.mark.parametrize(("kept", "names"), [(1, ["wide"]), (2, ["wide", "bare"])])
def test_the_first_depthwise_convolutions_are_marked_in_a_copy(path, kept, names):
    core = Core()
    assert read_kept(core, path, kept) == ("model", names)
    assert core.weights == path.with_suffix(".bin")
    layers = core.graph.getroot().iterfind("layers/layer")
    marked = [
        layer.get("name")
        for layer in layers
        if layer.find("rt_info/attribute[@name='DisablePrecisionConversion']") is not None
    ]
    assert marked == names
    wide = core.graph.getroot().find("layers/layer[@name='wide']")
    assert [part.tag for part in wide] == ["data", "rt_info", "output"]
    assert path.read_text() == GRAPH


def test_more_layers_than_there_are_cannot_be_kept(path):
    with pytest.raises(ConfigError, match="has 2 depthwise convolutions, and 3"):
        read_kept(Core(), path, 3)


def compiled(*nodes):
    """A compiled model of nodes: type, precision, and the layers that are fused into it."""

    def fact(text):
        return SimpleNamespace(astype=lambda kind: kind(text))

    keys = ("layerType", "runtimePrecision", "originalLayersNames")
    facts = [dict(zip(keys, map(fact, node), strict=True)) for node in nodes]
    found = [SimpleNamespace(get_rt_info=lambda one=one: one) for one in facts]
    return SimpleNamespace(get_runtime_model=lambda: SimpleNamespace(get_ops=lambda: found))


@pytest.mark.parametrize(
    ("nodes", "lost"),
    [
        ([("Convolution", "f32", "wide,relu"), ("Convolution", "f32", "bare")], ""),
        (
            [
                ("Convolution", "f32", "first"),
                ("Convolution", "f32", "wide"),
                ("Convolution", "bf16", "bare"),
            ],
            "bare",
        ),
        (
            [("Convolution", "f32", "first,second"), ("Reorder", "f32", "wide"), ("Convolution", "f32", "")],
            "wide, bare",
        ),
    ],
)
def test_an_openvino_that_ignores_the_mark_is_refused(nodes, lost):
    if not lost:
        check_kept(compiled(*nodes), ["wide", "bare"])
        return
    with pytest.raises(ConfigError, match=f"does not compute {lost} in float32, as it has to"):
        check_kept(compiled(*nodes), ["wide", "bare"])


@pytest.fixture
def export(tmp_path):
    """An exported network of three depthwise convolutions, each with a ReLU and a pointwise convolution after it."""
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    from openvino import opset13 as op

    rng = np.random.default_rng(0)
    spread = ([1, 1], [0, 0], [0, 0], [1, 1])
    pixels = op.parameter([2, 32, 32, 3], np.float32, name="pixels")
    layer = op.transpose(pixels, op.constant(np.array([0, 3, 1, 2])))
    width = 3
    for place in range(3):
        kernel = rng.normal(size=(width, 1, 1, 3, 3)).astype(np.float32)
        layer = op.relu(op.group_convolution(layer, op.constant(kernel), *spread, name=f"depthwise{place}"))
        layer = op.convolution(
            layer, op.constant(rng.normal(size=(32, width, 1, 1)).astype(np.float32)), *spread
        )
        width = 32
    features = op.reduce_mean(layer, op.constant(np.array([2, 3])))
    openvino.save_model(openvino.Model([features], [pixels]), tmp_path / "model.xml", compress_to_fp16=False)
    return tmp_path


def compile_graph(model, precision):
    import openvino

    return openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})


def test_marked_layers_are_found_in_a_compiled_graph(export):
    import openvino

    model, names = read_kept(openvino.Core(), export / "model.xml", 2)
    assert names == ["depthwise0", "depthwise1"]
    graph = compile_graph(model, "f32")
    check_kept(graph, names)
    with pytest.raises(ConfigError, match="does not compute depthwise9 in float32"):
        check_kept(graph, [*names, "depthwise9"])


def test_an_engine_checks_the_layers_that_it_keeps(export, monkeypatch):
    engine = OpenVinoEngine(export, 2, 32, precision="float32", threads=1, kept=2)
    (features,) = engine.start(np.zeros((2, 32, 32, 3), np.uint8))()
    assert features.shape == (2, 32)
    monkeypatch.setattr(
        engines, "read_kept", lambda core, path, kept: (core.read_model(path), ["depthwise9"])
    )
    with pytest.raises(ConfigError, match="does not compute depthwise9 in float32"):
        OpenVinoEngine(export, 2, 32, precision="float32", threads=1, kept=1)


def test_marked_layers_alone_stay_in_float32(export):
    import openvino

    core = openvino.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16 arithmetic")
    model, names = read_kept(core, export / "model.xml", 2)
    graph = compile_graph(model, "bf16")
    check_kept(graph, names)
    with pytest.raises(ConfigError, match="does not compute depthwise2 in float32"):
        check_kept(graph, [*names, "depthwise2"])
    with pytest.raises(ConfigError, match="does not compute depthwise0, depthwise1 in float32"):
        check_kept(compile_graph(core.read_model(export / "model.xml"), "bf16"), names)
