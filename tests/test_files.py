from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featx import disks, files
from featx.errors import DiskError
from featx.files import (
    ASIDE,
    find_files,
    folder_aside,
    forget_listing,
    open_regular,
    read_regular,
    remove_leftovers,
    retry_stale,
    sync_folder,
    wait_for,
    write_aside,
    write_json,
    write_text,
)


def test_a_file_appears_whole_and_nothing_stays_beside_it(tmp_path):
    target = tmp_path / "new" / "file.txt"
    write_text(target, "ü\n")
    assert target.read_bytes() == "ü\n".encode()
    assert os.listdir(target.parent) == ["file.txt"]


def test_a_failed_writer_leaves_the_old_file(tmp_path):
    target = tmp_path / "file"
    write_text(target, "old")
    with pytest.raises(RuntimeError), write_aside(target) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_json_refuses_what_json_cannot_hold(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "file.json", {"a": float("nan")})
    assert os.listdir(tmp_path) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "run"
    for names in (["a", "b"], ["c"]):
        with folder_aside(target) as aside:
            for name in names:
                (aside / name).write_text(name)
    assert os.listdir(target) == ["c"]
    assert os.listdir(tmp_path) == ["run"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    target = tmp_path / "run"
    with folder_aside(target) as aside:
        (aside / "a").write_text("old")
    with pytest.raises(RuntimeError), folder_aside(target) as aside:
        (aside / "a").write_text("half")
        raise RuntimeError
    assert (target / "a").read_text() == "old"


KILLED = """
import sys, time
from featx.files import write_aside
with write_aside(sys.argv[1]) as aside:
    aside.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    target = tmp_path / "file"
    write_text(target, "old")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    assert target.read_text() == "old"
    assert all(name == "file" or name.startswith(ASIDE) for name in os.listdir(tmp_path))
    write_text(target, "new")
    assert target.read_text() == "new"


def test_a_reader_never_sees_half_a_file(tmp_path):
    target = tmp_path / "file"
    write_text(target, "a" * 100_000)
    writer = f"""
from featx.files import write_text
for turn in range(40):
    write_text({str(target)!r}, "ab"[turn % 2] * 100_000)
"""
    process = subprocess.Popen([sys.executable, "-c", writer])
    seen = set()
    while process.poll() is None:
        seen.add(target.read_text())
        time.sleep(0)
    assert process.returncode == 0
    assert seen <= {"a" * 100_000, "b" * 100_000}


WRITERS_FOLDER = """
import sys, time
from featx.files import folder_aside
with folder_aside(sys.argv[1]) as aside:
    (aside / "complete.json").write_text("{}")
    print("writing", flush=True)
    time.sleep(60)
"""


def start_writer(target: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITERS_FOLDER, str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    return process


def test_what_is_not_finished_is_not_found(tmp_path: Path) -> None:
    process = start_writer(tmp_path / "arm" / "1x1")
    try:
        assert len(list(tmp_path.rglob("complete.json"))) == 1
        assert find_files(tmp_path, "complete.json") == []
    finally:
        process.kill()
        process.wait(timeout=10)
    write_text(tmp_path / "arm" / "1x2" / "complete.json", "{}")
    assert find_files(tmp_path, "complete.json") == [tmp_path / "arm" / "1x2" / "complete.json"]


@pytest.mark.linux
def test_the_next_writer_removes_what_a_killed_one_left_and_nothing_of_a_living_one(tmp_path: Path) -> None:
    killed, living = start_writer(tmp_path / "1x1"), start_writer(tmp_path / "1x2")
    try:
        killed.kill()
        killed.wait(timeout=10)
        assert len(os.listdir(tmp_path)) == 2
        with folder_aside(tmp_path / "2x1"):
            pass
        (left,) = (name for name in os.listdir(tmp_path) if name != "2x1")
        assert (tmp_path / left / "1x2").is_dir()
    finally:
        living.kill()
        living.wait(timeout=10)
    assert [path.name for path in remove_leftovers(tmp_path)] == [left]
    assert os.listdir(tmp_path) == ["2x1"]
    assert remove_leftovers(tmp_path / "missing") == ()


@pytest.mark.linux
def test_a_folder_is_exchanged_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "run"
    write_text(target / "old", "old")
    seen: list[list[str]] = []
    exchange = files.exchange

    def watch(one: Path, other: Path) -> bool:
        seen.append(os.listdir(other))
        done = exchange(one, other)
        seen.append(os.listdir(other))
        return done

    monkeypatch.setattr(files, "exchange", watch)
    with folder_aside(target) as aside:
        (aside / "new").write_text("new")
    assert seen == [["old"], ["new"]]
    assert os.listdir(tmp_path) == ["run"]


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "exchange", lambda one, other: False)


def test_without_an_exchange_the_old_folder_stays_until_the_new_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_exchange(monkeypatch)
    target, rename = tmp_path / "run", Path.replace
    write_text(target / "old", "old")
    calls: list[str] = []

    def failing(self: Path, other: Path) -> Any:
        calls.append(self.name)
        if len(calls) == 3:  # the new folder's, after the old one was moved away
            raise OSError(errno.EIO, "the disk is broken")
        return rename(self, other)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(DiskError, match="run: cannot be written"), folder_aside(target) as aside:
        (aside / "new").write_text("new")
    assert os.listdir(target) == ["old"]
    monkeypatch.setattr(Path, "replace", rename)
    with folder_aside(target) as aside:
        (aside / "new").write_text("new")
    assert os.listdir(target) == ["new"]


@pytest.mark.linux
def test_a_folder_that_was_moved_away_when_its_writer_died_is_put_back(tmp_path: Path) -> None:
    write_text(tmp_path / f"{ASIDE}dead" / "replaced" / "run" / "old", "old")
    write_text(tmp_path / f"{ASIDE}dead" / "run" / "new", "new")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["run"]
    assert os.listdir(tmp_path / "run") == ["old"]


@pytest.mark.linux
def test_file_systems_that_cannot_flush_or_lock_folders_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(fcntl, "flock", refuse)
    sync_folder(tmp_path)
    write_text(tmp_path / "file", "text")
    with folder_aside(tmp_path / "run") as aside:
        (aside / "file").write_text("text")
    assert sorted(os.listdir(tmp_path)) == ["file", "run"]
    # Without locks nobody knows whether a writer lives: what is younger than a day stays.
    (tmp_path / f"{ASIDE}new").mkdir()
    (tmp_path / f"{ASIDE}old").mkdir()
    os.utime(tmp_path / f"{ASIDE}old", (0, 0))
    assert [path.name for path in remove_leftovers(tmp_path)] == [f"{ASIDE}old"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("write", [write_aside, folder_aside])
def test_a_full_disk_is_one_line_that_names_the_file(
    tmp_path: Path, write: Callable[[Path], Any], code: int
) -> None:
    target = tmp_path / "new" / "file"
    with (
        pytest.raises(DiskError, match=r"new/file: cannot be written: .*MB are free") as caught,
        write(target),
    ):
        raise OSError(code, "no")
    assert "\n" not in str(caught.value)
    assert os.listdir(target.parent) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    with pytest.raises(DiskError, match=r"file/run: cannot be written: (Not a directory|File exists)"):
        write_text(tmp_path / "file" / "run", "text")


def test_an_error_of_the_body_that_is_not_of_the_disk_stays_itself(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), write_aside(tmp_path / "file"):
        (tmp_path / "missing").read_text()


@pytest.mark.linux
@pytest.mark.parametrize(
    ("put", "kind"),
    [
        (os.mkfifo, "it is a named pipe"),
        (Path.mkdir, "it is a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_only_regular_files_are_read(tmp_path: Path, put: Callable[[Path], None], kind: str) -> None:
    put(tmp_path / "a.jpg")
    with pytest.raises(OSError, match=kind) as caught:
        read_regular(tmp_path / "a.jpg", 100)
    assert str(tmp_path / "a.jpg") in str(caught.value)
    with pytest.raises(OSError, match=kind):
        open_regular(tmp_path / "a.jpg")


def test_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("a")
    assert read_regular(tmp_path / "b", 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, more than the 4 that are read"):
        read_regular(tmp_path / "b", 4)


def test_a_file_that_grows_while_it_is_read_is_read_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    status = os.fstat

    class Earlier:
        st_mode, st_size = (tmp_path / "a").stat().st_mode, 3

    monkeypatch.setattr(os, "fstat", lambda handle: Earlier)
    assert read_regular(tmp_path / "a", 9) == b"12345"
    with pytest.raises(OSError, match="more than the 4 that are read"):
        read_regular(tmp_path / "a", 4)
    monkeypatch.setattr(os, "fstat", status)


def test_a_name_that_no_file_has_is_an_error_of_the_system(tmp_path: Path) -> None:
    for name in ("a\0b", "a" * 5000):
        with pytest.raises(OSError, match=r"not a valid name|File name too long"):
            read_regular(f"{tmp_path}/{name}", 9)


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the list of mounts says is on NFS."""
    folder, table = tmp_path / "shared", tmp_path / "mountinfo"
    folder.mkdir()
    table.write_text(f"40 1 0:99999 / {folder} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(disks, "_MOUNTS", table)
    return folder


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM])
@pytest.mark.parametrize("call", ["open", "fsync"])
def test_folders_that_cannot_be_flushed_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, refuse)
    sync_folder(tmp_path)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE])
