"""Memory that a graph of OpenVINO takes for a batch, and how much of it is computed at a time."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

__all__ = ["held_bytes", "request_rows", "stream_count"]

_STREAM_CORES = 4
# Two streams of MobileNetV2 hold 385 MB in batches of 32; those of VGG16 would hold 1.6 GB.
_TWO_STREAMS_BYTES = 450_000_000
# They write to memory of their own; other operations that keep the size overwrite what they read, or are part of these.
_APART = ("Convolution", "MatMul", "Pool", "Concat", "Interpolate")


def request_rows(rows: int, held: int) -> int:
    """Choose how many rows of a batch, which would hold `held` bytes of intermediate results, are computed together.

    A batch is halved until two streams hold no more than 450 MB, as long as it can be: parts have the same number of rows.
    What else the machine does decides nothing.

    Examples
    --------
    >>> request_rows(32, 193_000_000), request_rows(32, 822_000_000), request_rows(30, 822_000_000)
    (32, 8, 15)
    """
    while rows % 2 == 0 and 2 * held > _TWO_STREAMS_BYTES:
        rows, held = rows // 2, held // 2
    return rows


def stream_count(cores: int) -> int:
    """Choose the number of streams, each of which computes some rows at a time.

    Two keep the cores busier than one where layers are small; machines with many cores have a stream for each four.

    Examples
    --------
    >>> stream_count(1), stream_count(2), stream_count(32)
    (2, 2, 8)
    """
    return max(2, cores // _STREAM_CORES)


def held_bytes(model: Any) -> int:
    """Estimate the most bytes of intermediate results in float32 that a graph holds at a time.

    Results whose size depends on the values of others count as nothing.
    """
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() not in ("Constant", "Result")]
    last = {
        _name(source.get_source_output()): place
        for place, node in enumerate(nodes)
        for source in node.inputs()
    }
    held = most = 0
    ending: Counter[int] = Counter()
    for place, node in enumerate(nodes):
        sizes = {_name(output): _size(output) for output in node.outputs()}
        if not any(kind in node.get_type_name() for kind in _APART) and ending[place] >= sum(sizes.values()):
            held -= ending.pop(place)
        for name, size in sizes.items():
            held += size
            ending[last.get(name, place)] += size
        most = max(most, held)
        held -= ending.pop(place, 0)
    return most


def _size(output: Any) -> int:
    shape = output.get_partial_shape()
    return 0 if shape.is_dynamic else 4 * math.prod(shape.to_shape())


def _name(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()
