"""Checks of file systems: each property that featx relies on is tried in a temporary folder, which is removed."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from featx.errors import DiskError
from featx.files import aside_folder, exchange

from .check_rows import CheckContext, CheckRow, existing, note, ok, problem
from .lock_trial import FILE, hold_range

__all__ = [
    "check_exchange",
    "check_file_system",
    "check_flush",
    "check_free_space",
    "check_locks",
    "check_names",
    "check_rename",
    "check_time_stamps",
    "check_writing",
]

Trial = Callable[[Path], CheckRow]

_NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "orangefs", "panfs", "smb3", "smbfs", "virtiofs", "wekafs",
}  # fmt: skip
_IN_MEMORY = {"tmpfs", "ramfs"}
_LEAST_SPACE, _LOW_SPACE = 100e6, 2e9
_LEAST_INODES, _LOW_INODES = 1_000, 10_000
_STAMP_SECONDS = 0.1
_CLOCK_SECONDS = 2.0
_LOCK_SECONDS = 30.0


def check_file_system(context: CheckContext) -> Iterator[CheckRow]:
    """Name the type of each folder's file system, and whether it is a network disk."""
    for folder in context.folders:
        place, found = str(folder), _mounted(existing(folder).resolve(), context)
        if found is None:
            yield note("file system", "unknown", "", place=place)
            continue
        kind, source = found
        figures = {"type": kind, "source": source, "network": kind in _NETWORK}
        if kind in _NETWORK:
            text = f"{kind}, a network disk ({source}): slower for caches than a local one"
            yield note(
                "file system",
                text,
                "Give --cache on a local disk if one is large enough.",
                figures,
                place=place,
            )
        elif kind in _IN_MEMORY and folder == context.cache:
            text = f"{kind}: takes memory, and is lost at the next start"
            yield note("file system", text, "Give --cache on a disk.", figures, place=place)
        else:
            yield ok("file system", f"{kind}, not a network disk", figures, place=place)


