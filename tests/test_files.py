from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featx import files
from featx.errors import DiskError
from featx.files import (
    ASIDE,
    find_files,
    folder_aside,
    open_regular,
    read_regular,
    remove_leftovers,
    sync_folder,
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
    target, rename = tmp_path / "run", Path.rename
    write_text(target / "old", "old")
    calls: list[str] = []

    def failing(self: Path, other: Path) -> Any:
        calls.append(self.name)
        if len(calls) == 3:  # the new folder's, after the old one was moved away
            raise OSError(errno.EIO, "the disk is broken")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(DiskError, match="run: cannot be written"), folder_aside(target) as aside:
        (aside / "new").write_text("new")
    assert os.listdir(target) == ["old"]
    monkeypatch.setattr(Path, "rename", rename)
    with folder_aside(target) as aside:
        (aside / "new").write_text("new")
    assert os.listdir(target) == ["new"]


def test_a_folder_that_was_moved_away_when_its_writer_died_is_put_back(tmp_path: Path) -> None:
    write_text(tmp_path / f"{ASIDE}dead" / "replaced" / "run" / "old", "old")
    write_text(tmp_path / f"{ASIDE}dead" / "run" / "new", "new")
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["run"]
    assert os.listdir(tmp_path / "run") == ["old"]


def test_file_systems_that_cannot_flush_or_lock_folders_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(files.fcntl, "flock", refuse)
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
