"""Waiting for GPU memory: the jobs of a user on a machine start one by one, in the order in which they came.

Each job that waits has a ticket: a file that it keeps locked. The kernel frees the lock of a process that dies, so that
its place is free at once. Whoever has got room keeps the first place until its memory is allocated; the next job then
sees what is left.
"""

from __future__ import annotations

import getpass
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from featx.disks import HAS_LOCKS, lock, open_flags, unlock
from featx.errors import ConfigError, DiskError
from featx.gpus import MIB, Gpu, most_free
from featx.progress import Progress

__all__ = ["HOLD_SECONDS", "QueueTicket", "user_folder", "wait_for_gpu"]

HOLD_SECONDS = 300.0
"""A job that got room gives up the first place after this time, allocated or not."""

_LOOK_SECONDS = 2.0
_TELL_SECONDS = 60.0


def user_folder() -> Path:
    """Return the folder of this user on this machine, in the folder of temporary files, and make it if needed.

    Raises
    ------
    ConfigError
        If somebody else owns it, or may write there.
    """
    folder = Path(tempfile.gettempdir()) / f"featx-{_user()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except FileExistsError as error:
        raise _not_ours(folder) from error
    except OSError as error:
        raise DiskError(
            f"{folder}: cannot be made ({error.strerror}); set TMPDIR to another folder"
        ) from error
    # Without numbers of users, the folder of temporary files is the user's own.
    theirs = hasattr(os, "getuid") and (facts.st_uid != os.getuid() or facts.st_mode & 0o077)
    if not stat.S_ISDIR(facts.st_mode) or theirs:
        raise _not_ours(folder)
    return folder


def _user() -> str:
    """Name the user of this process: the number, or the name where users have no numbers."""
    return str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()


def _not_ours(folder: Path) -> ConfigError:
    return ConfigError(
        f"{folder} must be a folder that belongs to this user alone (mode 0700), since jobs queue there; remove it, "
        "or set TMPDIR to another folder"
    )


@contextmanager
def _locked_queue(folder: Path) -> Iterator[None]:
    handle = os.open(folder / "lock", open_flags("O_CREAT", "O_RDWR", "O_NOFOLLOW"), 0o600)
    try:
        lock(handle, wait=True)
        yield
    finally:
        os.close(handle)


def _tickets(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ticket"))


class QueueTicket:
    """A place in the queue of a folder, taken when it is made, freed by `release` or by the end of the process."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self._folder = folder
        self._freeing = threading.Lock()
        with _locked_queue(folder):
            last = max((int(path.stem) for path in _tickets(folder)), default=0)
            self._path = folder / f"{last + 1:012d}.ticket"
            self._handle = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            lock(self._handle, wait=True)

    def ahead(self) -> int:
        """Count the jobs before this one; tickets of processes that have ended are removed."""
        with _locked_queue(self._folder):
            earlier = [path for path in _tickets(self._folder) if path.name < self._path.name]
            return sum(_is_held(path) for path in earlier)

    def release(self) -> None:
        """Free the place; once more has no effect."""
        with self._freeing:
            if self._handle >= 0:
                self._path.unlink(missing_ok=True)
                # A forked child may have the file open too: closing it here would not free the lock.
                unlock(self._handle)
                os.close(self._handle)
                self._handle = -1

    def release_later(self, seconds: float = HOLD_SECONDS) -> None:
        """Free the place after this time, if it is not freed before."""
        timer = threading.Timer(seconds, self.release)
        timer.daemon = True
        timer.start()


def _is_held(path: Path) -> bool:
    """Tell whether the process of a ticket lives; remove the ticket if not."""
    try:
        handle = os.open(path, open_flags("O_RDWR", "O_NOFOLLOW"))
    except FileNotFoundError:
        return False
    try:
        lock(handle)
    except BlockingIOError:
        return True
    else:
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(handle)


def wait_for_gpu(
    megabytes: int, look: Callable[[], Sequence[Gpu]], progress: Progress
) -> tuple[Gpu, QueueTicket]:
    """Queue until it is this job's turn and a GPU has enough free memory.

    Parameters
    ----------
    megabytes : int
        Free memory wanted, in MB of 2**20 bytes.
    look : callable
        Returns the GPUs that would do, with the memory that is free now.
    progress : Progress
        Is told what is waited for, at once and then every minute.

    Returns
    -------
    gpu : Gpu
        The one with most free memory.
    ticket : QueueTicket
        The first place of the queue, to be freed once the memory is allocated.

    Raises
    ------
    ConfigError
        If no GPU has so much memory at all, or their memory is not known.
    """
    _check_possible(megabytes, look())
    ticket = QueueTicket(user_folder() / "gpu-queue")
    told = -_TELL_SECONDS
    try:
        while True:
            before, gpus = ticket.ahead(), look()
            gpu = None if before else most_free(gpus, megabytes * MIB)
            if gpu is not None:
                return gpu, ticket
            if time.monotonic() - told >= _TELL_SECONDS:
                told = time.monotonic()
                progress.say(_waiting_line(megabytes, before, gpus))
            time.sleep(_LOOK_SECONDS)
    except BaseException:
        ticket.release()
        raise


def _check_possible(megabytes: int, gpus: Sequence[Gpu]) -> None:
    known = [gpu.total for gpu in gpus if gpu.total is not None]
    if not HAS_LOCKS:
        raise ConfigError(
            "The 'wait_gpu' parameter needs locks of open files, which this operating system lacks; leave it out"
        )
    if not gpus:
        raise ConfigError(
            "The 'wait_gpu' parameter waits for a GPU, but this process sees none; check CUDA_VISIBLE_DEVICES and "
            "nvidia-smi, or leave it out"
        )
    if not known:
        raise ConfigError(
            "The 'wait_gpu' parameter needs the free memory of GPUs, which is unknown without the package "
            "nvidia-ml-py; run `pip install 'featx[gpu]'`"
        )
    if max(known) < megabytes * MIB:
        raise ConfigError(
            f"The 'wait_gpu' parameter is {megabytes} MB, but the largest GPU has {max(known) // MIB} MB; ask for less"
        )


def _waiting_line(megabytes: int, before: int, gpus: Sequence[Gpu]) -> str:
    queue = f"; {before} job{'s' if before > 1 else ''} of this user before this one" if before else ""
    best = most_free(gpus)
    return f"waiting for a GPU with {megabytes} MB of free memory{queue}; most is free on {best or 'none'}"
