"""The table of content keys on a disk that several machines share: plain files that are written once.

SQLite needs locks that file servers lack or get wrong, so that the table is a folder of segments, ``content-keys/``. A
segment is a JSON list of rows (owner, path, size, time of modification and of change in nanoseconds, SHA-256), and its
name is the beginning of its own SHA-256. Every writer adds segments of its own, and many segments are merged into one,
which is written before the others are removed. The order of segments and of rows means nothing.

The owner of a row is the disk of the image, such as ``nfs4 server:/export``, if its name is the same on all machines: the
same path, size and times are the same file for each of them. Else it is the machine. Device and inode numbers are no part
of a row: they differ between machines that mount the same disk.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from featx.digest import digest_bytes
from featx.disks import disk_of
from featx.errors import DiskError
from featx.files import retry_stale, write_bytes

__all__ = ["KeySegments"]

_NAME_DIGITS = 32
_COMMIT_EVERY = 2000
_MOST_SEGMENTS = 32
_LISTINGS = 5

# Owner, path, size, modified, changed, sha256.
_Row = tuple[str, str, int, int, int, str]


class KeySegments:
    """The segments of a folder. If they cannot be read or written, a warning says so, and files are hashed.

    Parameters
    ----------
    folder : Path
        Folder of the segments; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        above = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
        self._writable = above.is_dir() and os.access(above, os.W_OK)
        self._waiting: list[_Row] = []
        self._wrote = False

    def __enter__(self) -> KeySegments:
        return self

    def __exit__(self, *_: object) -> None:
        self._commit()
        if self._wrote:
            self._merge()

    def look_up(self, owners: Mapping[str, str]) -> dict[tuple[str, tuple[int, int, int]], str]:
        """Return the stored keys of paths, given with their owners, by path, size and times.

        Where rows of equal size and times have different keys, the file system's clock was wrong, and none is used.
        """
        found: dict[tuple[str, tuple[int, int, int]], set[str]] = {}
        for owner, path, size, modified, changed, key in self._rows(owners):
            if owners[path] == owner:
                found.setdefault((path, (size, modified, changed)), set()).add(key)
        return {place: keys.pop() for place, keys in found.items() if len(keys) == 1}

    def history(self, places: Sequence[str]) -> list[tuple[str, str]]:
        """Return paths with all their known keys."""
        folders = {path: disk_of(path).owner for path in {os.path.dirname(place) for place in places}}  # noqa: PTH120
        wanted = dict.fromkeys(places, "")
        return [
            (path, key)
            for owner, path, *_, key in self._rows(wanted)
            if folders[os.path.dirname(path)] == owner  # noqa: PTH120
        ]

    def add(self, place: str, owner: str, facts: tuple[int, int, int], key: str) -> None:
        """Store the key of a file with this size and these times."""
        self._waiting.append((owner, place, *facts, key))
        if len(self._waiting) >= _COMMIT_EVERY:
            self._commit()

    def _rows(self, wanted: Mapping[str, str] | None = None) -> Iterable[_Row]:
        for rows in self._read().values():
            yield from (row for row in rows if wanted is None or row[1] in wanted)

    def _read(self) -> dict[Path, list[_Row]]:
        """Read all segments; a listing that was made while segments were merged is followed by another one."""
        found: dict[Path, list[_Row]] = {}
        for _ in range(_LISTINGS):
            merged = False
            for path in sorted(self._folder.glob("*.json")):
                if path in found:
                    continue
                try:
                    found[path] = _segment(path)
                except FileNotFoundError:
                    merged = True
                except (OSError, ValueError, TypeError) as error:
                    found[path] = []
                    self._warn(path, "cannot be used", error)
            if not merged:
                break
        return found

    def _commit(self) -> None:
        rows, self._waiting = self._waiting, []
        if rows and self._writable:
            self._write(rows)

    def _write(self, rows: Iterable[_Row]) -> Path | None:
        data = json.dumps(sorted(rows), separators=(",", ":")).encode("ascii")
        path = self._folder / f"{digest_bytes(data)[:_NAME_DIGITS]}.json"
        try:
            write_bytes(path, data)
        except (DiskError, OSError) as error:
            self._writable = False
            self._warn(path, "cannot be written", error)
            return None
        self._wrote = True
        return path

    def _merge(self) -> None:
        segments = {path: rows for path, rows in self._read().items() if rows}
        if len(segments) <= _MOST_SEGMENTS:
            return
        merged = self._write({row for rows in segments.values() for row in rows})
        for path in segments if merged else ():
            if path != merged:
                path.unlink(missing_ok=True)

    def _warn(self, path: Path, what: str, error: Exception) -> None:
        warnings.warn(
            f"{path}: {what} ({error}), so the files that it is about are read; delete it if this happens again",
            RuntimeWarning,
            stacklevel=2,
        )


@retry_stale
def _segment(path: Path) -> list[_Row]:
    data = path.read_bytes()
    if not path.name.startswith(digest_bytes(data)[:_NAME_DIGITS]):
        raise ValueError("it is damaged: its name does not match its content")
    return [_row(*row) for row in json.loads(data)]


def _row(owner: str, path: str, size: int, modified: int, changed: int, key: str) -> _Row:
    return (owner, path, size, modified, changed, key)
