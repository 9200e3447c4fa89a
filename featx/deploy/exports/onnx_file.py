"""ONNX files whose weights are written one by one.

An ONNX file is a message of Protocol Buffers. Its library would hold all weights twice more while it writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.errors import ExportError

if TYPE_CHECKING:
    import onnx

__all__ = ["write_with_weights"]

# Numbers of fields in the messages of ONNX.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_LIMIT = 2**31 - 1
"""Largest size of a message in bytes."""


def write_with_weights(model: onnx.ModelProto, variables: Mapping[str, Any], target: Path) -> None:
    """Write a model, and make those of its inputs constants whose values are given.

    Parameters
    ----------
    model : onnx.ModelProto
        The model; it has no graph afterwards.
    variables : mapping of str to Variable or tensor
        Values of inputs; those that no node reads are left out.
    target : Path
        The file.

    Raises
    ------
    ExportError
        If the file would be larger than 2 GB, which ONNX does not allow.
    """
    from keras import ops

    used = _take_inputs(model.graph, variables)
    heads = [_tensor_head(name, ops.convert_to_numpy(variables[name])) for name in used]
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    size = len(graph) + sum(len(head) + count for head, count in heads)
    start = model.SerializeToString() + _key(_GRAPH, size) + graph
    if len(start) + size > _LIMIT:
        raise ExportError(
            f"the model has {size:,} bytes, and a file of ONNX at most {_LIMIT:,}; nothing was written; take another --format"
        )
    with target.open("wb") as file:
        file.write(start)
        for name, (head, _) in zip(used, heads, strict=True):
            file.write(head)
            file.write(ops.convert_to_numpy(variables[name]).tobytes())


def _take_inputs(graph: onnx.GraphProto, variables: Mapping[str, Any]) -> list[str]:
    """Take the given inputs out of a graph; return the names of those that a node reads."""
    read = {name for node in graph.node for name in node.input}
    used = [one.name for one in graph.input if one.name in variables and one.name in read]
    kept = [one for one in graph.input if one.name not in variables]
    del graph.input[:]
    graph.input.extend(kept)
    return used


def _tensor_head(name: str, array: Any) -> tuple[bytes, int]:
    """Return what stands before the bytes of a weight, and the number of these bytes."""
    import onnx

    kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    facts = onnx.TensorProto(name=name, data_type=kind, dims=array.shape).SerializeToString()
    facts += _key(_RAW_DATA, array.nbytes)
    return _key(_INITIALIZER, len(facts) + array.nbytes) + facts, array.nbytes


def _key(field: int, size: int) -> bytes:
    """Return what stands before a field of some bytes: its number and its size."""
    return _varint(field << 3 | 2) + _varint(size)


def _varint(number: int) -> bytes:
    """Write a number in base 128, the lowest digit first; all but the last have the highest bit set."""
    digits = bytearray()
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    digits.append(number)
    return bytes(digits)
