"""The queue of jobs that wait for GPU memory, with real processes and a stand-in for NVML."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from featx import gpu_queue
from featx.errors import ConfigError
from featx.gpu_queue import QueueTicket, user_folder, wait_for_gpu
from featx.gpus import visible_gpus
from featx.progress import Silent
from tests.fake_nvml import gpu, install

pytestmark = pytest.mark.linux

ROOT = Path(__file__).parents[1]
# A job that wants 10000 MB of a GPU whose free memory is in a file. Once it has got room it writes down what it saw,
# takes its memory, and only then lets the next job go on.
JOB = """
import json, os, sys, time
from pathlib import Path
from featx import gpu_queue
from featx.gpus import MIB, visible_gpus
from featx.process import interruptible
from tests.fake_nvml import module

name, state, seen, takes = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "takes"
sys.modules["pynvml"] = module(state)
gpu_queue._LOOK_SECONDS = 0.02

class Notes:
    def say(self, message):
        print(message, flush=True)

with interruptible():
    gpu, ticket = gpu_queue.wait_for_gpu(10_000, visible_gpus, Notes())
    with seen.open("a") as file:
        file.write(f"{name} {gpu.free // MIB}\\n")
    print("has room", flush=True)
    if takes:
        rows = json.loads(state.read_text())
        rows[0]["free"] -= 10_000
        aside = state.with_suffix(".aside")
        aside.write_text(json.dumps(rows))
        aside.replace(state)
        ticket.release()
    else:
        time.sleep(120)
"""


class Box:
    """A machine with one GPU."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.seen = folder, folder / "nvml.json", folder / "seen.txt"
        self.jobs: list[subprocess.Popen[str]] = []
        self.seen.touch()
        self.free(0)

    def free(self, megabytes: int) -> None:
        aside = self.folder / "nvml.new"
        aside.write_text(json.dumps([gpu("GPU-a", megabytes)]))
        aside.replace(self.state)

    def start(self, name: str, *, takes: bool = True) -> tuple[subprocess.Popen[str], str]:
        """Start a job; return it and its first line, which comes when it has its ticket."""
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        job = subprocess.Popen(
            [sys.executable, "-c", JOB, name, str(self.state), str(self.seen), "takes" if takes else "keeps"],
            env={**environment, "TMPDIR": str(self.folder), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.jobs.append(job)
        assert job.stdout is not None
        return job, job.stdout.readline().strip()

    def tickets(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("featx-*/gpu-queue/*.ticket"))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    for job in made.jobs:
        job.kill()
        job.communicate()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_queue.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpu_queue, "_LOOK_SECONDS", 0.0)


def test_three_jobs_start_one_by_one_in_the_order_of_their_arrival(box: Box) -> None:
    started = [box.start(name) for name in ("first", "second", "third")]
    waiting = "waiting for a GPU with 10000 MB of free memory"
    assert [line for _, line in started] == [
        f"{waiting}; most is free on gpu:0 (NVIDIA H100, 0 of 80000 MB free)",
        f"{waiting}; 1 job of this user before this one; most is free on gpu:0 (NVIDIA H100, 0 of 80000 MB free)",
        f"{waiting}; 2 jobs of this user before this one; most is free on gpu:0 (NVIDIA H100, 0 of 80000 MB free)",
    ]
    box.free(35_000)
    assert [job.wait(60) for job, _ in started] == [0, 0, 0]
    # Each saw the memory of those before it taken.
    assert box.seen.read_text().splitlines() == ["first 35000", "second 25000", "third 15000"]
    assert box.tickets() == []


def test_jobs_beyond_the_room_go_on_waiting(box: Box) -> None:
    (first, _), (second, _) = box.start("first"), box.start("second")
    box.free(19_999)
    assert first.wait(60) == 0
    assert second.poll() is None
    box.free(10_000)
    assert second.wait(60) == 0
    assert box.seen.read_text().splitlines() == ["first 19999", "second 10000"]


@pytest.mark.parametrize("room", [0, 50_000])
def test_a_killed_job_frees_its_place_by_itself(box: Box, room: int) -> None:
    """Whether it was waiting, or had got room and not yet allocated its memory."""
    box.free(room)
    (first, said), (second, _) = box.start("first", takes=False), box.start("second")
    assert said.startswith("waiting" if not room else "has room")
    assert len(box.tickets()) == 2
    assert second.poll() is None
    if room:
        box.free(12_000)  # before its place is free: the second one looks at once
    first.kill()
    first.wait()
    box.free(12_000)
    assert second.wait(60) == 0
    assert box.seen.read_text().splitlines()[-1] == "second 12000"
    assert box.tickets() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_waiting_can_be_interrupted(box: Box, number: int) -> None:
    job, _ = box.start("first")
    job.send_signal(number)
    _, errors = job.communicate(timeout=60)
    assert job.returncode != 0
    assert "Interrupted" in errors
    assert box.tickets() == []


def test_it_is_said_at_once_and_then_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now, said = [1000.0], []
    install(monkeypatch, gpu("GPU-a", 0))

    def sleep(seconds: float) -> None:
        now[0] += 5
        if now[0] >= 1000 + 130:
            install(monkeypatch, gpu("GPU-a", 500), gpu("GPU-b", 700))

    monkeypatch.setattr(gpu_queue.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(gpu_queue.time, "sleep", sleep)

    class Notes(Silent):
        def say(self, message: str) -> None:
            said.append(now[0] - 1000)

    found, ticket = wait_for_gpu(400, visible_gpus, Notes())
    assert (found.uuid, said) == ("GPU-b", [0, 60, 120])
    ticket.release()
    ticket.release()


def test_what_can_never_be_is_refused_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, gpu("GPU-a", 100, 200))
    with pytest.raises(ConfigError, match="the largest GPU has 200 MB"):
        wait_for_gpu(201, visible_gpus, Silent())
    with pytest.raises(ConfigError, match="sees none"):
        wait_for_gpu(1, tuple, Silent())
    row = gpu("GPU-a", 100)
    install(monkeypatch, row)
    monkeypatch.setattr(sys.modules["pynvml"], "nvmlDeviceGetMemoryInfo", _refuse(sys.modules["pynvml"]))
    with pytest.raises(ConfigError, match="nvidia-ml-py"):
        wait_for_gpu(1, visible_gpus, Silent())
    assert not list(tmp_path.rglob("*.ticket"))


def _refuse(nvml: object) -> Callable[[object], None]:
    def refuse(handle: object) -> None:
        raise nvml.NVMLError("not supported")  # type: ignore[attr-defined]

    return refuse


def test_a_place_is_given_up_after_a_time(tmp_path: Path) -> None:
    first, second = QueueTicket(tmp_path / "queue"), QueueTicket(tmp_path / "queue")
    assert (first.ahead(), second.ahead()) == (0, 1)
    first.release_later(0.01)
    while second.ahead():
        time.sleep(0.01)
    third = QueueTicket(tmp_path / "queue")
    assert third.ahead() == 1
    second.release()
    assert third.ahead() == 0
    third.release()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = user_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(ConfigError, match="alone"):
        user_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="alone"):
        user_folder()
    folder.unlink()
    folder.touch()
    with pytest.raises(ConfigError, match="alone"):
        user_folder()
    folder.unlink()
    real = os.getuid()
    user_folder()
    folder.rename(tmp_path / f"featx-{real + 1}")
    monkeypatch.setattr(gpu_queue.os, "getuid", lambda: real + 1)
    with pytest.raises(ConfigError, match="alone"):
        user_folder()
