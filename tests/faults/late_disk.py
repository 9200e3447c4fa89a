"""A stand-in for a shared disk: a FUSE mount whose kernel remembers names, absent names and attributes for some seconds.

What is written in the folder beneath the mount is to readers of the mount what another machine writes: they list it at once
and may not find it for a while, as on NFS. Needs fusepy, libfuse 2, and the right to mount.

    python -m tests.faults.late_disk BENEATH MOUNT SECONDS
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from fuse import FUSE, FuseOSError, Operations

_STATUS = ("st_mode", "st_nlink", "st_size", "st_uid", "st_gid", "st_ino", "st_atime", "st_mtime", "st_ctime")
_SPACE = (
    "f_bavail",
    "f_bfree",
    "f_blocks",
    "f_bsize",
    "f_favail",
    "f_ffree",
    "f_files",
    "f_frsize",
    "f_namemax",
)


class Passed(Operations):
    """Passes every operation on to the folder beneath."""

    def __init__(self, beneath: str) -> None:
        self._beneath = beneath

    def __call__(self, operation, path, *given):
        if "xattr" in operation:
            raise FuseOSError(errno.ENOTSUP)
        return super().__call__(operation, self._beneath + path, *given)

    def getattr(self, path, handle=None):
        return {name: getattr(os.lstat(path), name) for name in _STATUS}

    def statfs(self, path):
        return {name: getattr(os.statvfs(path), name) for name in _SPACE}

    def readdir(self, path, handle):
        return [".", "..", *os.listdir(path)]

    def access(self, path, mode):
        return None

    def rename(self, path, other):
        Path(path).rename(self._beneath + other)

    def symlink(self, path, target):
        Path(path).symlink_to(target)

    def utimens(self, path, times=None):
        os.utime(path, times)

    def open(self, path, flags):
        return os.open(path, flags)

    def create(self, path, mode, info=None):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def read(self, path, size, offset, handle):
        return os.pread(handle, size, offset)

    def write(self, path, data, offset, handle):
        return os.pwrite(handle, data, offset)

    def truncate(self, path, length, handle=None):
        os.truncate(path, length)

    def fsync(self, path, only_data, handle):
        os.fsync(handle)

    def release(self, path, handle):
        os.close(handle)

    mkdir, rmdir, unlink, chmod = (staticmethod(call) for call in (os.mkdir, os.rmdir, os.unlink, os.chmod))
    readlink = staticmethod(os.readlink)


def main() -> None:
    """Mount, and serve until the mount is removed."""
    beneath, mount, seconds = sys.argv[1:]
    remembered = dict.fromkeys(("entry_timeout", "negative_timeout", "attr_timeout"), float(seconds))
    FUSE(Passed(beneath), mount, foreground=True, use_ino=True, fsname="server:/export", **remembered)


if __name__ == "__main__":
    main()
