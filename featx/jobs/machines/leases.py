"""Leases: a file that says which process is at work in a folder, renewed every few seconds.

A process that was lost sight of (its machine was cut off, or it was suspended) may still be alive. Whoever follows it
takes its lease only once the file has not been renewed for `EXPIRY` seconds by the follower's own clock, or, on the same
machine, once the process is gone. A holder that finds another's token in its file has lost the lease, and must write
nothing more.

The file is renewed in place, not replaced: network file systems show other machines the new content of a file at
their next open, but may hide a new file of the same name for up to a minute.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from featx.disks import open_flags, this_system
from featx.process import began

__all__ = ["BEAT", "EXPIRY", "Lease", "Watch", "hold_lease", "process_of"]

BEAT = 2.0
"""Seconds between two renewals."""

EXPIRY = 30.0
"""Seconds without a renewal after which a holder on another machine is taken for lost."""

_NOBODY = {"host": "", "boot": "", "pid": 0, "began": ""}
_BYTES = 512
_SETTLE = 0.2


def process_of() -> dict[str, Any]:
    """Identify this process across restarts of the machine and containers.

    Examples
    --------
    >>> process_of()["pid"] == os.getpid()
    True
    """
    return {**_machine(), "pid": os.getpid(), "began": began(os.getpid())}


@cache
def _machine() -> dict[str, str]:
    """Identify this machine since its start, and the container of this process on it."""
    try:
        container = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        container = ""
    return {"host": platform.node(), "boot": f"{this_system()} {container}"}


def _is_gone(holder: Mapping[str, Any]) -> bool:
    """Tell whether the holder was a process of this machine that has ended."""
    same = all(holder.get(name) == value for name, value in _machine().items())
    return same and began(int(holder["pid"])) != holder["began"]


def _read(path: Path) -> dict[str, Any] | None:
    """Read who holds a lease; None if nobody does, or the file is being written."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"token", "beat", "pid", "began"} <= found.keys() else None


@dataclass
class Watch:
    """Watches the holder of a lease from another process.

    Attributes
    ----------
    path : Path
        The lease's file.
    token : str, optional
        Whose lease; anybody's if not given.
    """

    path: Path
    token: str | None = None
    _last: tuple[Any, ...] = ()
    _seen: float = field(default_factory=time.monotonic)

    def holder(self) -> dict[str, Any] | None:
        """Return who holds the lease; None once the holder is gone, or has not renewed it for `EXPIRY` seconds."""
        found = _read(self.path)
        if found is not None:
            if self.token not in (None, found["token"]):
                return None
            if (state := (found["token"], found["beat"])) != self._last:
                self._last, self._seen = state, time.monotonic()
        elif self._last and not self.path.exists():
            return None
        # It may be being written, or this machine does not see it yet.
        holder = found or {"token": self.token, "beat": None, "stop": 0, **_NOBODY}
        return None if time.monotonic() - self._seen > EXPIRY or _is_gone(holder) else holder


class Lease:
    """A lease that this process holds; `stop` is what those who watch it are told: 0 go on, 1 stop, 2 stop at once."""

    def __init__(self, path: Path, token: str) -> None:
        self.path, self.token, self.stop = path, token, 0
        self._beat, self._renewed = 0, time.monotonic()
        self._process = process_of()
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def renew(self, new: bool = False) -> None:
        """Write that the holder is alive, into a new file or the one that is there."""
        with self._lock:
            self._beat += 1
            text = {"token": self.token, "beat": self._beat, "stop": self.stop, **self._process}
            data = json.dumps(text).encode().ljust(_BYTES) + b"\n"
            # Made once: a file that is gone was given back by another holder, which has done the work.
            flags = (os.O_CREAT if self._beat == 1 else 0) | (os.O_EXCL if new else 0)
            handle = os.open(self.path, open_flags("O_WRONLY") | flags, 0o644)
            try:
                os.write(handle, data)
                os.ftruncate(handle, len(data))
            finally:
                os.close(handle)
            self._renewed = time.monotonic()

    def lost(self) -> bool:
        """Tell whether another process has taken the lease, or has done so and ended; looked up only when it may have."""
        return time.monotonic() - self._renewed > EXPIRY / 2 and self._taken()

    def tell(self, stop: int) -> None:
        """Tell those who watch the lease to stop."""
        self.stop = stop
        with suppress(OSError):
            self.renew()

    def _taken(self) -> bool:
        found = _read(self.path)
        if found is not None:
            return bool(found["token"] != self.token)
        with suppress(OSError):
            return not self.path.exists()
        return False

    def keep(self, on_lost: Callable[[], None]) -> None:
        """Renew the lease until its end; call a function once it is lost."""
        while not self._ended.wait(BEAT):
            if self._taken():
                on_lost()
                return
            # A disk that fails for a moment must not end the work.
            with suppress(OSError):
                self.renew()

    def end(self) -> None:
        """Give the lease back."""
        self._ended.set()
        with self._lock:
            if not self._taken():
                self.path.unlink(missing_ok=True)


@contextmanager
def hold_lease(
    path: Path, on_lost: Callable[[], None], waiting: Callable[[Mapping[str, Any]], bool] | None = None
) -> Iterator[Lease | None]:
    """Hold a lease; wait for its present holder to end or to be lost.

    Parameters
    ----------
    path : Path
        File of the lease, in an existing folder.
    on_lost : callable
        Called in a thread of its own when another process has taken the lease.
    waiting : callable, optional
        Called with the present holder every half second; True gives up.

    Yields
    ------
    Lease or None
        The lease; None if `waiting` gave up.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, hold_lease(Path(folder, "lease"), print) as lease:
    ...     Watch(lease.path, lease.token).holder()["pid"] == os.getpid()
    True
    """
    lease = _take(path, waiting or (lambda holder: False))
    if lease is None:
        yield None
        return
    threading.Thread(target=lease.keep, args=(on_lost,), name="featx-lease", daemon=True).start()
    try:
        yield lease
    finally:
        lease.end()


def _take(path: Path, waiting: Callable[[Mapping[str, Any]], bool]) -> Lease | None:
    token = uuid.uuid4().hex
    watch = Watch(path)
    while True:
        free = not path.exists()
        if not free and (holder := watch.holder()):
            if waiting(holder):
                return None
            time.sleep(BEAT / 4)
            continue
        lease = Lease(path, token)
        try:
            lease.renew(new=free)
        except FileExistsError:
            # Another follower was quicker.
            continue
        if not free:
            # Another follower may have written at the same time: who wrote last has it.
            time.sleep(_SETTLE)
        found = _read(path)
        if found is not None and found["token"] == token:
            return lease
