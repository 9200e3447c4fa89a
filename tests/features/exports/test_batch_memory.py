from __future__ import annotations

import numpy as np
import pytest

from featx.features.exports.batch_memory import held_bytes, request_rows, stream_count

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")


def graph(residual):
    """Three convolutions of 8 channels at 10 px, the first with a ReLU that the end may add again."""
    from openvino import opset13 as op

    pixels = op.parameter([2, 3, 10, 10], np.float32)
    first = op.relu(_convolution(op, pixels, 3, 8))
    last = _convolution(op, _convolution(op, first, 8, 8), 8, 8)
    return openvino.Model([op.add(last, first) if residual else last], [pixels])


def _convolution(op, data, inputs, outputs):
    kernel = op.constant(np.zeros((outputs, inputs, 1, 1), np.float32))
    return op.convolution(data, kernel, [1, 1], [0, 0], [0, 0], [1, 1])


def test_what_one_layer_reads_and_writes_is_held_at_a_time():
    assert held_bytes(graph(residual=False)) == 4 * 2 * 100 * (8 + 8)


def test_what_is_read_later_is_held_until_then():
    assert held_bytes(graph(residual=True)) == 4 * 2 * 100 * (8 + 8 + 8)


def test_results_of_unknown_size_count_as_nothing():
    from openvino import opset13 as op

    pixels = op.parameter([2, 3, 10, 10], np.float32)
    places = op.non_zero(_convolution(op, pixels, 3, 8), "i32")
    assert places.output(0).get_partial_shape().is_dynamic
    assert held_bytes(openvino.Model([places], [pixels])) == 4 * 2 * 100 * (3 + 8)


@pytest.mark.parametrize(
    ("rows", "held", "parts"), [(32, 225, 1), (32, 226, 2), (32, 885, 4), (6, 885, 2), (7, 885, 1)]
)
def test_large_batches_are_halved_until_two_streams_hold_450_mb(rows, held, parts):
    assert request_rows(rows, held * 10**6) == rows // parts


@pytest.mark.parametrize(("cores", "streams"), [(1, 2), (7, 2), (12, 3), (64, 16)])
def test_there_is_a_stream_for_each_four_of_many_cores(cores, streams):
    assert stream_count(cores) == streams
