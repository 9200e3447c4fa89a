"""Layers of an OpenVINO graph that compute in float32 while the others compute in bfloat16."""

from __future__ import annotations

import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from featx.errors import ConfigError

__all__ = ["check_kept", "read_kept"]

# The CPU plugin keeps a node's precision where this attribute forbids its conversion to float16, in bfloat16 too.
_ATTRIBUTE = {"name": "DisablePrecisionConversion", "version": "0", "value": "dynamic:f16"}
_DEPTHWISE = "GroupConvolution"


def read_kept(core: Any, path: Path, kept: int) -> Any:
    """Read a model of which the first `kept` depthwise convolutions are marked to stay in float32.

    The mark can be set in the file of a graph only, so that a marked copy is read, with the weights of the original.

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
    for layer in layers[:kept]:
        _mark(layer)
    with tempfile.TemporaryDirectory(prefix="featx-") as folder:
        marked = Path(folder, path.name)
        tree.write(marked)
        return core.read_model(marked, path.with_suffix(".bin"))


def _mark(layer: ElementTree.Element) -> None:
    info = layer.find("rt_info")
    if info is None:
        info = ElementTree.Element("rt_info")
        # Where OpenVINO writes it: after the layer's data.
        layer.insert(0 if layer.find("data") is None else 1, info)
    ElementTree.SubElement(info, "attribute", _ATTRIBUTE)


def check_kept(compiled: Any, kept: int) -> None:
    """Refuse a compiled model in which fewer than `kept` convolutions compute in float32.

    Raises
    ------
    ConfigError
        If this version of OpenVINO does not follow the mark.
    """
    facts = (node.get_rt_info() for node in compiled.get_runtime_model().get_ops())
    found = sum(
        fact["layerType"].astype(str) == "Convolution" and fact["runtimePrecision"].astype(str) == "f32"
        for fact in facts
    )
    if found < kept:
        raise ConfigError(
            f"This version of OpenVINO computes {found} convolutions in float32 where {kept} have to be; install another "
            "one, or use --precision float32"
        )
