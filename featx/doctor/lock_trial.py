"""Whether locks that another process holds are held against this one."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from featx.disks import HAS_LOCKS, lock, lock_bytes

__all__ = ["FILE", "RANGE", "held", "hold_range"]

# Names of the locked files in the folder of the trial.
FILE, RANGE = "file.lock", "range.lock"


@contextmanager
def hold_range(folder: Path) -> Iterator[None]:
    """Hold a lock of a file's bytes, as SQLite does."""
    with (folder / RANGE).open("wb") as file:
        lock_bytes(file.fileno())
        yield


def held(folder: Path) -> dict[str, bool]:
    """Tell which locks another process holds: of filelock, of the folder itself (flock), and of bytes (fcntl)."""
    others = {"flock": _flock(folder), "fcntl": _fcntl(folder)} if HAS_LOCKS else {}
    return {"filelock": _filelock_held(folder), **others}


def _filelock_held(folder: Path) -> bool:
    lock = FileLock(folder / FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _flock(folder: Path) -> bool:
    handle = os.open(folder, os.O_RDONLY)
    try:
        lock(handle)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _fcntl(folder: Path) -> bool:
    with (folder / RANGE).open("rb+") as file:
        try:
            lock_bytes(file.fileno())
        except OSError:
            return True
    return False


if __name__ == "__main__":
    print(json.dumps(held(Path(sys.argv[1]))))
