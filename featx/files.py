"""Files that are whole or absent: written beside the target, flushed to the disk, renamed.

A reader, on this machine or on another that shares the disk, never sees half of a file. A killed writer leaves at
most a hidden folder beside the target, whose name begins with ``.aside-``: `find_files` does not look into it, and
the next process that writes to the same place removes it (`remove_leftovers`).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import filecmp
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from featx.errors import DiskError, InputError

__all__ = [
    "ASIDE",
    "aside_folder",
    "find_files",
    "folder_aside",
    "open_regular",
    "read_regular",
    "remove_leftovers",
    "sync_folder",
    "write_aside",
    "write_bytes",
    "write_json",
    "write_text",
]

ASIDE = ".aside-"
_REPLACED = "replaced"
_DAY = 24 * 3600
# File systems that cannot flush a folder, or cannot lock one, answer with one of these.
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.ENOLCK}
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_KINDS = (
    (stat.S_IFDIR, "a folder"),
    (stat.S_IFIFO, "a named pipe"),
    (stat.S_IFCHR, "a device"),
    (stat.S_IFBLK, "a device"),
    (stat.S_IFSOCK, "a socket"),
)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut.

    Parameters
    ----------
    folder : Path
        An existing folder. File systems that cannot flush folders are left to themselves.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        _sync(handle)
    finally:
        os.close(handle)


def _sync(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        _sync(file.fileno())


@contextmanager
def write_aside(path: Path | str, *, replace: bool = True) -> Iterator[Path]:
    """Give a path to write to, then flush it and rename it to the wanted path.

    Parameters
    ----------
    path : Path or str
        Where the file shall be. Its folder is made if need be.
    replace : bool
        Replace a file that stands there. If not, one with the same content is taken for the one wanted, as a writer
        killed behind its last rename has left it.

    Yields
    ------
    Path
        A path on the same file system, with the same ending, that does not exist yet. If the body raises,
        what was written there is removed and the target stays as it was.

    Raises
    ------
    DiskError
        If the disk is full, read-only or broken.
    InputError
        If other content stands there and is not to be replaced.
    """
    target = Path(path)
    _remove_leftovers_once(target.parent.absolute())
    with aside_folder(target) as folder:
        aside = folder / target.name
        yield aside
        _sync_file(aside)
        if not replace and target.exists():
            if not filecmp.cmp(aside, target, shallow=False):
                raise InputError(f"{target}: another file stands there; give --overwrite to replace it")
            return
        aside.replace(target)
        sync_folder(target.parent)


@contextmanager
def folder_aside(path: Path | str) -> Iterator[Path]:
    """Give a folder to fill, then flush it and rename it to the wanted path.

    Parameters
    ----------
    path : Path or str
        Where the folder shall be. A folder there is replaced: by one exchange of the two where the file system can
        do that, else the old one is removed only when the new one stands. What killed writers have left beside it
        is removed first.

    Yields
    ------
    Path
        An empty folder on the same file system. If the body raises, it is removed and the target stays.

    Raises
    ------
    DiskError
        If the disk is full, read-only or broken.
    """
    target = Path(path)
    remove_leftovers(target.parent)
    with aside_folder(target) as folder:
        aside = folder / target.name
        aside.mkdir()
        yield aside
        for file in sorted(aside.rglob("*")):
            sync_folder(file) if file.is_dir() else _sync_file(file)
        sync_folder(aside)
        _put(aside, target, folder / _REPLACED)
        sync_folder(target.parent)


@contextmanager
def aside_folder(target: Path) -> Iterator[Path]:
    """Make a hidden folder beside a target, which is locked as long as its writer lives and removed in the end.

    Parameters
    ----------
    target : Path
        What will be written. Its folder is made if need be.

    Yields
    ------
    Path
        The folder, on the same file system.

    Raises
    ------
    DiskError
        If the disk is full, read-only or broken.
    """
    folder: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder, lock = _locked_folder(target.parent)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
    except DiskError as error:
        # Of a file inside: what the user knows is the target.
        cause = error.__cause__
        raise (_disk_error(target, cause) if isinstance(cause, OSError) else error) from cause
    except OSError as error:
        # Before there is a folder the target's own place refuses; later on, only what concerns the disk is ours.
        if folder is not None and error.errno not in _REFUSED:
            raise
        raise _disk_error(target, error) from error


def _locked_folder(parent: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=ASIDE, dir=parent))
        lock, held = _lock(folder)
        if lock is not None and (held or held is None) and folder.is_dir():
            return folder, lock
        # Another writer took it for a leftover before it was locked.
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> tuple[int | None, bool | None]:
    """Open a folder and lock it: whether that was possible, None where the file system knows no such locks."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None, False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return handle, None if error.errno in _UNSUPPORTED else False
    return handle, True


