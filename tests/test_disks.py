"""File systems: told from the list of mounts, whatever it holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from featx import disks
from featx.disks import disk_of, this_machine, this_system

pytestmark = pytest.mark.linux


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(disks, "_MOUNTS", tmp_path / "mountinfo")
    return tmp_path / "mountinfo"


def line(place: Path | str, kind: str, source: str, device: str = "0:99999") -> str:
    return f"40 1 {device} / {place} rw,relatime shared:1 master:2 - {kind} {source} rw,vers=4.2\n"


@pytest.mark.parametrize(
    ("kind", "shared", "timed", "named"),
    [
        ("ext4", False, False, False),
        ("xfs", False, False, False),
        ("overlay", False, False, False),
        ("nfs4", True, True, True),
        ("cifs", True, True, True),
        ("lustre", True, False, True),
        ("fuse.sshfs", True, False, False),
        ("9p", True, False, False),
        ("neverheardof", True, False, False),
    ],
)
def test_what_no_other_machine_can_use_is_local_and_all_else_is_shared(
    tmp_path: Path, mounts: Path, kind: str, shared: bool, timed: bool, named: bool
) -> None:
    mounts.write_text(line("/", "ext4", "/dev/sda1") + line(tmp_path, kind, "server:/export"))
    disk = disk_of(tmp_path / "not" / "there" / "yet")
    assert (disk.kind, disk.source, disk.shared, disk.timed) == (kind, "server:/export", shared, timed)
    assert disk.owner == (f"{kind} server:/export" if named else this_machine())


def test_the_nearest_mount_above_a_path_counts_and_of_two_in_one_place_the_later_one(
    tmp_path: Path, mounts: Path
) -> None:
    inner = tmp_path / "a b"
    inner.mkdir()
    escaped = str(inner).replace(" ", r"\040")
    mounts.write_text(
        line("/", "ext4", "/dev/sda1")
        + line(escaped, "autofs", "automount")
        + line(escaped, "nfs4", "server:/export")
        + line(tmp_path / "a", "cifs", "//other/share")
    )
    assert disk_of(inner / "file").source == "server:/export"
    assert disk_of(tmp_path).source == "/dev/sda1"


def test_the_device_number_counts_before_the_place(tmp_path: Path, mounts: Path) -> None:
    number = tmp_path.stat().st_dev
    mounts.write_text(
        line("/elsewhere", "nfs4", "server:/export", f"{os.major(number)}:{os.minor(number)}")
        + line(tmp_path, "xfs", "/dev/sdb1")
    )
    assert disk_of(tmp_path).kind == "nfs4"


def test_links_are_followed(tmp_path: Path, mounts: Path) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "remote").mkdir()
    (tmp_path / "local" / "link").symlink_to(tmp_path / "remote")
    mounts.write_text(line(tmp_path / "remote", "nfs4", "server:/export"))
    assert disk_of(tmp_path / "local" / "link" / "cache").shared
    assert not disk_of(tmp_path / "local" / "cache").shared


@pytest.mark.parametrize("text", ["", "garbage\n", "1 2 0:1 /\n - \n", None])
def test_without_a_list_of_mounts_every_disk_is_local(mounts: Path, text: str | None) -> None:
    if text is not None:
        mounts.write_text(text)
    assert not disk_of("/").shared


def test_the_running_system_is_named_by_hexadecimal_digits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert int(this_system(), 16) >= 0
    monkeypatch.setattr(disks, "_BOOT", tmp_path / "absent")
    assert len(this_system.__wrapped__()) == 8
