"""File systems: which one holds a path, and whether other machines share it.

On a shared disk the time stamps are those of the server's clock, locks may be known to this machine only, and names and
listings may be some seconds old. Windows cannot lock open files, and lacks some flags of `os.open`.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import importlib.util
import os
import platform
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "HAS_LOCKS",
    "Disk",
    "disk_of",
    "lock",
    "lock_bytes",
    "open_flags",
    "this_machine",
    "this_system",
    "unlock",
]

_fcntl: Any = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None

HAS_LOCKS = _fcntl is not None
"""Whether an open file or folder can be locked by `lock`; not so on Windows."""

# What one machine uses alone. All other kinds count as shared, also those that nobody has heard of.
_LOCAL = frozenset(
    [
        "apfs",
        "bcachefs",
        "btrfs",
        "erofs",
        "exfat",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "fuseblk",
        "hfs",
        "hfsplus",
        "iso9660",
        "jfs",
        "msdos",
        "nilfs2",
        "ntfs",
        "ntfs3",
        "overlay",
        "ramfs",
        "reiserfs",
        "rootfs",
        "squashfs",
        "tmpfs",
        "udf",
        "ufs",
        "vfat",
        "xfs",
        "zfs",
    ]
)
# Their source names the server or the cluster, the same on all machines that mount it.
_NAMED = frozenset(["beegfs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "smb3"])
# The server sets the times of files. On the other ones the machine that writes a file does.
_TIMED = frozenset(["beegfs", "cifs", "nfs", "nfs4", "smb3"])
_MOUNTS = Path("/proc/self/mountinfo")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_OCTAL = re.compile(r"\\([0-7]{3})")


class Disk(NamedTuple):
    """A file system.

    Attributes
    ----------
    kind : str
        Its type, such as ``"ext4"`` or ``"nfs4"``; empty if it is not known.
    source : str
        What is mounted, such as ``"server:/export"``.
    shared : bool
        Whether other machines may use it at the same time.
    """

    kind: str
    source: str
    shared: bool

    @property
    def owner(self) -> str:
        """What paths on this disk belong to: equal for machines on which the same path is the same file."""
        return f"{self.kind} {self.source}" if self.kind in _NAMED else this_machine()

    @property
    def timed(self) -> bool:
        """Whether one clock, the server's, gives all files their times."""
        return self.kind in _TIMED


_Mount = tuple[tuple[int, int], str, Disk]


def disk_of(path: Path | str) -> Disk:
    """Find the file system of a path, or of the nearest folder above it that exists.

    Where the system has no list of mounts, as on macOS, every disk counts as local.

    Examples
    --------
    >>> disk_of("/proc").kind
    'proc'
    """
    real = Path(os.path.realpath(path))
    while not real.exists() and real != real.parent:
        real = real.parent
    mounts = _mounts()
    try:
        number = os.stat(real).st_dev  # noqa: PTH116
    except OSError:
        number = 0
    # The numbers of btrfs are not in the list, so that its place decides; of two mounts in one place, the later one.
    here = [disk for device, _, disk in mounts if device == (os.major(number), os.minor(number))]
    above = [(len(place), row) for row, (_, place, _) in enumerate(mounts) if _is_below(str(real), place)]
    if here:
        return here[-1]
    return mounts[max(above)[1]][2] if above else Disk("", "", False)


def _is_below(path: str, place: str) -> bool:
    return place == "/" or path == place or path.startswith(place + "/")


def _mounts() -> tuple[_Mount, ...]:
    """Return device numbers, place and disk of each mount; the format is that of proc(5)."""
    try:
        return _parsed(_MOUNTS.read_bytes())
    except OSError:
        return ()


@lru_cache(maxsize=2)
def _parsed(data: bytes) -> tuple[_Mount, ...]:
    found = []
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        before, separated, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not separated or len(fields) < 5 or len(rest) < 2:
            continue
        major, _, minor = fields[2].partition(":")
        kind, source = rest[0], _unescaped(rest[1])
        disk = Disk(kind, source, kind not in _LOCAL)
        found.append(((int(major), int(minor)), _unescaped(fields[4]), disk))
    return tuple(found)


def _unescaped(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def this_machine() -> str:
    """Identify this machine by its name and the id of its installation."""
    try:
        identity = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        identity = ""
    return f"{platform.node()}/{identity}"


@lru_cache(maxsize=1)
def this_system() -> str:
    """Identify the running kernel, which is what knows a lock: 8 hexadecimal digits, the same in all containers on it.

    Examples
    --------
    >>> len(this_system())
    8
    """
    try:
        boot = _BOOT.read_text(encoding="ascii")
    except (OSError, ValueError):
        boot = this_machine()
    return hashlib.sha256(boot.encode()).hexdigest()[:8]


def lock(handle: int, *, wait: bool = False) -> None:
    """Lock an open file or folder until it is closed or its process ends.

    Raises
    ------
    BlockingIOError
        If another process has locked it, and `wait` is False.
    OSError
        With the number ``ENOTSUP`` where the system has no such locks; another one where the file system refuses.
    """
    if _fcntl is None:
        raise OSError(errno.ENOTSUP, "this system cannot lock open files")
    _fcntl.flock(handle, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))


def lock_bytes(handle: int) -> None:
    """Lock the bytes of an open file, as SQLite does, until it is closed; the errors are those of `lock`."""
    if _fcntl is not None:
        _fcntl.lockf(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)


def unlock(handle: int) -> None:
    """Free a lock before its file is closed."""
    if _fcntl is not None:
        _fcntl.flock(handle, _fcntl.LOCK_UN)


def open_flags(*names: str) -> int:
    """Combine flags of `os.open`, without those that this system lacks; Windows also needs to be told of bytes.

    Examples
    --------
    >>> open_flags("O_RDONLY", "O_OF_NO_SYSTEM") == os.O_RDONLY
    True
    """
    flags = 0
    for name in (*names, "O_BINARY"):
        flags |= getattr(os, name, 0)
    return flags