def _disk_error(target: Path, error: OSError) -> DiskError:
    why = os.strerror(error.errno) if error.errno else str(error)
    free = ""
    with suppress(OSError):
        place = next(folder for folder in target.absolute().parents if folder.is_dir())
        free = f" ({shutil.disk_usage(place).free / 1e6:,.1f} MB are free there)"
    return DiskError(
        f"{target}: cannot be written: {why}{free}. Make room, or give another folder; then the same command goes on "
        "from what is finished"
    )


def _put(aside: Path, target: Path, spare: Path) -> None:
    """Put a folder in its place; a folder there is exchanged with it, or else stands in `spare` meanwhile."""
    try:
        aside.rename(target)
        return
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
    if _exchange(aside, target):
        return
    spare.mkdir()
    old = spare / target.name
    target.rename(old)
    try:
        aside.rename(target)
    except OSError:
        old.rename(target)
        raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot do that."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(other))


def remove_leftovers(folder: Path | str, *, below: bool = False, dry_run: bool = False) -> tuple[Path, ...]:
    """Remove what killed writers have left in a folder.

    Parameters
    ----------
    folder : Path or str
        Where targets of `write_aside` and `folder_aside` stand. It may not exist.
    below : bool
        Look into the folders below it too.
    dry_run : bool
        Remove nothing.

    Returns
    -------
    tuple of Path
        What was, or would be, removed. A folder that its writer had moved away to replace it is put back first.
        Leftovers of living writers stay; on file systems without locks, whatever is younger than a day.
    """
    if not below:
        found = sorted(Path(folder).glob(f"{ASIDE}*"))
    else:
        found = sorted(
            Path(place) / name
            for place, names, _ in os.walk(folder)
            for name in names
            if name.startswith(ASIDE)
        )
    return tuple(leftover for leftover in found if _removed(leftover, dry_run))


def _removed(leftover: Path, dry_run: bool) -> bool:
    lock, held = _lock(leftover)
    if lock is None:
        return False
    try:
        dead = held or (held is None and _older_than_a_day(leftover))
        if dead and not dry_run:
            _put_back(leftover)
            shutil.rmtree(leftover, ignore_errors=True)
        return bool(dead)
    finally:
        os.close(lock)


@lru_cache(maxsize=1024)
def _remove_leftovers_once(folder: Path) -> None:
    """Remove what was left before this process: a look at each write would take long in folders of many files."""
    remove_leftovers(folder)


def _older_than_a_day(path: Path) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > _DAY
    return False


def _put_back(leftover: Path) -> None:
    for old in (leftover / _REPLACED).glob("*"):
        target = leftover.parent / old.name
        if not target.exists():
            old.rename(target)


def find_files(folder: Path | str, name: str) -> list[Path]:
    """Find the files of a name at or below a folder, without what is not finished.

    Parameters
    ----------
    folder : Path or str
        Where to look; links to other folders are not followed.
    name : str
        A file's name.

    Returns
    -------
    list of Path
        Sorted. Folders that a writer has not put in their place yet are not looked into.
    """
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith(ASIDE)]
        if name in files:
            found.append(Path(place) / name)
    return sorted(found)


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file of a user's to read, if it is a regular file.

    Everything that users name is read through this: a named pipe or a device would keep its reader waiting, or feed
    it without end.

    Parameters
    ----------
    path : Path or str
        A regular file, or a link to one.

    Returns
    -------
    file object
        Bytes, from the file's beginning.

    Raises
    ------
    OSError
        If it cannot be opened, or is anything but a regular file; ``strerror`` says which.
    """
    try:
        # A named pipe without a writer would wait in open() already.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"no such name ({error})", str(path)) from error
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for kind, name in _KINDS if stat.S_IFMT(mode) == kind), "no file")
            raise OSError(errno.EINVAL, f"it is {kind}; only regular files are read", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path | str, limit: int) -> bytes:
    """Read a file of a user's whole, if it is a regular file of no more than so many bytes.

    Parameters
    ----------
    path : Path or str
        A regular file, or a link to one.
    limit : int
        Bytes that it may have.

    Returns
    -------
    bytes
        Its content.

    Raises
    ------
    OSError
        If it cannot be read, is anything but a regular file, or is larger; ``strerror`` says which.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(size + 1) if size <= limit else b""
        if size < len(data) <= limit:
            # It has grown, or does not tell its size.
            data += file.read(limit + 1 - len(data))
    size = max(size, len(data))
    if size > limit:
        raise OSError(
            errno.EINVAL, f"it has {size:,} bytes, more than the {limit:,} that are read", str(path)
        )
    return data


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write bytes to a file, aside and renamed.

    Parameters
    ----------
    path : Path or str
        Where the file shall be.
    data : bytes
        What it shall hold.
    """
    with write_aside(path) as aside:
        aside.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write text to a file as UTF-8 with Unix line ends, aside and renamed.

    Parameters
    ----------
    path : Path or str
        Where the file shall be.
    text : str
        What it shall hold.
    """
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Write a value as indented JSON with sorted keys, aside and renamed.

    Parameters
    ----------
    path : Path or str
        Where the file shall be.
    value : Any
        JSON types only; no NaN or infinity.
    """
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")
