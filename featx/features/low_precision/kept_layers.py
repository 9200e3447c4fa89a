"""Layers of an OpenVINO graph that compute in float32 while the others compute in bfloat16."""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featx.errors import ConfigError, listing

__all__ = ["check_kept", "read_kept"]

# The CPU plugin keeps a node's precision where this attribute forbids its conversion to float16, in bfloat16 too.
_ATTRIBUTE = {"name": "DisablePrecisionConversion", "version": "0", "value": "dynamic:f16"}
_DEPTHWISE = "GroupConvolution"


def read_kept(core: Any, path: Path, kept: int) -> tuple[Any, list[str]]:
    """Read a model of which the first `kept` depthwise convolutions are marked to stay in float32.

    The mark can be set in the file of a graph only, so that a marked copy is read, with the weights of the original.

    Returns
    -------
    model : openvino.Model
        The marked model.
    names : list of str
        Names of the marked layers, from the input on.

    Raises
    ------
    ConfigError
        If the model has fewer depthwise convolutions.
    """
    tree = ElementTree.parse(path)
    layers = [layer for layer in tree.iterfind("layers/layer") if layer.get("type") == _DEPTHWISE]
    if len(layers) < kept:
        raise ConfigError(
            f"{path} has {len(layers)} depthwise convolutions, and {kept} were to stay in float32; use --precision float32"
        )
    marks = layers[:kept]
    for layer in marks:
        _mark(layer)
    with tempfile.TemporaryDirectory(prefix="featx-") as folder:
        marked = Path(folder, path.name)
        tree.write(marked)
        model = core.read_model(marked, path.with_suffix(".bin"))
    return model, [layer.get("name", "") for layer in marks]


def _mark(layer: ElementTree.Element) -> None:
    info = layer.find("rt_info")
    if info is None:
        info = ElementTree.Element("rt_info")
        # Where OpenVINO writes it: after the layer's data.
        layer.insert(0 if layer.find("data") is None else 1, info)
    ElementTree.SubElement(info, "attribute", _ATTRIBUTE)


def check_kept(compiled: Any, names: Sequence[str]) -> None:
    """Refuse a compiled model that does not compute each of these convolutions in float32.

    Raises
    ------
    ConfigError
        If this version of OpenVINO does not follow the mark.
    """
    exact = {
        name for node in compiled.get_runtime_model().get_ops() for name in _exact_layers(node.get_rt_info())
    }
    lost = [name for name in names if name not in exact]
    if lost:
        raise ConfigError(
            f"This version of OpenVINO does not compute {listing(lost)} in float32, as it has to; install another one, "
            "or use --precision float32"
        )


def _exact_layers(facts: Any) -> list[str]:
    """Name the layers that a node of a compiled graph computes in float32, if it is a convolution: several are fused."""
    if _text(facts, "layerType") != "Convolution" or _text(facts, "runtimePrecision") != "f32":
        return []
    return _text(facts, "originalLayersNames").split(",")


def _text(facts: Any, key: str) -> str:
    return str(facts[key].astype(str))