@pytest.mark.parametrize("call", ["open", "fsync"])
def test_errors_of_a_broken_or_full_disk_are_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match=os.strerror(code)):
        sync_folder(tmp_path)


def test_a_file_that_cannot_be_flushed_for_lack_of_permission_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(PermissionError):
        write_text(tmp_path / "file", "text")


@pytest.mark.parametrize("inodes", ["kept", "new"])
@pytest.mark.parametrize("what", ["file", "folder", "replaced folder"])
def test_a_rename_that_a_server_does_and_then_denies_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, inodes: str
) -> None:
    """The server gets the request a second time, since its answer to the first was lost."""
    rename = Path.replace

    def twice(self: Path, other: Path) -> None:
        if inodes == "kept":
            rename(self, other)
        elif self.is_dir():
            shutil.copytree(self, other)
            shutil.rmtree(self)
        else:
            shutil.copy2(self, other)
            self.unlink()
        rename(self, other)

    without_exchange(monkeypatch)
    monkeypatch.setattr(Path, "replace", twice)
    if what == "file":
        write_text(tmp_path / "run", "new")
    else:
        for name in ["old", "new"][what == "folder" :]:
            with folder_aside(tmp_path / "run") as aside:
                (aside / name).write_text(name)
        assert os.listdir(tmp_path / "run") == ["new"]
    assert os.listdir(tmp_path) == ["run"]


