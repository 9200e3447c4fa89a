"""Content keys: right whatever happens to files, table and folder; and files are read no more than needed."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import sqlite3
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from featx import disks
from featx.errors import ImageError
from featx.images import content
from featx.images.content import content_keys, earlier_keys

TABLE = "content-keys.sqlite"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that tests need not wait."""
    monkeypatch.setattr(content, "_SETTLED_NS", -(10**18))


def files(folder: Path, count: int = 5) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(b"image %d" % number)
    return paths


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_keys_are_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    paths = files(tmp_path / "images")
    keys, failures = content_keys(paths)
    assert keys == {str(path): sha(path) for path in paths}
    assert list(keys) == [str(path) for path in paths]
    assert failures == {}


def test_unchanged_files_are_not_read_again(tmp_path: Path, reads: list[str]) -> None:
    paths = files(tmp_path / "images")
    first = content_keys(paths, cache=tmp_path / "new" / "cache")
    assert sorted(reads) == [path.name for path in paths]
    reads.clear()
    assert content_keys(reversed(paths), cache=tmp_path / "new" / "cache").keys == first.keys
    assert reads == []


def test_only_changed_and_new_files_are_read(tmp_path: Path, reads: list[str]) -> None:
    paths = files(tmp_path / "images")
    content_keys(paths, cache=tmp_path)
    reads.clear()
    paths[1].write_bytes(b"another image")
    new = tmp_path / "images" / "new.png"
    new.write_bytes(b"new")
    keys = content_keys([*paths, new], cache=tmp_path).keys
    assert sorted(reads) == ["1.png", "new.png"]
    assert keys[str(paths[1])] == sha(paths[1])


def test_same_size_and_modification_time_do_not_hide_a_change(tmp_path: Path) -> None:
    (path,) = files(tmp_path / "images", 1)
    content_keys([path], cache=tmp_path)
    times = path.stat()
    path.write_bytes(b"IMAGE 0")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert content_keys([path], cache=tmp_path).keys[str(path)] == sha(path)


def test_fresh_files_are_not_remembered(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_SETTLED_NS", 3600 * 10**9)
    paths = files(tmp_path / "images")
    content_keys(paths, cache=tmp_path)
    content_keys(paths, cache=tmp_path)
    assert len(reads) == 2 * len(paths)


def test_links_and_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]) -> None:
    (path,) = files(tmp_path / "images", 1)
    (tmp_path / "linked").symlink_to(tmp_path / "images")
    content_keys([path], cache=tmp_path / "cache")
    reads.clear()
    monkeypatch.chdir(tmp_path)
    for other in ("images/0.png", "linked/0.png", "linked/../images/0.png"):
        assert content_keys([other], cache="cache").keys == {other: sha(path)}
    assert reads == []


def test_a_link_to_another_file_is_followed(tmp_path: Path) -> None:
    first, second = files(tmp_path / "images", 2)
    link = tmp_path / "link.png"
    for target in (first, second):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        assert content_keys([link], cache=tmp_path).keys[str(link)] == sha(target)


