"""Memory that a graph of OpenVINO takes for a batch, and how many batches are computed at a time."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

__all__ = ["held_bytes", "stream_count"]

_STREAM_CORES = 4
# Two streams of MobileNetV2 hold 0.4 GB; those of VGG16 and Xception would hold 1.6 and 1.7 GB.
_TWO_STREAMS_BYTES = 10**9
# They write to memory of their own; other operations that keep the size overwrite what they read, or are part of these.
_APART = ("Convolution", "MatMul", "Pool", "Concat", "Interpolate")


def stream_count(cores: int, held: int) -> int:
    """Choose the number of streams, each of which holds `held` bytes of intermediate results.

    One stream has all cores on one batch. Two keep them busier where layers are small, and are taken where both fit
    into 1 GB; machines with many cores have a stream for each four. What else the machine does decides nothing.

    Examples
    --------
    >>> stream_count(2, 190_000_000), stream_count(2, 822_000_000), stream_count(16, 822_000_000)
    (2, 1, 4)
    """
    least = 2 if 2 * held <= _TWO_STREAMS_BYTES else 1
    return max(least, cores // _STREAM_CORES)


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
