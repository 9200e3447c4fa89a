"""Cores and GPUs of jobs that run side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from featx.jobs.machines.cores import (
    claim_cores,
    claim_gpu,
    gpu_names,
    share_of_cores,
    tensorflow_threads,
    thread_settings,
)

pytestmark = pytest.mark.linux


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of locks that no other test uses, and four cores."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 4, 5, 6})
    return tmp_path / f"featx-{os.getuid()}"


def test_jobs_side_by_side_have_cores_of_their_own() -> None:
    first, second = claim_cores(2), claim_cores(2)
    assert (first.cores, second.cores) == ({3, 4}, {5, 6})
    third = claim_cores(1)
    assert third.cores < {3, 4, 5, 6}
    first.release()
    assert claim_cores(2).cores == {3, 4}


def test_free_cores_come_first() -> None:
    claim = claim_cores(3)
    more = claim_cores(2)
    assert 6 in more.cores
    assert len(more.cores) == 2
    claim.release()


def test_a_single_job_takes_all_cores_without_locks() -> None:
    assert claim_cores(4).cores == claim_cores(4).cores == {3, 4, 5, 6}


def test_the_kernel_frees_what_a_killed_process_held(own_locks: Path) -> None:
    program = (
        "import os, sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "os.sched_getaffinity = lambda _: {3, 4, 5, 6}\n"
        "from featx.jobs.machines.cores import claim_cores\n"
        "claim = claim_cores(3); print('held', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(own_locks.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert 6 in claim_cores(1).cores
    process.kill()
    process.communicate()
    assert claim_cores(2).cores == {3, 4}


def test_gpus_are_claimed_one_by_one_and_shared_when_all_are_taken() -> None:
    first, second, third = (claim_gpu(["4", "GPU-7a/b"]) for _ in range(3))
    assert (first.names, second.names) == (("4",), ("GPU-7a/b",))
    assert third.names[0] in {"4", "GPU-7a/b"}
    assert claim_gpu([]).names == ()


def test_a_folder_of_another_user_is_not_used(own_locks: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    own_locks.symlink_to(tmp_path / "theirs")
    assert claim_cores(2).cores == claim_cores(2).cores
    assert list((tmp_path / "theirs").iterdir()) == []


def test_shares_are_rounded_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [share_of_cores(slots) for slots in (1, 2, 3, 4, 9)] == [4, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("visible", "names"), [("", []), ("-1", []), ("0,2", ["0", "2"]), ("GPU-1,GPU-2", ["GPU-1", "GPU-2"])]
)
def test_gpus_are_named_as_they_are_visible(visible: str, names: list[str]) -> None:
    assert gpu_names({"CUDA_VISIBLE_DEVICES": visible}) == names


def test_workers_on_processors_compute_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's extraction must not settle how its training computes."""
    monkeypatch.delenv("TF_NUM_INTEROP_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert thread_settings(2, 4, "", alone=True)["TF_NUM_INTEROP_THREADS"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "TF_NUM_INTEROP_THREADS" not in thread_settings(2, 4, "", alone=True)
    assert thread_settings(2, 4, "", alone=False)["CUDA_VISIBLE_DEVICES"] == "-1"
    settings = thread_settings(3, 4, "0", alone=False)
    assert (settings["CUDA_VISIBLE_DEVICES"], settings["OMP_NUM_THREADS"]) == ("0", "3")
    assert settings["TF_NUM_INTRAOP_THREADS"] == "4"
    assert settings["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "4")
    assert thread_settings(1, 4, "", alone=False)["TF_NUM_INTEROP_THREADS"] == "4"


def test_tensorflow_has_the_threads_of_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert tensorflow_threads() == 4
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    assert tensorflow_threads() == 3