def test_failures_are_told_apart_and_none_is_lost(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", 2)
    os.mkfifo(tmp_path / "pipe")
    bad = [tmp_path / "gone.png", tmp_path, tmp_path / "pipe"]
    found = content_keys([*paths, *bad, *paths], cache=tmp_path)
    assert set(found.keys) == {str(path) for path in paths}
    assert list(found.failures) == [str(path) for path in bad]
    assert "No such file" in str(found.failures[str(bad[0])])
    assert all(isinstance(error, ImageError) for error in found.failures.values())


def test_rows_of_other_machines_are_not_used(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = files(tmp_path / "images")
    content_keys(paths, cache=tmp_path)
    monkeypatch.setattr(content, "this_machine", lambda: "another")
    reads.clear()
    content_keys(paths, cache=tmp_path)
    assert len(reads) == len(paths)


@pytest.mark.parametrize("garbage", [b"this is no data base at all, it is text" * 50, b""])
def test_a_damaged_table_costs_time_and_nothing_else(tmp_path: Path, garbage: bytes) -> None:
    paths = files(tmp_path / "images")
    (tmp_path / TABLE).write_bytes(garbage)
    with warnings.catch_warnings():
        if garbage:
            warnings.filterwarnings("ignore", message=".*cannot be used")
        else:
            warnings.simplefilter("error")
        assert len(content_keys(paths, cache=tmp_path).keys) == len(paths)


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_bytes(b"text" * 1000)
    with pytest.warns(RuntimeWarning, match=r"content-keys\.sqlite: cannot be used .* delete it"):
        content_keys(files(tmp_path / "images"), cache=tmp_path)


def test_a_cache_that_cannot_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    paths = files(tmp_path / "images")
    assert len(content_keys(paths, cache=tmp_path / "file" / "cache").keys) == len(paths)


def test_a_read_only_cache_is_read(tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = files(tmp_path / "images")
    content_keys(paths[:3], cache=tmp_path)
    before = (tmp_path / TABLE).read_bytes()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    reads.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(content_keys(paths, cache=tmp_path).keys) == 5
        assert len(content_keys(paths, cache=tmp_path / "absent").keys) == 5
    assert sorted(reads[:2]) == ["3.png", "4.png"]
    assert (tmp_path / TABLE).read_bytes() == before


def test_a_locked_table_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_LOCK_SECONDS", 0.05)
    paths = files(tmp_path / "images")
    content_keys(paths[:2], cache=tmp_path)
    other = sqlite3.connect(tmp_path / TABLE)
    other.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.warns(RuntimeWarning, match="locked"):
            assert len(content_keys(paths, cache=tmp_path).keys) == 5
    finally:
        other.close()


def test_an_interrupted_pass_keeps_what_it_has_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    paths = files(tmp_path / "images")
    counted = content._hash

    def stop(name: str) -> object:
        if name.endswith("3.png"):
            raise KeyboardInterrupt
        return counted(name)

    monkeypatch.setattr(content, "_hash", stop)
    with pytest.raises(KeyboardInterrupt):
        content_keys(paths, cache=tmp_path, workers=1)
    monkeypatch.setattr(content, "_hash", counted)
    reads.clear()
    content_keys(paths, cache=tmp_path)
    assert {"0.png", "1.png", "2.png"}.isdisjoint(reads)


def test_many_processes_at_once(tmp_path: Path) -> None:
    paths = files(tmp_path / "images", 40)
    program = (
        "import sys, warnings; warnings.simplefilter('error')\n"
        "from featx.images import content; content._SETTLED_NS = -(10**18); content._COMMIT_EVERY = 3\n"
        "print(len(content.content_keys(sys.argv[2:], cache=sys.argv[1]).keys))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "cache"), *map(str, paths)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in running] == ["40"] * 4
    with sqlite3.connect(tmp_path / "cache" / TABLE) as table:
        rows = dict(table.execute("SELECT path, sha256 FROM content_keys"))
    assert rows == {str(path.resolve()): sha(path) for path in paths}


def test_the_keys_of_a_changed_file_before_it_was_changed_are_known(tmp_path: Path) -> None:
    names = [str(path) for path in files(tmp_path / "images")]
    keys = [content_keys(names, cache=tmp_path).keys]
    for text in (b"second", b"third"):
        Path(names[0]).write_bytes(text)
        keys.append(content_keys(names, cache=tmp_path).keys)
    assert earlier_keys(keys[2], tmp_path) == {names[0]: frozenset({keys[0][names[0]], keys[1][names[0]]})}
    assert earlier_keys(keys[0], tmp_path / "elsewhere") == {}
    with sqlite3.connect(tmp_path / "content-keys.sqlite") as table:
        table.execute("DROP TABLE earlier_keys")
    (tmp_path / "content-keys.sqlite").chmod(0o444)
    assert earlier_keys(keys[0], tmp_path) == {names[0]: frozenset({keys[2][names[0]]})}


class Server:
    """A simulated file server with its own clock; times of files and folders have its granularity."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ahead: int, grain: int) -> None:
        self.local = 1_700_000_000_123_456_789
        self.ahead, self.grain = ahead, grain
        self.times: dict[str, int] = {}
        stat, fstat = os.stat, os.fstat
        monkeypatch.setattr(os, "stat", lambda path, **given: self._status(stat(path, **given), path))
        monkeypatch.setattr(
            os, "fstat", lambda file: self._status(fstat(file), Path(f"/proc/self/fd/{file}").readlink())
        )
        # The clocks of this machine: one since 1970, and one since it was started.
        monkeypatch.setattr(content.time, "time_ns", lambda: self.local)
        monkeypatch.setattr(content.time, "monotonic_ns", lambda: self.local - 10**18)

    @property
    def now(self) -> int:
        return (self.local + self.ahead) // self.grain * self.grain

    def write(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        self.times[str(path)] = self.now

    def _status(self, real: os.stat_result, path: object) -> object:
        if not str(path).endswith(".png") and ".aside-" not in str(path):
            return real
        now = self.times.get(str(path), self.now)
        return SimpleNamespace(
            st_mode=real.st_mode,
            st_size=real.st_size,
            st_dev=real.st_dev,
            st_ino=real.st_ino,
            st_mtime_ns=now,
            st_ctime_ns=now,
            st_mtime=now / 1e9,
        )


SECOND = 10**9
AHEAD = [0, 300 * SECOND, -300 * SECOND, -20 * 365 * 24 * 3600 * SECOND]
GRAINS = [1, 10**7, SECOND, 2 * SECOND]


def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *shared: str) -> None:
    lines = [f"40 1 0:99999 / {tmp_path / name} rw - nfs4 server:/{name} rw\n" for name in shared]
    (tmp_path / "mountinfo").write_text("".join(lines))
    monkeypatch.setattr(disks, "_MOUNTS", tmp_path / "mountinfo")
    monkeypatch.setattr(content, "_SETTLED_NS", 2 * SECOND)


@pytest.mark.parametrize("cache", ["images", "elsewhere"])
@pytest.mark.parametrize(
    ("ahead", "grain"),
    [
        # The corners at once, all pairs with the slow tests.
        pytest.param(
            ahead, grain, marks=[pytest.mark.slow] * (ahead not in AHEAD[:2] or grain not in GRAINS[::3])
        )
        for ahead in AHEAD
        for grain in GRAINS
    ],
)
def test_no_change_is_missed_whatever_the_servers_clock_and_granularity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: int, grain: int, cache: str
) -> None:
    """A file is written, read after a while, and written again at once or later, with equal size."""
    mount(tmp_path, monkeypatch, "images")
    server = Server(monkeypatch, ahead, grain)
    (tmp_path / "images").mkdir()
    number = 0
    for read_after in (0, SECOND // 2, SECOND, 1_999_999_999, 3 * SECOND):
        for again_after in (0, 1, SECOND // 3, SECOND - 1, SECOND, 2 * SECOND - 1):
            number += 1
            path = tmp_path / "images" / f"{number}.png"
            server.write(path, b"first")
            for text in (b"again", b"third"):
                server.local += read_after
                content_keys([path], cache=tmp_path / cache / "cache")
                server.local += again_after
                server.write(path, text)
                found = content_keys([path], cache=tmp_path / cache / "cache").keys
                assert found == {str(path): hashlib.sha256(text).hexdigest()}, (read_after, again_after)


@pytest.mark.parametrize("shared", [("images",), ()])
def test_a_change_during_a_long_reading_that_keeps_the_times_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: tuple[str, ...]
) -> None:
    mount(tmp_path, monkeypatch, *shared)
    server = Server(monkeypatch, 0, SECOND)
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    server.write(path, b"first")
    opened = content.open_regular

    class Slow(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            data = super().read(2)
            path.write_bytes(b"again")  # in the second of the first writing, so that the times stay
            server.local += 5 * SECOND
            return data

    monkeypatch.setattr(content, "open_regular", Slow)
    content_keys([path], cache=tmp_path / "images" / "cache")
    monkeypatch.setattr(content, "open_regular", opened)
    assert content_keys([path], cache=tmp_path / "images" / "cache").keys == {str(path): sha(path)}


@pytest.mark.parametrize("grain", GRAINS)
@pytest.mark.parametrize("ahead", AHEAD)
def test_the_clock_of_the_server_that_holds_images_and_cache_tells_which_files_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str], ahead: int, grain: int
) -> None:
    mount(tmp_path, monkeypatch, "images")
    server = Server(monkeypatch, ahead, grain)
    (tmp_path / "images").mkdir()
    old, new = tmp_path / "images" / "old.png", tmp_path / "images" / "new.png"
    server.write(old, b"old")
    server.local += 10 * SECOND
    server.write(new, b"new")
    for _ in range(2):
        content_keys([old, new], cache=tmp_path / "images" / "cache")
    assert sorted(reads) == ["new.png", "new.png", "old.png"]


@pytest.mark.parametrize(("grain", "again"), [(1, 2), (2 * SECOND, 4)])
def test_without_the_servers_clock_files_must_be_seen_unchanged_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str], grain: int, again: int
) -> None:
    mount(tmp_path, monkeypatch, "images")
    server = Server(monkeypatch, -300 * SECOND, grain)
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{number}.png" for number in range(8)]
    for path in paths:
        server.write(path, b"text")
    server.local += 3600 * SECOND

    def after(name: str) -> object:
        done = hash_file(name)
        server.local += SECOND
        return done

    hash_file = content._hash
    monkeypatch.setattr(content, "_hash", after)
    content_keys(paths, cache=tmp_path / "elsewhere", workers=1)
    reads.clear()
    content_keys(paths, cache=tmp_path / "elsewhere", workers=1)
    assert reads == [path.name for path in paths[:again]]


def test_times_of_whole_seconds_on_a_local_disk_settle_in_four_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    mount(tmp_path, monkeypatch)
    server = Server(monkeypatch, 0, SECOND)
    path = tmp_path / "a.png"
    server.write(path, b"text")
    for _ in range(3):
        server.local = server.times[str(path)] + 3 * SECOND
        content_keys([path], cache=tmp_path / "cache")
    assert len(reads) == 3
    server.local += SECOND
    for _ in range(2):
        content_keys([path], cache=tmp_path / "cache")
    assert len(reads) == 4


def test_a_stale_handle_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = files(tmp_path / "images", 1)
    stale, opened = iter(range(2)), content.open_regular

    def open_again(name: str) -> object:
        if next(stale, None) is not None:
            raise OSError(errno.ESTALE, "Stale file handle")
        return opened(name)

    monkeypatch.setattr(content, "open_regular", open_again)
    assert content_keys([path]).keys == {str(path): sha(path)}
