"""Whether locks that another process holds are held against this one."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["FILE", "RANGE", "held", "hold_range"]

# Names of the locked files in the folder of the trial.
FILE, RANGE = "file.lock", "range.lock"


@contextmanager
def hold_range(folder: Path) -> Iterator[None]:
    """Hold a lock of a file's bytes, as SQLite does."""
    with (folder / RANGE).open("wb") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def held(folder: Path) -> dict[str, bool]:
    """Tell which locks another process holds: of filelock, of the folder itself (flock), and of bytes (fcntl)."""
    return {"filelock": _filelock(folder), "flock": _flock(folder), "fcntl": _fcntl(folder)}


def _filelock(folder: Path) -> bool:
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
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _fcntl(folder: Path) -> bool:
    with (folder / RANGE).open("rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


if __name__ == "__main__":
    print(json.dumps(held(Path(sys.argv[1]))))
