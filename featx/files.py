"""Atomic writes: a file or folder is written beside its target, flushed to the disk, and renamed.

A reader, on this machine or on another that shares the disk, never sees half of a file. A killed writer leaves at
most a hidden folder beside the target, whose name begins with ``.aside-``: `find_files` ignores it, and the next
process that writes to the same place removes it (`remove_leftovers`).

On disks that several machines share, a file may not be visible at once (`wait_for`), a file that was replaced may have
to be opened again (`retry_stale`), and a request whose answer was lost is sent twice.
"""

from __future__ import annotations

import ctypes
import errno
import filecmp
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, BinaryIO, ParamSpec, TypeVar

from featx.disks import HAS_LOCKS, disk_of, lock, open_flags, this_system
from featx.errors import DiskError, InputError

__all__ = [
    "ASIDE",
    "aside_folder",
    "exchange",
    "find_files",
    "folder_aside",
    "forget_listing",
    "is_there",
    "new_folder_status",
    "open_regular",
    "read_regular",
    "remove_leftovers",
    "retry_stale",
    "sync_folder",
    "wait_for",
    "write_aside",
    "write_bytes",
    "write_json",
    "write_text",
]

_P = ParamSpec("_P")
_Result = TypeVar("_Result")

ASIDE = ".aside-"
_REPLACED = "replaced"
_DAY = 24 * 3600
# File systems that cannot flush a folder, or cannot lock one, answer with one of these.
_UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.ENOLCK}
# Of folders that may be written to, but not be opened or flushed; SMB has such.
_CLOSED = {*_UNSUPPORTED, errno.EACCES, errno.EPERM, errno.EISDIR}
_REFUSED = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_OPENINGS = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_KINDS = (
    (stat.S_IFDIR, "a folder"),
    (stat.S_IFIFO, "a named pipe"),
    (stat.S_IFCHR, "a device"),
    (stat.S_IFBLK, "a device"),
    (stat.S_IFSOCK, "a socket"),
)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut."""
    with _passed_over(_CLOSED):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def _passed_over(codes: set[int]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in codes:
            raise


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file, _passed_over(_UNSUPPORTED):
        os.fsync(file.fileno())


@contextmanager
def write_aside(path: Path | str, *, replace: bool = True) -> Iterator[Path]:
    """Give a path to write to, then flush it and rename it to the wanted path.

    If the body raises, what was written is removed and the target stays as it was. With ``replace=False`` a target of the
    same content is kept (a writer that was killed after its rename has left it), and another one is refused.
    """
    target = Path(path)
    _remove_leftovers_once(target.parent.absolute())
    with aside_folder(target) as folder:
        aside = folder / target.name
        yield aside
        _sync_file(aside)
        if not replace and target.exists():
            if not filecmp.cmp(aside, target, shallow=False):
                raise InputError(
                    f"{target}: another file with this name exists; give --overwrite to replace it"
                )
            return
        _rename(aside, target)
        sync_folder(target.parent)


def _rename(old: Path, new: Path) -> None:
    """Rename, and replace a file of the new name.

    A file server that gets the request twice, because its first answer was lost, says that there is no such file.
    """
    before = old.stat()
    try:
        old.replace(new)
    except FileNotFoundError:
        if not _is_now(new, before):
            raise


def _is_now(path: Path, before: os.stat_result) -> bool:
    """Tell whether a path is what was there before under another name; not every server has lasting inode numbers."""
    try:
        now = path.stat()
    except OSError:
        return False
    return os.path.samestat(now, before) or (
        (now.st_mode, now.st_size, now.st_mtime_ns) == (before.st_mode, before.st_size, before.st_mtime_ns)
    )


@contextmanager
def folder_aside(path: Path | str) -> Iterator[Path]:
    """Give an empty folder to fill, then flush it and rename it to the wanted path.

    A folder that stands there is replaced in one exchange where the file system can do that; else the old folder is
    removed once the new one is in place. If the body raises, the target stays as it was.
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
    """Make a hidden folder beside a target. It is locked while its writer lives, and removed in the end."""
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
        folder = Path(tempfile.mkdtemp(prefix=_prefix(parent), dir=parent))
        lock, held = _lock(folder)
        if lock is not None and (held or held is None) and folder.is_dir():
            return folder, lock
        # Another writer took it for a leftover before it was locked.
        if lock is not None:
            os.close(lock)


def _prefix(parent: Path) -> str:
    """Begin the name of an unfinished folder: it tells which kernel and which mount know of its lock."""
    return f"{ASIDE}{this_system()}-{parent.stat().st_dev:x}-"


def _lock(folder: Path) -> tuple[int | None, bool | None]:
    """Open a folder and lock it: whether that was possible, None where the file system knows no such locks."""
    try:
        handle = os.open(folder if HAS_LOCKS else os.devnull, os.O_RDONLY)
        if not HAS_LOCKS:  # nor can folders be opened there
            return handle, None
    except FileNotFoundError:
        return None, False
    try:
        lock(handle)
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
        f"{target}: cannot be written: {why}{free}. Free some space, or give another folder; then run the same "
        "command again, which resumes from what is finished"
    )


def _put(aside: Path, target: Path, spare: Path) -> None:
    """Put a folder in its place; a folder there is exchanged with it, or else stands in `spare` meanwhile."""
    try:
        _rename(aside, target)
        return
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise
    if exchange(aside, target):
        return
    spare.mkdir()
    old = spare / target.name
    _rename(target, old)
    try:
        _rename(aside, target)
    except OSError:
        _rename(old, target)
        raise


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot do that."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no library without a name
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(other))


