"""Packed linear systems against dense systems."""

from __future__ import annotations

import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import TrainingError
from featx.svm.solvers.linalg import PackedSystem, in_threads, lower_cholesky, lower_solve, packed_size


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


def test_single_precision_solutions_are_those_of_the_square() -> None:
    rng = np.random.default_rng(1)
    root, right = rng.normal(size=(30, 20)), rng.normal(size=(20, 3)).astype(np.float32)
    square = np.asfortranarray(root.T @ root + np.eye(20))
    wanted = np.linalg.solve(square, right)
    lower = square.copy(order="F")
    assert lower_cholesky(lower)
    np.testing.assert_allclose(lower_solve(lower.astype(np.float32, order="F"), right), wanted, rtol=1e-3)
    assert not lower_cholesky(np.asfortranarray(-square))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_threads_are_shared_by_calls_within_calls(workers: int) -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def leaf(value: int) -> int:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.002)
        with lock:
            busy -= 1
        return value

    def branch(first: int) -> list[int]:
        return in_threads(leaf, range(10 * first, 10 * first + 6), workers)

    found = in_threads(branch, range(4), workers, at_once=2)
    assert found == [list(range(10 * first, 10 * first + 6)) for first in range(4)]
    assert most <= workers
    assert (most > 1) == (workers > 1)


@pytest.mark.parametrize("bad", [0, 5])
def test_an_error_in_a_thread_ends_the_work(bad: int) -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == bad:
            raise TrainingError("no")
        time.sleep(0.001)
        done.append(item)

    with pytest.raises(TrainingError, match="no"):
        in_threads(work, range(500), 3)
    assert len(done) < 400


def test_calls_that_find_no_free_thread_leave_nothing_to_it() -> None:
    """What such calls computed is freed while the only other thread is still at a long task."""
    began, ended = threading.Event(), threading.Event()
    alive: list[int] = []

    def task(name: str) -> None:
        if name == "long":
            began.set()
            assert ended.wait(30)
            return
        assert began.wait(30)
        made = [np.zeros(3) for _ in range(20)]
        results = [weakref.ref(in_threads(lambda one: one + 1, made, 2)[-1]) for _ in range(5)]
        alive.append(sum(one() is not None for one in results))
        ended.set()

    in_threads(task, ["long", "short"], 2)
    assert alive == [0]


def test_threads_that_become_free_help_with_work_that_is_going_on() -> None:
    inside, threads = threading.Event(), set[int]()

    def step(number: int) -> None:
        if number == 0:
            inside.set()
        time.sleep(0.02)
        threads.add(threading.get_ident())

    def task(_: int) -> None:
        if threading.current_thread() is threading.main_thread():
            in_threads(step, range(30), 2)
        else:
            assert inside.wait(30)

    in_threads(task, [0, 1], 2)
    assert len(threads) == 2
