"""What is done on systems without affinity, locks of open files, ``/proc``, sessions or timers."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from featx import disks, files, gpu_queue, machine, process
from featx.errors import ConfigError
from featx.gpus import Gpu
from featx.jobs.machines import cores, leases
from featx.process import interruptible, lower_priority
from featx.progress import Silent


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "_fcntl", None)
    for module in (disks, files, gpu_queue):
        monkeypatch.setattr(module, "HAS_LOCKS", False)


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide /proc from those who look for it through a path."""

    def absent(self: Path, *given: object, **values: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "absent", str(self))

    for name in ("read_text", "readlink", "iterdir"):
        real = getattr(Path, name)
        monkeypatch.setattr(
            Path,
            name,
            lambda self, *given, real=real, **values: (absent if str(self).startswith("/proc") else real)(
                self, *given, **values
            ),
        )
    exists, is_dir = Path.exists, Path.is_dir
    monkeypatch.setattr(Path, "exists", lambda self: not str(self).startswith("/proc") and exists(self))
    monkeypatch.setattr(Path, "is_dir", lambda self: not str(self).startswith("/proc") and is_dir(self))
    leases._machine.cache_clear()
    monkeypatch.setattr(leases, "_machine", leases._machine.__wrapped__)


def test_without_affinity_all_cores_count_and_nothing_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "sched_setaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert machine.affinity() == [0, 1, 2]
    assert machine.move_threads(os.getpid(), {2})
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    assert cores.tensorflow_threads() == 3
    assert machine.usable_cores(Path("/nothing")) == 3


@pytest.mark.usefixtures("no_locks")
def test_without_locks_files_are_written_and_what_was_left_is_kept_a_day(tmp_path: Path) -> None:
    leftover = tmp_path / f"{files.ASIDE}old"
    leftover.mkdir()
    files.write_text(tmp_path / "file", "text")
    with files.folder_aside(tmp_path / "folder") as aside:
        (aside / "a").write_text("a")
    assert sorted(os.listdir(tmp_path)) == [leftover.name, "file", "folder"]
    day = files.new_folder_status(tmp_path).st_mtime - 25 * 3600
    os.utime(leftover, (day, day))
    assert files.remove_leftovers(tmp_path) == (leftover,)


@pytest.mark.usefixtures("no_locks")
def test_without_locks_cores_are_shared_and_waiting_for_a_gpu_is_refused() -> None:
    with pytest.raises(OSError, match="cannot lock") as found:
        disks.lock(0)
    assert found.value.errno == errno.ENOTSUP
    claim = cores.claim_cores(1)
    assert len(claim.names) == 1
    claim.release()
    with pytest.raises(ConfigError, match="'wait_gpu' parameter needs locks"):
        gpu_queue.wait_for_gpu(1, lambda: [Gpu(0, "GPU-1", "card")], Silent())


def test_without_numbers_of_users_the_folder_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_queue.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.delattr(os, "getuid")
    folder = gpu_queue.user_folder()
    assert folder.name == "featx-ada"
    folder.chmod(0o777)
    assert gpu_queue.user_folder() == folder


@pytest.mark.usefixtures("no_proc")
def test_without_proc_psutil_tells_when_a_process_began_and_what_memory_there_is() -> None:
    pytest.importorskip("psutil")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began = process.began(child.pid)
    assert began == process.began(child.pid) != ""
    child.kill()
    child.wait()
    assert process.began(child.pid) == ""
    assert leases.process_of()["began"] == process.began(os.getpid())
    assert machine.available_memory() > 1 << 20
    assert machine.resident_memory() > 1 << 20


@pytest.mark.usefixtures("no_proc")
def test_without_proc_the_process_has_one_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "getpriority", lambda which, number: 0)
    monkeypatch.setattr(os, "setpriority", lambda *given: calls.append(given))
    lower_priority(7)
    assert calls == [(os.PRIO_PROCESS, 0, 7)]
    monkeypatch.delattr(os, "setpriority")
    lower_priority(7)  # Windows: one step by psutil, which Linux does not have
    assert len(calls) == 1


def test_without_sessions_and_timers_a_process_is_ended_and_interrupted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "killpg")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process.end_session(child)
    assert child.wait() == -9
    for name in ("SIGHUP", "SIGKILL", "setitimer"):
        monkeypatch.delattr(signal, name)
    assert process.stop_signals() == (signal.SIGINT, signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interruptible():
        process.interrupt_main()
        sum(range(10**6))


def test_flags_that_a_system_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_NOFOLLOW")
    monkeypatch.setattr(os, "O_BINARY", 1 << 30, raising=False)
    assert disks.open_flags("O_RDWR", "O_NOFOLLOW") == os.O_RDWR | 1 << 30
