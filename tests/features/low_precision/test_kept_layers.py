from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import pytest

from featx.errors import ConfigError
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
    assert read_kept(core, path, kept) == "model"
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


def compiled(*precisions):
    def fact(text):
        return SimpleNamespace(astype=lambda kind: kind(text))

    nodes = [
        SimpleNamespace(
            get_rt_info=lambda item=item: {"layerType": fact("Convolution"), "runtimePrecision": fact(item)}
        )
        for item in precisions
    ]
    return SimpleNamespace(get_runtime_model=lambda: SimpleNamespace(get_ops=lambda: nodes))


def test_an_openvino_that_ignores_the_mark_is_refused():
    check_kept(compiled("f32", "bf16"), 1)
    with pytest.raises(ConfigError, match="computes 0 convolutions in float32 where 1"):
        check_kept(compiled("bf16", "bf16"), 1)
