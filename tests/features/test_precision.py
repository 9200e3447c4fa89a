from __future__ import annotations

import numpy as np
import pytest

from featx.features.engines import Deviation, deviation


def test_equal_rows_do_not_deviate():
    rows = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    found = deviation(rows, rows.copy())
    assert found.worst == 0
    assert found.cosine == pytest.approx(1)


def test_the_worst_row_and_feature_count():
    reference = np.float32([[1, 0], [0, 10]])
    found = deviation(np.float32([[0, 1], [0, 10]]), reference)
    assert found == Deviation(0.0, 0.1)


def test_zero_rows_agree_with_zero_rows_alone():
    zero, one = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
    assert deviation(zero, zero) == Deviation(1.0, 0.0)
    assert deviation(zero, one).cosine == 0
