"""Packed linear systems against dense systems."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import TrainingError
from featx.svm.solvers.linalg import PackedSystem, packed_size


@given(count=st.integers(1, 40), step=st.integers(1, 41), columns=st.integers(1, 3), seed=st.integers(0, 99))
def test_solutions_are_those_of_the_square(count: int, step: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(count, count))
    square, shift, right = root @ root.T, rng.random(count) + 0.5, rng.normal(size=(count, columns))
    system = PackedSystem(np.full(packed_size(count), np.nan), count)
    for first in range(0, count, step):
        end = min(first + step, count)
        beyond = np.arange(end) > np.arange(first, end)[:, None]
        system.put(first, np.where(beyond, np.nan, square[first:end, :end]))
    system.add(0.25)
    system.add_diagonal(shift)
    wanted = np.linalg.solve(square + 0.25 + np.diag(shift), right)
    np.testing.assert_allclose(system.solve(right), wanted, rtol=1e-7, atol=1e-9)


def test_what_is_not_positive_definite_is_told() -> None:
    system = PackedSystem(np.empty(packed_size(3)), 3)
    system.put(0, np.array([[1.0, 0, 0], [2.0, 1.0, 0], [0.0, 0.0, 1.0]]))
    with pytest.raises(TrainingError, match="not positive definite in working precision"):
        system.solve(np.ones((3, 1)))