def test_a_rename_that_was_not_done_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def vanish(self: Path, other: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    write_text(tmp_path / "file", "old")
    monkeypatch.setattr(Path, "replace", vanish)
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "file", "newer")
    assert (tmp_path / "file").read_text() == "old"


@pytest.mark.linux
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_where_the_exchange_is_not_supported_folders_are_replaced_in_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    class Library:
        @staticmethod
        def renameat2(*_: object) -> int:
            files.ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: Library)
    for name in ("old", "new"):
        with folder_aside(tmp_path / "run") as aside:
            (aside / name).write_text(name)
    assert os.listdir(tmp_path / "run") == ["new"]


@pytest.mark.linux
def test_the_folder_of_another_machines_writer_stays_although_its_lock_is_not_seen_here(shared: Path) -> None:
    for name in (f"{ASIDE}0123abcd-other", f"{files._prefix(shared)}mine", f"{ASIDE}0123abcd-old"):
        (shared / name).mkdir()
    os.utime(shared / f"{ASIDE}0123abcd-old", (0, 0))
    removed = remove_leftovers(shared)
    assert [path.name for path in removed] == sorted([f"{ASIDE}0123abcd-old", f"{files._prefix(shared)}mine"])
    assert os.listdir(shared) == [f"{ASIDE}0123abcd-other"]


def test_the_age_of_a_leftover_is_told_by_the_servers_clock(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftover = shared / f"{ASIDE}0123abcd-other"
    leftover.mkdir()
    monkeypatch.setattr(time, "time", lambda: leftover.stat().st_mtime + 30 * 24 * 3600)
    assert remove_leftovers(shared) == ()


def test_a_stale_handle_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_text(tmp_path / "file", "text")
    stale, opened = iter(range(2)), files.open_regular

    def open_again(path: Path) -> Any:
        if next(stale, None) is not None:
            raise OSError(errno.ESTALE, "Stale file handle")
        return opened(path)

    monkeypatch.setattr(files, "open_regular", open_again)
    assert read_regular(tmp_path / "file", 100) == b"text"


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE])
def test_only_stale_handles_are_tried_again_and_not_for_ever(code: int) -> None:
    calls: list[int] = []

    @retry_stale
    def read() -> None:
        calls.append(1)
        raise OSError(code, os.strerror(code))

    with pytest.raises(OSError, match=os.strerror(code)):
        read()
    assert len(calls) == (4 if code == errno.ESTALE else 1)


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(files.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(files.time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("after", "found"), [(0.0, True), (0.3, True), (59.0, True), (61.0, False)])
def test_a_file_that_is_hidden_for_a_while_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: float, found: bool
) -> None:
    clock, look = Clock(monkeypatch), os.stat
    (tmp_path / "done.json").write_text("{}")

    def late(path: Any, **given: Any) -> os.stat_result:
        if str(path).endswith("done.json") and clock.now < after:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))
        return look(path, **given)

    monkeypatch.setattr(os, "stat", late)
    assert wait_for(tmp_path / "done.json", 60.0) == found
    assert clock.now == 60.0 if not found else after <= clock.now <= 60.0


@pytest.mark.parametrize("removed", [True, False])
def test_what_is_not_listed_any_more_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    clock = Clock(monkeypatch)
    if not removed:
        (tmp_path / "block").symlink_to("nowhere")  # listed, but not to be found
    assert not wait_for(tmp_path / "block", 60.0, listed=True)
    assert clock.now == (0.0 if removed else 60.0)


@pytest.mark.linux
def test_a_listing_is_forgotten_by_a_change_of_the_folder_on_a_shared_disk_only(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    make = os.mkdir

    def record(path: Any, *given: Any) -> None:
        made.append(Path(path).parent)
        make(path, *given)

    monkeypatch.setattr(os, "mkdir", record)
    assert not forget_listing(tmp_path)
    assert forget_listing(shared)
    assert forget_listing(shared / "not" / "seen yet")
    assert made == [shared, shared]
    assert os.listdir(shared) == []