def _mounted(folder: Path, context: CheckContext) -> tuple[str, str] | None:
    """Find type and source of the file system that a folder is on; the last mount at a place covers earlier ones."""
    best: tuple[int, str, str] | None = None
    try:
        lines = (
            (context.root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        )
    except OSError:
        return None
    for line in lines:
        first, _, second = line.partition(" - ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), first.split()[4]))
        kind, source, *_ = second.split()
        if folder.is_relative_to(point) and (best is None or len(point.parts) >= best[0]):
            best = len(point.parts), kind, source
    return best and best[1:]


def check_free_space(context: CheckContext) -> Iterator[CheckRow]:
    """Check free space and inodes of each folder's file system."""
    for folder in context.folders:
        free, inodes = _free(existing(folder))
        text = f"{free / 1e9:.1f} GB{_inodes(inodes)} free"
        figures = {"bytes": free, "inodes": inodes}
        remedy = "Free some space, or give another folder."
        place = str(folder)
        if free < _LEAST_SPACE or (inodes is not None and inodes < _LEAST_INODES):
            yield problem("free space", text, remedy, figures, place=place)
        elif free < _LOW_SPACE or (inodes is not None and inodes < _LOW_INODES):
            yield note("free space", text, remedy, figures, place=place)
        else:
            yield ok("free space", text, figures, place=place)


def _free(folder: Path) -> tuple[int, int | None]:
    """Look up free bytes and inodes; file systems without a fixed number of inodes state none, and Windows too."""
    if not hasattr(os, "statvfs"):
        return shutil.disk_usage(folder).free, None
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize, facts.f_favail if facts.f_files else None


def _inodes(count: int | None) -> str:
    if count is None:
        return ""
    return f" and {count / 1e6:.1f} million inodes" if count >= 1e6 else f" and {count:,} inodes"


def check_writing(context: CheckContext) -> Iterator[CheckRow]:
    """Check that files can be written in each folder, or in the one above it that exists."""
    for folder in context.folders:
        place = str(folder)
        try:
            with aside_folder(_target(folder)) as aside:
                (aside / "file").write_bytes(b"featx")
        except (DiskError, OSError) as error:
            text = f"no file can be written: {_reason(error)}"
            yield problem("writing", text, "Give a folder that you may write to.", place=place)
            continue
        missing = "" if folder.is_dir() else f"; the folder does not exist yet, {existing(folder)} was tried"
        yield ok("writing", f"files can be written{missing}", place=place)


def check_rename(context: CheckContext) -> Iterator[CheckRow]:
    """Replace a file by renaming another over it, and look whether the new one is seen at once."""

    def trial(aside: Path) -> CheckRow:
        old, new = aside / "old", aside / "new"
        old.write_bytes(b"old")
        new.write_bytes(b"new")
        new.replace(old)
        if old.read_bytes() != b"new" or new.exists() or [one.name for one in aside.iterdir()] != ["old"]:
            raise OSError(errno.EIO, "the renamed file is not seen at once")
        return ok("rename", "a file is replaced in one step, and the new one is seen at once")

    remedy = "Give a folder on another disk: a reader could see half of a file here."
    yield from _in_each(context, "rename", trial, remedy)


def check_exchange(context: CheckContext) -> Iterator[CheckRow]:
    """Exchange two folders in one step, as featx does when a folder is replaced."""

    def trial(aside: Path) -> CheckRow:
        for name in ("one", "two"):
            (aside / name).mkdir()
            (aside / name / name).touch()
        if exchange(aside / "one", aside / "two") and (aside / "one" / "two").exists():
            return ok("exchange", "two folders are exchanged in one step")
        text = "folders cannot be exchanged in one step; for a moment a replaced run or report is missing"
        return note("exchange", text, "Do not read results while they are replaced.")

    yield from _in_each(context, "exchange", trial, "Give a folder on another disk.")


def check_flush(context: CheckContext) -> Iterator[CheckRow]:
    """Flush a file and a folder to the disk."""

    def trial(aside: Path) -> CheckRow:
        missing = [
            name
            for name, flag in (("files", os.O_RDWR), ("folders", os.O_RDONLY))
            if not _flushed(aside, flag)
        ]
        if missing:
            text = f"{' and '.join(missing)} cannot be flushed to the disk; a power cut may lose what was written last"
            return note("flush", text, "Run the same command again after a power cut.")
        return ok("flush", "files and folders are flushed to the disk")

    yield from _in_each(context, "flush", trial, "Give a folder on another disk: this one may be broken.")


def _flushed(aside: Path, flag: int) -> bool:
    """Flush a file (opened for writing) or the folder; False where the file system cannot do that."""
    path = aside
    if flag == os.O_RDWR:
        path = aside / "file"
        path.write_bytes(b"featx")
    handle = os.open(path, flag)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF}:
            return False
        raise
    finally:
        os.close(handle)
    return True


def check_locks(context: CheckContext) -> Iterator[CheckRow]:
    """Hold the locks that featx uses, and let a second process try them."""

    def trial(aside: Path) -> CheckRow:
        # `aside_folder` holds a lock (flock) of the folder itself.
        with FileLock(aside / FILE, timeout=0), hold_range(aside):
            held = ask_other_process(aside)
        figures = {name: bool(value) for name, value in held.items()}
        bad = " and ".join(name for name in ("filelock", "flock") if not held.get(name, True))
        if bad:
            remedy = "Mount the disk with locks, or run one process at a time in this folder."
            return problem("locks", f"another process gets a lock that is held ({bad})", remedy, figures)
        if "flock" not in held:
            text = "filelock holds against a second process; this system locks no open folders"
            return note("locks", text, "Nothing: what a killed job has left is removed after a day.", figures)
        if not held["fcntl"]:
            text = "flock holds against other processes, fcntl does not; SQLite needs it in the cache folder"
            return note("locks", text, "Run one extraction at a time.", figures)
        return ok("locks", "flock and fcntl hold against a second process", figures)

    remedy = "Mount the disk with locks (NFS: without `nolock`), or give a folder on another disk."
    yield from _in_each(context, "locks", trial, remedy)


def ask_other_process(folder: Path) -> dict[str, bool]:
    """Try the locks of a folder in another process: kind of lock to whether it was refused.

    Raises
    ------
    OSError
        If the process fails or does not answer.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "featx.doctor.lock_trial", str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LOCK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(errno.ETIMEDOUT, f"no answer within {_LOCK_SECONDS:g} s") from error
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise OSError(errno.EIO, f"the second process failed: {last[0]}")
    found: dict[str, bool] = json.loads(done.stdout)
    return found


def check_time_stamps(context: CheckContext) -> Iterator[CheckRow]:
    """Measure how finely times of files are stamped, and by which clock."""

    def trial(aside: Path) -> CheckRow:
        step, ahead = _step(aside / "file")
        figures = {"resolution_seconds": step, "clock_ahead_seconds": round(ahead, 3)}
        if abs(ahead) > _CLOCK_SECONDS:
            text = f"the clock of the disk is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
            return note("time stamps", text, "Synchronise the clocks of both machines (NTP).", figures)
        if step is None:
            text = f"coarser than {_STAMP_SECONDS:g} s; files changed in the last 2 s are read again"
            return ok("time stamps", text, figures)
        return ok("time stamps", f"finer than {_STAMP_SECONDS:g} s, and the clock is right", figures)

    yield from _in_each(context, "time stamps", trial, "Give a folder on another disk.")


def _step(path: Path) -> tuple[float | None, float]:
    """Rewrite a file until its time changes; give the step in s, and how far its time is ahead of this clock."""
    path.write_bytes(b"0")
    first = path.stat().st_mtime_ns
    ahead = first / 1e9 - time.time()
    end = time.monotonic() + _STAMP_SECONDS
    while time.monotonic() < end:
        path.write_bytes(b"1")
        if (now := path.stat().st_mtime_ns) != first:
            return (now - first) / 1e9, ahead
    return None, ahead


def check_names(context: CheckContext) -> Iterator[CheckRow]:
    """Look whether names that differ in case only are different names."""

    def trial(aside: Path) -> CheckRow:
        (aside / "name").touch()
        if (aside / "NAME").exists():
            text = (
                "upper and lower case are the same; arms whose names differ in case only overwrite each other"
            )
            return note(
                "names", text, "Give arms names that differ in more than case.", {"case_sensitive": False}
            )
        return ok("names", "upper and lower case differ", {"case_sensitive": True})

    yield from _in_each(context, "names", trial, "Give a folder on another disk.")


def _in_each(context: CheckContext, name: str, trial: Trial, remedy: str) -> Iterator[CheckRow]:
    """Try a property in each folder that can be written to; `check_writing` names the others."""
    for folder in context.folders:
        row: CheckRow | None = None
        try:
            with aside_folder(_target(folder)) as aside:
                try:
                    row = trial(aside)
                except (OSError, NotImplementedError) as error:
                    row = problem(name, f"fails: {_reason(error)}", remedy)
        except (DiskError, OSError):
            continue
        yield CheckRow(row.name, row.found, row.status, row.remedy, str(folder), row.figures)


def _target(folder: Path) -> Path:
    """Return the path that a temporary folder is made beside: inside a folder, or in what exists above it."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "it is a file", str(folder))
    return existing(folder) / "doctor"


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, DiskError) and error.__cause__ else error
    return str(getattr(cause, "strerror", "") or cause)
