"""File systems that work, and file systems on which each property fails in turn."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featx.doctor import disk_checks
from featx.doctor.check_rows import CheckContext, CheckRow
from featx.doctor.disk_checks import (
    check_exchange,
    check_file_system,
    check_flush,
    check_free_space,
    check_locks,
    check_names,
    check_rename,
    check_time_stamps,
    check_writing,
)

TRIED = [
    check_writing,
    check_rename,
    check_exchange,
    check_flush,
    check_locks,
    check_time_stamps,
    check_names,
]
HELD = {"filelock": True, "flock": True, "fcntl": True}


def row(check: Callable[..., Any], folder: Path, **more: Any) -> CheckRow:
    (found,) = check(CheckContext(cache=folder, folders=(folder,), **more))
    assert isinstance(found, CheckRow)
    assert found.place == str(folder)
    return found


def refuse(code: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.linux
@pytest.mark.parametrize("check", TRIED, ids=lambda check: check.__name__)
def test_a_good_folder_has_every_property_and_nothing_is_left(
    check: Callable[..., Any], tmp_path: Path
) -> None:
    found = row(check, tmp_path)
    assert (found.status, found.remedy) == ("ok", "")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_does_not_exist_is_tried_above_and_not_made(tmp_path: Path) -> None:
    found = row(check_writing, tmp_path / "a" / "b")
    assert (found.status, found.found) == (
        "ok",
        f"files can be written; the folder does not exist yet, {tmp_path} was tried",
    )
    assert os.listdir(tmp_path) == []


def test_a_read_only_folder_is_one_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "mkdtemp", refuse(errno.EROFS))
    found = row(check_writing, tmp_path)
    assert (found.status, found.found) == ("problem", "no file can be written: Read-only file system")
    assert found.remedy == "Give a folder that you may write to."
    context = CheckContext(folders=(tmp_path,))
    assert [list(check(context)) for check in TRIED[1:]] == [[]] * 6


def test_a_file_in_place_of_a_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert row(check_writing, tmp_path / "file").found == "no file can be written: it is a file"


def test_a_rename_that_fails_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "replace", refuse(errno.EPERM))
    found = row(check_rename, tmp_path)
    assert (found.status, found.found) == ("problem", "fails: Operation not permitted")
    assert os.listdir(tmp_path) == []


def test_a_renamed_file_that_is_not_seen_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "replace", lambda self, target: target)
    assert row(check_rename, tmp_path).found == "fails: the renamed file is not seen at once"


def test_folders_that_cannot_be_exchanged_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_checks, "exchange", lambda one, other: False)
    assert row(check_exchange, tmp_path).status == "note"
    monkeypatch.setattr(disk_checks, "exchange", refuse(errno.EIO))
    assert row(check_exchange, tmp_path).status == "problem"


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        (errno.EINVAL, "note", "files and folders cannot be flushed to the disk"),
        (errno.EIO, "problem", "fails: Input/output error"),
    ],
)
def test_a_flush_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, status: str, text: str
) -> None:
    monkeypatch.setattr(os, "fsync", refuse(code))
    found = row(check_flush, tmp_path)
    assert found.status == status
    assert found.found.startswith(text)


@pytest.mark.parametrize(
    ("held", "status", "text"),
    [
        (HELD | {"filelock": False}, "problem", "another process gets a lock that is held (filelock)"),
        (
            HELD | {"filelock": False, "flock": False},
            "problem",
            "another process gets a lock that is held (filelock and flock)",
        ),
        (HELD | {"fcntl": False}, "note", "flock holds against other processes, fcntl does not"),
    ],
)
def test_locks_that_do_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: dict[str, bool], status: str, text: str
) -> None:
    monkeypatch.setattr(disk_checks, "ask_other_process", lambda folder: held)
    found = row(check_locks, tmp_path)
    assert (found.status, found.figures) == (status, held)
    assert found.found.startswith(text)


@pytest.mark.linux
def test_a_file_system_without_locks_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "lockf", refuse(errno.ENOLCK))
    found = row(check_locks, tmp_path)
    assert (found.status, found.found) == ("problem", "fails: No locks available")
    assert "nolock" in found.remedy


def test_a_second_process_that_fails_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_checks.sys, "executable", "/bin/false")
    found = row(check_locks, tmp_path)
    assert (found.status, found.found) == ("problem", "fails: the second process failed: no message")


def test_coarse_time_stamps_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = Path.stat

    def whole_seconds(self: Path, **given: Any) -> Any:
        found = stat(self, **given)
        # Two seconds, as FAT has them, long past the end of the trial.
        stamp = int(begun) * 10**9
        return SimpleNamespace(st_mtime_ns=stamp, st_mode=found.st_mode)

    begun = time.time()
    monkeypatch.setattr(Path, "stat", whole_seconds)
    step, ahead = disk_checks._step(tmp_path / "file")
    assert step is None
    assert -2 < ahead <= 0


@pytest.mark.parametrize(
    ("step", "ahead", "status", "text"),
    [
        (0.004, 0.0, "ok", "finer than 0.1 s, and the clock is right"),
        (None, 0.0, "ok", "coarser than 0.1 s; files changed in the last 2 s are read again"),
        (0.004, 90.0, "note", "the clock of the disk is 90.0 s ahead of this machine's"),
        (None, -7.5, "note", "the clock of the disk is 7.5 s behind this machine's"),
    ],
)
def test_time_stamps(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: float | None,
    ahead: float,
    status: str,
    text: str,
) -> None:
    monkeypatch.setattr(disk_checks, "_step", lambda path: (step, ahead))
    found = row(check_time_stamps, tmp_path)
    assert (found.status, found.found) == (status, text)


def test_names_of_one_case_are_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: exists(self.with_name(self.name.lower())))
    found = row(check_names, tmp_path)
    assert (found.status, found.figures) == ("note", {"case_sensitive": False})


MOUNTS = """\
22 1 254:0 / / rw - ext4 /dev/vda rw
23 22 0:40 / /home rw - nfs4 server:/home rw
24 22 0:41 / /home/big\\040disk rw - xfs /dev/sdb rw
25 22 0:42 / /cache rw - ext4 /dev/sdc rw
26 22 0:43 / /cache rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("folder", "status", "kind"),
    [
        ("/home/a/b", "note", "nfs4"),
        ("/home/big disk/a", "ok", "xfs"),
        ("/homes", "ok", "ext4"),
        ("/cache", "note", "tmpfs"),
    ],
)
def test_the_file_system_is_the_last_mount_above_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, status: str, kind: str
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(disk_checks, "existing", lambda given: given)
    found = row(check_file_system, Path(folder), root=tmp_path)
    assert (found.status, found.figures["type"]) == (status, kind)
    assert found.figures["network"] == (kind == "nfs4")


def test_a_machine_without_a_list_of_mounts_has_unknown_file_systems(tmp_path: Path) -> None:
    assert row(check_file_system, tmp_path, root=tmp_path).found == "unknown"


@pytest.mark.linux
@pytest.mark.parametrize(
    ("megabytes", "inodes", "total", "status"),
    [
        (50_000, 10**6, 10**7, "ok"),
        (50_000, 0, 0, "ok"),
        (1_000, 10**6, 10**7, "note"),
        (50_000, 5_000, 10**7, "note"),
        (50, 10**6, 10**7, "problem"),
        (50_000, 10, 10**7, "problem"),
    ],
)
def test_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, megabytes: int, inodes: int, total: int, status: str
) -> None:
    facts = SimpleNamespace(f_bavail=megabytes * 1000, f_frsize=1000, f_favail=inodes, f_files=total)
    monkeypatch.setattr(os, "statvfs", lambda place: facts)
    found = row(check_free_space, tmp_path)
    assert (found.status, found.figures["bytes"]) == (status, megabytes * 10**6)
    assert ("inodes" in found.found) == (total > 0)
