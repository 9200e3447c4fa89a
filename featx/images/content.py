"""Content keys: the SHA-256 of image files. Unchanged files are not read again.

A table in the cache folder stores the key of each file by machine, path, size and times of change in nanoseconds. On a
local disk it is an SQLite file, ``content-keys.sqlite``; on a disk that several machines share it is a folder of plain
files, ``content-keys/`` (`key_segments`). It only saves time: if it is missing, locked, read-only or damaged, files are
read. Rows of files that other machines may see differently are never used. Earlier keys of changed files are kept, so that
messages can distinguish changed files from new ones (`earlier_keys`).

A key is not stored while another change could leave the same times (`_settled`). On a local disk that is the two seconds
after a change, by this machine's clock, which has set the times. On a shared disk the times are a server's, whose clock may
be minutes or years off. There the clock of the server decides, as the new time of a folder in the cache tells it if that
is on the same disk. Else a file must have been seen unchanged for two seconds before it was read: the files that are read
in the first two seconds of a pass are then read again in the next one. Where times have no fraction of a second, two
seconds are four.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import stat
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from featx.disks import Disk, disk_of, this_machine
from featx.errors import ImageError
from featx.files import new_folder_status, open_regular, retry_stale
from featx.machine import usable_cores
from featx.progress import Progress, Silent

from .key_files import absolute, read_keys
from .key_segments import KeySegments

__all__ = ["ContentKeys", "content_keys", "earlier_keys"]

_TABLE = "content-keys.sqlite"
_SEGMENTS = "content-keys"
# Times of FAT and of some file servers are whole or even seconds, rounded either way.
_SETTLED_NS = 2_000_000_000
_COARSE_NS = 4_000_000_000
_SECOND_NS = 1_000_000_000
_LOCK_SECONDS = 10.0
_CHUNK = 500
_COMMIT_EVERY = 2000
_READ_BYTES = 1 << 20
_SCHEMAS = (
    """
CREATE TABLE IF NOT EXISTS content_keys (
    machine TEXT NOT NULL, path TEXT NOT NULL,
    size INTEGER NOT NULL, modified INTEGER NOT NULL, changed INTEGER NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (machine, path)
) WITHOUT ROWID
""",
    """
CREATE TABLE IF NOT EXISTS earlier_keys (
    machine TEXT NOT NULL, path TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (machine, path, sha256)
) WITHOUT ROWID
""",
)


class ContentKeys(NamedTuple):
    """Result of `content_keys`.

    Attributes
    ----------
    keys : dict of str to str
        Path, as given, to the SHA-256 of the file (64 hexadecimal digits), in the order given.
    failures : dict of str to ImageError
        Path, as given, to the reason why the file cannot be read.
    """

    keys: dict[str, str]
    failures: dict[str, ImageError]


def _unreadable(path: Path | str, error: OSError | ValueError) -> ImageError:
    return ImageError(
        f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); "
        "check the path and its permissions, or remove its row from the manifest"
    )


def content_keys(
    paths: Iterable[Path | str],
    *,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    known: Mapping[str, str] | Path | str | None = None,
) -> ContentKeys:
    """Find the content keys of files. Only new and changed files are read.

    Parameters
    ----------
    paths : iterable of Path or str
        Files; repeated paths are read once.
    cache : Path or str, optional
        Folder of the table of keys, created if it does not exist. If not given, all files are read.
    workers : int, optional
        Number of threads; the number of cores if not given.
    progress : Progress, optional
        Receiver of the number of files read.
    known : mapping of str to str, Path or str, optional
        Keys computed elsewhere, by absolute path, or a file of them (`write_keys`). They are trusted: files that are
        listed are neither read nor looked at, even if they were changed or removed since. Extraction and fine-tuning
        compare the key with the bytes that they decode, and so find stale keys; training SVMs decodes no image, so that
        the listed keys decide which features are used.

    Returns
    -------
    ContentKeys
        ``keys`` and ``failures``; each path is in one of them.

    Raises
    ------
    InputError
        If the file of known keys cannot be used.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.png").write_bytes(b"1")
    ...     keys, failures = content_keys([f"{folder}/a.png", f"{folder}/missing.png"])
    >>> [key[:8] for key in keys.values()], len(failures)
    (['6b86b273'], 1)
    """
    names = list(dict.fromkeys(str(path) for path in paths))
    keys = _listed(names, known)
    facts, disks, failures = _file_facts([name for name in names if name not in keys])
    looked = time.monotonic_ns()
    places = _places(facts)
    owners = {places[name]: disk.owner for name, disk in disks.items()}
    receiver = progress or Silent()
    with _table(cache) as table:
        remembered = table.look_up(owners)
        keys |= {name: key for name, fact in facts.items() if (key := remembered.get((places[name], fact)))}
        new = [name for name in facts if name not in keys]
        clock = _ServerClock(cache) if any(disks[name].shared for name in new) else None
        if new:
            receiver.start("hash", len(new), "files")
        for name, outcome in _hash_all(new, workers):
            receiver.advance()
            if isinstance(outcome, ImageError):
                failures[name] = outcome
                continue
            keys[name] = outcome.sha256
            unchanged = looked if outcome.facts == facts[name] else outcome.began
            if outcome.facts and _settled(outcome, outcome.facts, disks[name], clock, unchanged):
                table.add(places[name], owners[places[name]], outcome.facts, outcome.sha256)
    if new:
        receiver.finish()
    return ContentKeys(
        {name: keys[name] for name in names if name in keys},
        {name: failures[name] for name in names if name in failures},
    )


def _listed(names: Sequence[str], known: Mapping[str, str] | Path | str | None) -> dict[str, str]:
    if known is None:
        return {}
    table = read_keys(known) if isinstance(known, Path | str) else known
    return {name: key for name in names if (key := table.get(absolute(name)))}


def earlier_keys(known: Mapping[str, str], cache: Path | str) -> dict[str, frozenset[str]]:
    """Find the keys of files before they were changed.

    Parameters
    ----------
    known : mapping of str to str
        Paths and their present keys.
    cache : Path or str
        Folder of the table of keys.

    Returns
    -------
    dict of str to frozenset of str
        Paths of changed files, and their earlier keys as far as they are known.
    """
    places = _places(known)
    names = {place: name for name, place in places.items()}
    found: dict[str, set[str]] = {}
    with _table(cache) as table:
        for place, key in table.history(list(names)):
            if key != known[names[place]]:
                found.setdefault(names[place], set()).add(key)
    return {name: frozenset(keys) for name, keys in found.items()}


class _Facts(NamedTuple):
    """Size and times of a file; if they are unchanged, its stored key is valid."""

    size: int
    modified: int
    changed: int


class _Hashed(NamedTuple):
    """A file's key; its size and times, None if they changed meanwhile; its disk; and when reading began."""

    sha256: str
    facts: _Facts | None
    device: int
    began: int  # ns of the monotonic clock
    now: int  # ns since 1970, by this machine's clock


