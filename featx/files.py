"""Files that are whole or absent: written aside, flushed to the disk, renamed.

A reader, on this machine or on another that shares the disk, never sees half of a file; a killed writer
leaves at most a hidden file beside the target, whose name begins with ``.aside-``.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "ASIDE",
    "folder_aside",
    "sync_folder",
    "write_aside",
    "write_bytes",
    "write_json",
    "write_text",
]

ASIDE = ".aside-"


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it survives a power cut.

    Parameters
    ----------
    folder : Path
        An existing folder.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def write_aside(path: Path | str) -> Iterator[Path]:
    """Give a path to write to, then flush it and rename it to the wanted path.

    Parameters
    ----------
    path : Path or str
        Where the file shall be. Its folder is made if need be; a file there is replaced.

    Yields
    ------
    Path
        A path in the same folder, with the same ending, that does not exist yet. If the body raises,
        what was written there is removed and the target stays as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=ASIDE, dir=target.parent, ignore_cleanup_errors=True) as folder:
        aside = Path(folder) / target.name
        yield aside
        _sync_file(aside)
        aside.replace(target)
    sync_folder(target.parent)


@contextmanager
def folder_aside(path: Path | str) -> Iterator[Path]:
    """Give a folder to fill, then flush it and rename it to the wanted path.

    Parameters
    ----------
    path : Path or str
        Where the folder shall be. A folder there is replaced, and removed only once the new one stands.

    Yields
    ------
    Path
        An empty folder beside the target. If the body raises, it is removed and the target stays.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=ASIDE, dir=target.parent, ignore_cleanup_errors=True) as folder:
        aside = Path(folder) / target.name
        aside.mkdir()
        yield aside
        for file in sorted(aside.rglob("*")):
            sync_folder(file) if file.is_dir() else _sync_file(file)
        old = Path(folder) / "old"
        if target.exists():
            target.rename(old)
        aside.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(target.parent)


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


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
