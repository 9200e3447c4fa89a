"""Cores, threads, memory, shared memory and limits, on machines that are made up."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from featx.doctor import resources
from featx.doctor.check_rows import CheckContext
from featx.doctor.resources import (
    check_cores,
    check_limits,
    check_memory,
    check_shared_memory,
    check_threads,
)

pytestmark = pytest.mark.linux

resource = pytest.importorskip("resource", exc_type=ImportError)
GB = 10**9


def machine(root: Path, available: int, limit: int | None = None) -> CheckContext:
    """Lay out a machine of 64 GB, and a control group with a limit of memory."""
    files = {"proc/meminfo": f"MemTotal: {64 * GB // 1024} kB\nMemAvailable: {available // 1024} kB\n"}
    if limit is not None:
        group = "sys/fs/cgroup"
        files |= {
            "proc/self/cgroup": "0::/\n",
            f"{group}/memory.max": f"{limit}\n",
            f"{group}/memory.current": "0\n",
            f"{group}/memory.stat": "inactive_file 0\n",
        }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return CheckContext(root=root, environment={})


@pytest.mark.parametrize(
    ("available", "limit", "status", "found"),
    [
        (50 * GB, None, "ok", "50.0 GB available of 64.0 GB"),
        (3 * GB, None, "note", "3.0 GB available of 64.0 GB; large networks may not fit"),
        (
            50 * GB,
            GB // 2,
            "problem",
            "0.5 GB available of 64.0 GB, limited by a control group; an extraction by a small network needs about 1 GB",
        ),
    ],
)
def test_memory(tmp_path: Path, available: int, limit: int | None, status: str, found: str) -> None:
    (row,) = check_memory(machine(tmp_path, available, limit))
    assert (row.status, row.found) == (status, found)
    assert (row.remedy == "") == (status == "ok")


def test_cores_that_a_quota_takes_away_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "usable_cores", lambda root: 8)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    (row,) = check_cores(CheckContext())
    assert row.found == "8 of 64 usable, limited by its affinity or a CPU quota"
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    (row,) = check_cores(CheckContext())
    assert (row.status, row.found) == ("ok", "8 of 8 usable")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("OMP_NUM_THREADS", "64", "more threads than the 8 usable cores"),
        ("OMP_NUM_THREADS", "1", "fewer threads than the 8 usable cores"),
        ("MKL_NUM_THREADS", "many", "not a number of threads"),
        ("TF_NUM_INTEROP_THREADS", "1", ""),
        ("TF_NUM_INTRAOP_THREADS", "0", ""),
        ("OMP_NUM_THREADS", "8,2", ""),
    ],
)
def test_odd_numbers_of_threads_are_notes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str
) -> None:
    monkeypatch.setattr(resources, "usable_cores", lambda root: 8)
    (row,) = check_threads(CheckContext(environment={name: value, "PATH": "/bin"}))
    if text:
        assert (row.name, row.status) == (name, "note")
        assert row.found.startswith(f"{value}: {text}")
        assert name in row.remedy
    else:
        assert (row.name, row.status, row.found) == ("threads", "ok", f"{name}={value}")


def test_no_variable_limits_threads() -> None:
    (row,) = check_threads(CheckContext(environment={}))
    assert row.status == "ok"
    assert "no variable limits them" in row.found


def test_small_shared_memory_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (missing,) = check_shared_memory(CheckContext(root=tmp_path))
    assert (missing.status, missing.found) == ("note", "missing")
    for blocks, status in ((64 << 8, "note"), (64 << 18, "ok")):
        facts = SimpleNamespace(f_blocks=blocks, f_bavail=blocks, f_frsize=4096)
        monkeypatch.setattr(os, "statvfs", lambda place, facts=facts: facts)
        (row,) = check_shared_memory(CheckContext(root=tmp_path))
        assert (row.status, row.figures["free"]) == (status, blocks * 4096)


@pytest.mark.parametrize(
    ("limits", "rows"),
    [
        ({}, [("open files", "ok")]),
        ({resource.RLIMIT_NOFILE: 4096}, [("open files", "ok")]),
        ({resource.RLIMIT_NOFILE: 256}, [("open files", "note")]),
        ({resource.RLIMIT_NOFILE: 20}, [("open files", "problem")]),
        ({resource.RLIMIT_FSIZE: 10**6}, [("open files", "ok"), ("size of files", "problem")]),
        ({resource.RLIMIT_AS: 8 * GB}, [("open files", "ok"), ("address space", "note")]),
    ],
)
def test_limits(monkeypatch: pytest.MonkeyPatch, limits: dict[int, int], rows: list[tuple[str, str]]) -> None:
    unlimited = resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits.get(kind, unlimited), unlimited))
    found = list(check_limits(CheckContext()))
    assert [(row.name, row.status) for row in found] == rows