def remove_leftovers(folder: Path | str, *, below: bool = False, dry_run: bool = False) -> tuple[Path, ...]:
    """Remove what killed writers have left in a folder, and with `below` in the folders below it; return the paths.

    A folder that its writer had moved away to replace it is put back first. Leftovers of living writers stay. File
    systems without locks cannot tell which writers live, nor can shared disks for writers on other machines: there,
    everything younger than a day stays.
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
        if held and not leftover.name.startswith(_prefix(leftover.parent)) and disk_of(leftover).shared:
            held = None  # on NFS only the kernel and the mount of its writer know the lock of a folder
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
    """Tell the age by the file server's clock, which may be far from this machine's."""
    with suppress(OSError):
        return new_folder_status(path.parent).st_mtime - path.stat().st_mtime > _DAY
    return False


def _put_back(leftover: Path) -> None:
    for old in (leftover / _REPLACED).glob("*"):
        target = leftover.parent / old.name
        if not target.exists():
            old.rename(target)


def wait_for(path: Path | str, seconds: float, *, listed: bool = False) -> bool:
    """Wait until a file or folder that another machine has written can be seen here.

    Clients of shared disks remember listings, and names that they have not found, for up to a minute on NFS and SMB.
    Every look lists the folder again and, on a shared disk, first makes and removes an empty folder in it, after
    which NFS asks its server.

    Parameters
    ----------
    path : Path or str
        What is known to exist, because the process that wrote it has said so or because it was listed.
    seconds : float
        How long to wait. The first look is at once, and the last one at the end.
    listed : bool
        Give up as soon as its folder does not list it any more: it was removed.

    Returns
    -------
    bool
        Whether it is there.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> wait_for(folder, 60.0), wait_for(folder / "none", 0.1), wait_for(folder / "none", 60.0, listed=True)
    (True, False, False)
    """
    target = Path(path)
    end, pause = time.monotonic() + seconds, _FIRST_PAUSE
    while not os.path.exists(target):  # noqa: PTH110 - Path.exists raises ESTALE
        left = end - time.monotonic()
        if left <= 0 or (listed and not _lists(target)):
            return False
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
        forget_listing(target.parent)
        _lists(target)
    return True


def _lists(path: Path) -> bool:
    with suppress(OSError):
        return any(one.name == path.name for one in path.parent.iterdir())
    return False


def is_there(path: Path | str) -> bool:
    """Tell whether a path exists; on a shared disk, look a second time before it counts as missing.

    Examples
    --------
    >>> is_there("/"), is_there("/no such file")
    (True, False)
    """
    there = os.path.exists  # Path.exists raises ESTALE
    return there(path) or (forget_listing(Path(path).parent) and there(path))


def forget_listing(folder: Path) -> bool:
    """Make this machine ask the server of a shared disk for the entries of a folder; False where that is needless.

    The answer to a change of the folder holds its new time stamps. They differ from those that the client has kept if
    another machine changed it meanwhile.
    """
    if not disk_of(folder).shared:
        return False
    above = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
    with suppress(OSError), _probe(above):
        pass
    return True


def new_folder_status(folder: Path) -> os.stat_result:
    """Return the status of a new folder in this one, which is removed again; its times are the file server's."""
    with _probe(folder) as made:
        return made.stat()


@contextmanager
def _probe(folder: Path) -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix=_prefix(folder), dir=folder))
    try:
        yield made
    finally:
        made.rmdir()


def retry_stale(read: Callable[_P, _Result]) -> Callable[_P, _Result]:
    """Make a function that opens and reads files start again if one was replaced meanwhile on a file server (ESTALE).

    An error that was raised from ESTALE counts too. After several times it is raised.

    Examples
    --------
    >>> answers = [OSError(errno.ESTALE, "Stale file handle"), None]
    >>> @retry_stale
    ... def read() -> str:
    ...     if error := answers.pop(0):
    ...         raise error
    ...     return "whole"
    >>> read()
    'whole'
    """

    @wraps(read)
    def call(*args: _P.args, **given: _P.kwargs) -> _Result:
        for _ in range(_OPENINGS - 1):
            try:
                return read(*args, **given)
            except Exception as error:
                if not any(getattr(one, "errno", 0) == errno.ESTALE for one in (error, error.__cause__)):
                    raise
        return read(*args, **given)

    return call


def find_files(folder: Path | str, name: str) -> list[Path]:
    """Find the files of a name at or below a folder, sorted. Unfinished folders and links are not followed."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [one for one in folders if not one.startswith(ASIDE)]
        if name in files:
            found.append(Path(place) / name)
    return sorted(found)


def open_regular(path: Path | str) -> BinaryIO:
    """Open a file that a user has named, for reading bytes.

    A named pipe or a device would keep its reader waiting, or never end.
    """
    try:
        # A named pipe without a writer would wait in open() already.
        handle = os.open(path, open_flags("O_RDONLY", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY"))
    except ValueError as error:
        raise OSError(errno.EINVAL, f"not a valid name ({error})", str(path)) from error
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            kind = next((name for kind, name in _KINDS if stat.S_IFMT(mode) == kind), "no file")
            raise OSError(errno.EINVAL, f"it is {kind}; only regular files are read", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


@retry_stale
def read_regular(path: Path | str, limit: int) -> bytes:
    """Read the bytes of a file that a user has named, at most `limit` bytes."""
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
    """Write bytes to a file in one atomic step."""
    with write_aside(path) as aside:
        aside.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Write text to a file, as UTF-8 with Unix line ends, in one atomic step."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path | str, value: Any) -> None:
    """Write JSON types (no NaN, no infinity) to a file, indented and with sorted keys, in one atomic step."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")
