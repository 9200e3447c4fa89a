"""Shares of the machine for workers."""

from __future__ import annotations

import os

import pytest

from featx.jobs.places import environment, shares


def test_more_jobs_than_cores_take_turns_on_them() -> None:
    cores = sorted(os.sched_getaffinity(0))
    slots = shares(len(cores) + 1)
    assert slots == [*((core,) for core in cores), (cores[0],)]
    assert shares(1) == [tuple(cores)]


def test_workers_on_processors_compute_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's extraction must not settle how its training computes."""
    monkeypatch.delenv("TF_NUM_INTEROP_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert environment([(0, 1)], 0)["TF_NUM_INTEROP_THREADS"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "TF_NUM_INTEROP_THREADS" not in environment([(0, 1)], 0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "4")
    assert environment([(0,), (1,)], 0)["TF_NUM_INTEROP_THREADS"] == "4"
