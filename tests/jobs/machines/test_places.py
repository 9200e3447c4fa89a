"""Places: how they are named, and what each makes of a job."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featx.errors import ClusterError, ConfigError
from featx.images import read_keys
from featx.jobs.machines.places import _answers, _dask_place, given_executor, open_place, parse_place
from featx.progress import Silent

Make = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("local", ("local", "")),
        ("dask", ("dask", "")),
        ("ray", ("ray", "")),
        ("dask:tls://10.0.0.1:8786", ("dask", "tls://10.0.0.1:8786")),
        ("ray:10.0.0.1:6379", ("ray", "10.0.0.1:6379")),
    ],
)
def test_places_are_read(text: str, place: tuple[str, str]) -> None:
    assert parse_place(text) == place


@pytest.mark.parametrize("text", ["", "slurm", "dask:", "local:here", "Dask"])
def test_other_places_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"dask:SCHEDULER-FILE.*Got {text!r}"):
        parse_place(text)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("distributed", "ray"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("dask", "ray"):
        with (
            pytest.raises(ConfigError, match=rf"pip install 'featx\[{name}\]'"),
            open_place(name, 1, None, Silent()),
        ):
            pass


def test_a_missing_scheduler_file_is_bad_input(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="no scheduler file"),
        open_place(f"dask:{tmp_path / 'none.json'}", 1, None, Silent()),
    ):
        pass


def test_a_scheduler_that_does_not_answer_is_failed_work() -> None:
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(ClusterError, match=r"tcp://127.0.0.1:9 cannot be reached"),
        open_place("dask:tcp://127.0.0.1:9", 1, None, Silent()),
    ):
        pass


def test_this_machine_has_the_slots_that_were_asked_for() -> None:
    with open_place("local", 3, None, Silent()) as place:
        assert (place.total(), place.slots(), place.most, place.whole) == (3, {"": 3}, 3, True)


def test_any_executor_is_a_place_and_is_left_open(fake_worker: Path, make_task: Make) -> None:
    with ThreadPoolExecutor(2) as executor:
        with given_executor(executor, 1) as place:
            assert (place.total(), place.whole) == (2, False)
            assert place.submit(make_task("one")).result()["event"] == "done"
        assert executor.submit(int).result() == 0


class _Client:
    """A Dask client whose cluster has two GPU workers on one machine and eight processor workers on another."""

    status = "running"

    def __init__(self, memory: int | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        more = {"MEMORY": memory} if memory else {}
        gpus = [{"host": "10.0.0.1", "nthreads": 1, "resources": {"GPU": 1, **more}}] * 2
        others = [{"host": "10.0.0.2", "nthreads": 4, "resources": more}] * 2
        self.workers = dict(enumerate([*gpus, *others]))
        self.scheduler = SimpleNamespace(address="tls://10.0.0.3:8786")

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1
        return {"workers": self.workers}

    def get_executor(self, **given: Any) -> ThreadPoolExecutor:
        self.asked.append(given.get("resources", {}))
        return ThreadPoolExecutor(1)


def test_on_a_mixed_dask_cluster_networks_get_gpus_and_machines_their_own_slots(make_task: Make) -> None:
    client = _Client()
    place = _dask_place(client, None)
    assert place.slots() == {"": 1, "10.0.0.1": 2, "10.0.0.2": 8}
    assert place.total() == 10
    for gpus in (1, 0):
        place.submit(make_task(gpus=gpus))
    assert client.asked == [{"GPU": 1}, {}]


def test_memory_is_asked_of_workers_that_declare_it(make_task: Make) -> None:
    client = _Client(memory=2 << 30)
    for memory in (1 << 30, 8 << 30):
        _dask_place(client, None).submit(make_task(memory=memory))
    assert client.asked == [{"MEMORY": 1 << 30}, {"MEMORY": 2 << 30}]


def test_a_scheduler_that_cannot_be_reached_has_the_workers_that_were_known_last() -> None:
    client = _Client()
    place = _dask_place(client, None)
    assert place.total() == 10
    client.workers.clear()
    client.scheduler_info = lambda n_workers: {}  # type: ignore[method-assign]
    client.status = "connecting"
    assert place.total() == 10
    assert place.alive()
    client.status = "closed"
    assert not place.alive()


def hashing(make_task: Make, data: Path, tmp_path: Path, name: str) -> dict[str, Any]:
    """Make a job that real worker processes do: they import nothing of these tests."""
    output = str(tmp_path / f"{name}.csv")
    place = {"manifest": str(data), "root": None, "cache": str(tmp_path / "cache"), "allow_outside": False}
    return make_task(name, kind="hash", arguments={**place, "part": [0, 1], "output": output})


@pytest.mark.slow
def test_a_dask_cluster_of_this_machine_speaks_tls_on_loopback_alone(
    data: Path, tmp_path: Path, make_task: Make
) -> None:
    with open_place("dask", 1, None, Silent()) as place:
        assert place.name.startswith("the Dask cluster at tls://127.0.0.1:")
        assert (place.total(), place.slots()) == (1, {"": 1, "127.0.0.1": 1})
        assert place.submit(hashing(make_task, data, tmp_path, "one")).result()["event"] == "done"
        assert _listening() == {"127.0.0.1"}
    assert len(read_keys(tmp_path / "one.csv")) == 24


@pytest.mark.slow
def test_a_ray_cluster_of_this_machine_runs_jobs(data: Path, tmp_path: Path, make_task: Make) -> None:
    with open_place("ray", 1, None, Silent()) as place:
        assert place.total() == 1
        assert place.submit(hashing(make_task, data, tmp_path, "one")).result()["event"] == "done"
    assert len(read_keys(tmp_path / "one.csv")) == 24


@pytest.mark.slow
def test_a_ray_cluster_without_its_part_on_this_machine_is_lost(
    data: Path, tmp_path: Path, make_task: Make
) -> None:
    with open_place("ray", 1, None, Silent()) as place:
        ours = subprocess.check_output(["pgrep", "-P", str(os.getpid()), "-x", "raylet"], text=True).split()
        assert place.alive()
        for number in ours:
            os.kill(int(number), signal.SIGKILL)
        limit = time.monotonic() + 120
        while place.alive() and time.monotonic() < limit:
            with suppress(Exception):
                place.submit(hashing(make_task, data, tmp_path, "one")).result(30)
            time.sleep(1)
        assert not place.alive()


def test_a_cluster_that_has_gone_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert _answers(address)
    assert not _answers(address)


def _listening() -> set[str]:
    """Addresses on which this process and what it has started listen."""
    listed = subprocess.check_output(["ps", "-eo", "pid=,ppid="], text=True).splitlines()
    parents = dict(line.split() for line in listed)
    ours = {str(os.getpid())}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=False).stdout.splitlines()
    found = set()
    for line in lines:
        if any(f"pid={pid}," in line for pid in ours):
            found.add(line.split()[3].rpartition(":")[0])
    return found