def _facts(status: os.stat_result) -> _Facts:
    return _Facts(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _file_facts(
    names: Sequence[str],
) -> tuple[dict[str, _Facts], dict[str, Disk], dict[str, ImageError]]:
    facts, disks, failures = {}, {}, {}
    known: dict[int, Disk] = {}
    for name in names:
        try:
            status = os.stat(name)  # noqa: PTH116 - half the time of Path.stat
        except (OSError, ValueError) as error:
            failures[name] = _unreadable(name, error)
            continue
        if not stat.S_ISREG(status.st_mode):
            failures[name] = ImageError(f"{name}: not a file; remove its row from the manifest")
            continue
        if status.st_dev not in known:
            known[status.st_dev] = disk_of(name)
        facts[name], disks[name] = _facts(status), known[status.st_dev]
    return facts, disks, failures


def _places(names: Iterable[str]) -> dict[str, str]:
    """Resolve links in the folder of each file, each folder once.

    A link to a file keeps its own name; size and times are those of the file.
    """
    folders: dict[str, str] = {}
    places = {}
    for name in names:
        folder, file = os.path.split(name)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        places[name] = f"{folders[folder]}/{file}"
    return places


def _hash_all(names: Sequence[str], workers: int | None) -> Iterator[tuple[str, _Hashed | ImageError]]:
    if not names:
        return
    with ThreadPoolExecutor(workers or usable_cores(), "hash") as pool:
        try:
            yield from zip(names, pool.map(_hash, names), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _hash(name: str) -> _Hashed | ImageError:
    try:
        return _read(name)
    except OSError as error:
        return _unreadable(name, error)


@retry_stale
def _read(name: str) -> _Hashed:
    state = hashlib.sha256()
    began, now = time.monotonic_ns(), time.time_ns()
    with open_regular(name) as file:
        before = os.fstat(file.fileno())
        while block := file.read(_READ_BYTES):
            state.update(block)
        after = _facts(os.fstat(file.fileno()))
    unchanged = after if after == _facts(before) else None
    return _Hashed(state.hexdigest(), unchanged, before.st_dev, began, now)


class _ServerClock:
    """The clock of the file server that holds the cache folder, told by the time of a new folder there."""

    def __init__(self, cache: Path | str | None) -> None:
        self.device, self._ahead = None, 0
        if cache is None or not disk_of(cache).timed:
            return
        with contextlib.suppress(OSError):
            Path(cache).mkdir(parents=True, exist_ok=True)
            made = new_folder_status(Path(cache))
            # Later than the folder was made, so that the server's clock is at least what is said.
            self.device, self._ahead = made.st_dev, made.st_mtime_ns - time.monotonic_ns()

    def at(self, monotonic: int) -> int:
        """Return the server's time, ns since 1970, at a time of this machine's monotonic clock."""
        return monotonic + self._ahead


def _settled(hashed: _Hashed, facts: _Facts, disk: Disk, clock: _ServerClock | None, unchanged: int) -> bool:
    """Tell whether any change of a file since its reading began must have changed, or will change, its times.

    `unchanged` is since when (ns of the monotonic clock) its size and times have been seen as they are.
    """
    coarse = not (facts.modified % _SECOND_NS and facts.changed % _SECOND_NS)
    needed = _COARSE_NS if coarse else _SETTLED_NS
    changed = max(facts.modified, facts.changed)
    if not disk.shared:
        return hashed.now - changed >= needed
    if clock is not None and clock.device == hashed.device and clock.at(hashed.began) - changed >= needed:
        return True
    return hashed.began - unchanged >= needed


def _table(cache: Path | str | None) -> _KeyTable | KeySegments:
    if cache is not None and disk_of(cache).shared:
        return KeySegments(Path(cache) / _SEGMENTS)
    return _KeyTable(cache)


class _KeyTable:
    """The stored keys of this machine; an error in the file gives one warning, and the table is not used any more."""

    def __init__(self, cache: Path | str | None) -> None:
        self._file = Path(cache) / _TABLE if cache is not None else None
        self._machine = this_machine()
        self._connection: sqlite3.Connection | None = None
        self._writable = False
        self._waiting: list[tuple[str, str, int, int, int, str]] = []

    def __enter__(self) -> _KeyTable:
        if self._file is not None:
            try:
                self._connection = self._connect(self._file)
            except (sqlite3.Error, OSError, UnicodeError) as error:
                self._turn_off(error)
        return self

    def __exit__(self, *_: object) -> None:
        self._commit()
        if self._connection is not None:
            self._connection.close()

    def _connect(self, file: Path) -> sqlite3.Connection | None:
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
        self._writable = os.access(file if file.exists() else file.parent, os.W_OK) and os.access(
            file.parent, os.W_OK
        )
        if not self._writable and not file.exists():
            return None
        mode = "rwc" if self._writable else "ro"
        connection = sqlite3.connect(
            f"{file.resolve().as_uri()}?mode={mode}", uri=True, timeout=_LOCK_SECONDS
        )
        if self._writable:
            with connection:
                for schema in _SCHEMAS:
                    connection.execute(schema)
        return connection

    def look_up(self, owners: Mapping[str, str]) -> dict[tuple[str, tuple[int, int, int]], str]:
        """Return the stored keys of paths, by path, size and times."""
        places = list(owners)
        found: dict[tuple[str, tuple[int, int, int]], str] = {}
        if self._connection is None:
            return found
        try:
            for begin in range(0, len(places), _CHUNK):
                some = places[begin : begin + _CHUNK]
                marks = ",".join("?" * len(some))
                rows = self._connection.execute(
                    "SELECT path, size, modified, changed, sha256 FROM content_keys "
                    f"WHERE machine = ? AND path IN ({marks})",
                    (self._machine, *some),
                )
                found |= {(path, _Facts(*facts)): key for path, *facts, key in rows}
        except (sqlite3.Error, UnicodeError) as error:
            self._turn_off(error)
        return found

    def history(self, places: Sequence[str]) -> list[tuple[str, str]]:
        """Return paths with all their known keys; tables of earlier versions have only the last key."""
        if self._connection is None:
            return []
        found: list[tuple[str, str]] = []
        for table in ("content_keys", "earlier_keys"):
            with contextlib.suppress(sqlite3.Error, UnicodeError):
                for begin in range(0, len(places), _CHUNK):
                    some = places[begin : begin + _CHUNK]
                    marks = ",".join("?" * len(some))
                    query = f"SELECT path, sha256 FROM {table} WHERE machine = ? AND path IN ({marks})"
                    found += self._connection.execute(query, (self._machine, *some)).fetchall()
        return found

    def add(self, place: str, owner: str, facts: tuple[int, int, int], key: str) -> None:
        """Store the key of a file with this size and these times; its owner is this machine."""
        if self._connection is None or not self._writable:
            return
        self._waiting.append((self._machine, place, *facts, key))
        if len(self._waiting) >= _COMMIT_EVERY:
            self._commit()

    def _commit(self) -> None:
        if self._connection is None or not self._waiting:
            return
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR IGNORE INTO earlier_keys SELECT machine, path, sha256 FROM content_keys "
                    "WHERE machine = ? AND path = ? AND sha256 <> ?",
                    [(machine, path, key) for machine, path, *_, key in self._waiting],
                )
                self._connection.executemany(
                    "INSERT OR REPLACE INTO content_keys VALUES (?, ?, ?, ?, ?, ?)", self._waiting
                )
            self._waiting.clear()
        except (sqlite3.Error, UnicodeError) as error:
            self._turn_off(error)

    def _turn_off(self, error: Exception) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        warnings.warn(
            f"{self._file}: cannot be used ({error}), so all files are read; delete it if this happens again",
            RuntimeWarning,
            stacklevel=2,
        )
