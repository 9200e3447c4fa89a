"""Cores and memory that a process may use, read from file trees as kernels show them, and memory given back."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from featx.machine import available_memory, peak_memory, rare_collections, resident_memory, usable_cores

MB = 1 << 20


def tree(root: Path, files: dict[str, object]) -> Path:
    for name, content in {
        "proc/meminfo": f"MemTotal: 99999 kB\nMemAvailable: {8000 * 1024} kB\n",
        **files,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def second(folder: str, limit: object, used: int, inactive: int) -> dict[str, object]:
    """A control group of version 2."""
    base = f"sys/fs/cgroup{folder}"
    stat = f"anon 1\ninactive_anon 2\ninactive_file {inactive * MB}\nactive_file 3"
    return {f"{base}/memory.max": limit, f"{base}/memory.current": used * MB, f"{base}/memory.stat": stat}


def first(folder: str, limit: int, used: int, inactive: int) -> dict[str, object]:
    """A control group of version 1."""
    base = f"sys/fs/cgroup/memory{folder}"
    stat = f"cache 1\ninactive_file 2\ntotal_inactive_file {inactive * MB}"
    return {
        f"{base}/memory.limit_in_bytes": limit,
        f"{base}/memory.usage_in_bytes": used * MB,
        f"{base}/memory.stat": stat,
    }


CASES: dict[str, tuple[dict[str, object], int]] = {
    "no control group": ({}, 8000),
    "no limit": ({"proc/self/cgroup": "0::/", **second("", "max", 3000, 0)}, 8000),
    "file pages that are not in use": ({"proc/self/cgroup": "0::/", **second("", 1000 * MB, 900, 700)}, 800),
    "a limit above the process's own group": (
        {
            "proc/self/cgroup": "0::/slurm/job_7/step_0",
            **second("/slurm/job_7/step_0", "max", 100, 0),
            **second("/slurm/job_7", 500 * MB, 200, 50),
            **second("/slurm", 4000 * MB, 200, 50),
        },
        350,
    ),
    "a container that does not see the groups above": (
        {"proc/self/cgroup": "0::/docker/3f2a", **second("", 600 * MB, 100, 0)},
        500,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "9:name=systemd:/\n5:cpu,cpuacct:/x\n4:memory:/batch/job\n0::/",
            **first("", 1 << 62, 3000, 0),
            **first("/batch", 1 << 62, 3000, 0),
            **first("/batch/job", 700 * MB, 300, 100),
        },
        500,
    ),
    "used up": ({"proc/self/cgroup": "0::/", **second("", 100 * MB, 120, 0)}, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_memory_is_what_the_tightest_control_group_leaves(tmp_path: Path, case: str) -> None:
    files, wanted = CASES[case]
    assert available_memory(tree(tmp_path, files)) == wanted * MB


@pytest.mark.linux
@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, 16),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "250000 100000"}, 2),
        ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/cpu.max": "max 100000"}, 16),
        ({"proc/self/cgroup": "0::/a", "sys/fs/cgroup/a/cpu.max": "50000 100000"}, 1),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/job",
                "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": 400000,
                "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": 100000,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1,
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": 100000,
            },
            4,
        ),
    ],
)
def test_cores_are_those_of_the_affinity_and_of_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, object], wanted: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_cores(tree(tmp_path, files)) == wanted


def test_nothing_asks_for_the_cores_of_the_whole_machine() -> None:
    package = Path(__file__).parents[1] / "featx"
    asking = [
        path.name for path in package.rglob("*.py") if "cpu_count()" in path.read_text(encoding="utf-8")
    ]
    # In an example, where a system has no affinity, and in the report of what a process may not use.
    assert sorted(asking) == ["machine.py", "resources.py"]


RESIDENT = """
import sys
from pathlib import Path
import numpy as np
from featx.machine import give_back_freed
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
assert sys.argv[1] == "as it is" or give_back_freed()
before = resident()
for _ in range(2):
    np.ones(3 << 20)  # 24 MiB, the second of which glibc keeps, by itself
print(resident() - before)
"""


@pytest.mark.linux
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize(("setting", "low", "high"), [("as it is", 20, 28), ("given back", -1, 4)])
def test_freed_arrays_do_not_stay_with_the_process(setting: str, low: float, high: float) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", RESIDENT, setting], capture_output=True, text=True, check=True
    )
    assert low < float(shown.stdout) < high


def test_the_memory_of_children_counts() -> None:
    code = """
import subprocess, sys
from featx.machine import resident_memory
before = resident_memory()
child = "import sys; held = bytearray(64 << 20); print(len(held), flush=True); sys.stdin.read()"
with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
    process.stdout.readline()
    during = resident_memory()
    process.stdin.close()
print(before >> 20, during - before >> 20, resident_memory() - before >> 20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, grown, after = map(int, done.stdout.split())
    assert before >= 4
    assert grown >= 64
    assert after < 64


@pytest.mark.linux
def test_the_peak_is_at_least_what_is_there_and_0_where_it_is_unknown(tmp_path) -> None:
    assert peak_memory() > 1 << 20
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("Name:\tx\nVmHWM:\t  2048 kB\n")
    assert peak_memory(tmp_path) == 2048 * 1024
    assert peak_memory(tmp_path / "none") == 0


@pytest.mark.linux
def test_the_tree_of_processes_is_found_whatever_their_names(tmp_path) -> None:
    me, page = os.getpid(), os.sysconf("SC_PAGE_SIZE")
    for number, name, parent, pages in (
        (me, "featx", 1, 10), (90001, "a ) b (", me, 20), (90002, "é", 90001, 30), (90003, "other", 1, 40)
    ):  # fmt: skip
        (tmp_path / f"proc/{number}").mkdir(parents=True)
        rest = ["S", str(parent), *["0"] * 19, str(pages), "0"]
        (tmp_path / f"proc/{number}/stat").write_text(f"{number} ({name}) {' '.join(rest)}\n")
    (tmp_path / "proc/90004").mkdir()
    assert resident_memory(tmp_path) == 60 * page


def test_the_collector_is_as_before_after_work_that_keeps_many_objects() -> None:
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="odd"), rare_collections():
        assert gc.get_threshold()[2] > before[2]
        raise ValueError("odd")
    assert gc.get_threshold() == before


def test_the_collector_is_as_before_after_work_that_overlaps() -> None:
    before = gc.get_threshold()
    first, second = rare_collections(), rare_collections()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert gc.get_threshold()[2] > before[2]
    second.__exit__(None, None, None)
    assert gc.get_threshold() == before
