"""The table of content keys on shared disks: plain files, right whatever happens to them, and rows that machines share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from featx import disks
from featx.images import content, key_segments
from featx.images.content import content_keys, earlier_keys
from featx.images.key_segments import KeySegments

KEYS = [digit * 64 for digit in "0123456789abcdef"]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the list of mounts says is on NFS; files count as settled at once."""
    folder = tmp_path / "shared"
    folder.mkdir()
    (tmp_path / "mountinfo").write_text(f"40 1 0:99999 / {folder} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(disks, "_MOUNTS", tmp_path / "mountinfo")
    monkeypatch.setattr(content, "_SETTLED_NS", -(10**18))
    return folder


def images(folder: Path, count: int = 5) -> list[Path]:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(b"image %d" % number)
    return paths


def segments(shared: Path) -> list[Path]:
    return sorted((shared / "cache" / "content-keys").glob("*.json"))


def test_a_shared_cache_has_plain_files_and_no_database(shared: Path, reads: list[str]) -> None:
    paths = images(shared / "images")
    first = content_keys(paths, cache=shared / "cache")
    assert len(segments(shared)) == 1
    assert not list(shared.rglob("*.sqlite*"))
    reads.clear()
    assert content_keys(paths, cache=shared / "cache") == first
    assert (reads, len(segments(shared))) == ([], 1)
    paths[1].write_bytes(b"another image")
    assert content_keys(paths, cache=shared / "cache").keys != first.keys
    assert (reads, len(segments(shared))) == (["1.png"], 2)


def test_machines_share_the_rows_of_a_shared_disk_and_not_those_of_their_own(
    shared: Path, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote, local = images(shared / "images"), images(tmp_path / "local")

    def read_again() -> list[list[str]]:
        found = []
        for paths in (remote, local):
            reads.clear()
            content_keys(paths, cache=shared / "cache")
            found.append(sorted(reads))
        return found

    names = [path.name for path in remote]
    assert read_again() == [names, names]
    assert read_again() == [[], []]
    monkeypatch.setattr(disks, "this_machine", lambda: "another")
    assert read_again() == [[], names]
    mounts = (tmp_path / "mountinfo").read_text()
    (tmp_path / "mountinfo").write_text(mounts.replace("server:", "namesake:"))
    assert read_again() == [names, []]


def test_a_lost_or_damaged_segment_costs_time_and_nothing_else(shared: Path, reads: list[str]) -> None:
    paths = images(shared / "images")
    first = content_keys(paths, cache=shared / "cache")
    (segment,) = segments(shared)
    text = segment.read_text()
    for damaged in (text.replace(first.keys[str(paths[0])][:8], "00000000"), text[:-5], ""):
        segment.write_text(damaged)
        with pytest.warns(RuntimeWarning, match=r"\.json: cannot be used \(it is damaged"):
            assert content_keys(paths, cache=shared / "cache") == first
    shutil.rmtree(shared / "cache")
    assert content_keys(paths, cache=shared / "cache") == first


def test_rows_that_contradict_each_other_are_not_used(tmp_path: Path) -> None:
    facts = (1, 2, 3)
    with KeySegments(tmp_path) as one, KeySegments(tmp_path) as two:
        for number, table in enumerate((one, two)):
            table.add("/a", "disk", facts, KEYS[number])
            table.add("/b", "disk", facts, KEYS[2])
    with KeySegments(tmp_path) as table:
        assert table.look_up({"/a": "disk", "/b": "disk"}) == {("/b", facts): KEYS[2]}
        assert table.look_up({"/b": "another"}) == {}


def test_many_segments_are_merged_and_nothing_is_lost(tmp_path: Path) -> None:
    wanted = {f"/{number}": "disk" for number in range(40)}
    for number, path in enumerate(wanted):
        with KeySegments(tmp_path) as table:
            table.add(path, "disk", (number, 2, 3), KEYS[number % 16])
    assert len(list(tmp_path.iterdir())) == 8  # 33 of them became one
    with KeySegments(tmp_path) as table:
        found = table.look_up(wanted)
    assert found == {(path, (number, 2, 3)): KEYS[number % 16] for number, path in enumerate(wanted)}


def test_a_segment_that_another_machine_merges_is_found_in_the_next_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KeySegments(tmp_path) as table:
        table.add("/a", "disk", (1, 2, 3), KEYS[0])
    (old,) = tmp_path.iterdir()
    read = key_segments._segment

    def merged(path: Path) -> object:
        if path == old and old.exists():
            rows = {("disk", "/a", 1, 2, 3, KEYS[0]), ("disk", "/b", 1, 2, 3, KEYS[1])}
            KeySegments(tmp_path)._write(rows)
            old.unlink()
        return read(path)

    monkeypatch.setattr(key_segments, "_segment", merged)
    assert len(KeySegments(tmp_path).look_up({"/a": "disk", "/b": "disk"})) == 2


def test_odd_paths_are_read_back(tmp_path: Path) -> None:
    odd = [os.fsdecode(b"/\xff"), "/é\n", '/"']
    with KeySegments(tmp_path) as table:
        for path in odd:
            table.add(path, "disk", (1, 2, 3), KEYS[0])
    assert {path for path, _ in KeySegments(tmp_path).look_up(dict.fromkeys(odd, "disk"))} == set(odd)


def test_a_cache_that_cannot_be_written_is_read_in_silence(
    shared: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = images(shared / "images")
    content_keys(paths[:3], cache=shared / "cache")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    reads.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content_keys(paths, cache=shared / "cache")
    assert sorted(reads) == ["3.png", "4.png"]
    assert len(segments(shared)) == 1


def test_a_full_disk_gives_one_warning(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(key_segments, "write_bytes", full)
    monkeypatch.setattr(key_segments, "_COMMIT_EVERY", 1)
    with pytest.warns(RuntimeWarning, match="cannot be written .*No space left") as caught:
        assert len(content_keys(images(shared / "images"), cache=shared / "cache").keys) == 5
    assert len(caught) == 1


def test_earlier_keys_of_changed_files_are_known(shared: Path) -> None:
    names = [str(path) for path in images(shared / "images")]
    keys = [content_keys(names, cache=shared / "cache").keys]
    for text in (b"second", b"third"):
        Path(names[0]).write_bytes(text)
        keys.append(content_keys(names, cache=shared / "cache").keys)
    before = frozenset({keys[0][names[0]], keys[1][names[0]]})
    assert earlier_keys(keys[2], shared / "cache") == {names[0]: before}


def test_many_processes_at_once(shared: Path, tmp_path: Path) -> None:
    paths = images(shared / "images", 40)
    program = (
        "import sys, warnings; warnings.simplefilter('error'); from pathlib import Path\n"
        "from featx import disks; disks._MOUNTS = Path(sys.argv[2])\n"
        "from featx.images import content, key_segments as segments; content._SETTLED_NS = -(10**18)\n"
        "segments._COMMIT_EVERY, segments._MOST_SEGMENTS = 3, 4\n"
        "print(len(content.content_keys(sys.argv[3:], cache=sys.argv[1]).keys))"
    )
    command = [sys.executable, "-c", program, shared / "cache", tmp_path / "mountinfo", *paths]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0].strip() for process in running] == ["40"] * 4
    rows = {tuple(row) for segment in segments(shared) for row in json.loads(segment.read_text())}
    assert {row[1] for row in rows} == {str(path.resolve()) for path in paths}
    assert len(rows) == 40
