"""A report's folder: the files of a new report in the place of those of an earlier one.

The folder may hold files of the user's own. So every report lists what it wrote with SHA-256 (``files.json``), and the
next one removes what is listed, unchanged, and not its own. What is listed and was changed since belongs to the user.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from featx.digest import digest_file
from featx.files import aside_folder, remove_leftovers, sync_folder, write_json

__all__ = ["LIST", "replaced_files"]

LIST = "files.json"
_Digests = Mapping[str, list[str]]


@contextmanager
def replaced_files(folder: Path | str) -> Iterator[tuple[Path, list[str]]]:
    """Give a folder to fill, then move its files into a report's folder and remove those of the report before.

    Parameters
    ----------
    folder : Path or str
        The report's folder; made if need be.

    Yields
    ------
    made : Path
        An empty folder. If the body raises, the report's folder stays as it was.
    kept : list of str
        Empty; in the end the names of files of an earlier report that stay because they were changed.

    Raises
    ------
    DiskError
        If the disk is full, read-only or broken.
    """
    target, kept = Path(folder), list[str]()
    remove_leftovers(target)
    with aside_folder(target / LIST) as aside:
        made = aside / "made"
        made.mkdir()
        yield made, kept
        old, new = _listed(target), _found(made)
        # Both are listed before the first is moved: whoever is killed here leaves nothing that the next report does
        # not know.
        _write(target, {name: [*old.get(name, []), *new.get(name, [])] for name in {*old, *new}})
        for name in new:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).replace(target / name)
        kept += [name for name in sorted({*old} - {*new}) if not _removed(target / name, old[name])]
        for place in sorted({(target / name).parent for name in new}):
            sync_folder(place)
        _write(target, new)


def _found(folder: Path) -> _Digests:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): [digest_file(path)] for path in files}


def _write(folder: Path, files: _Digests) -> None:
    write_json(folder / LIST, {"files": {name: sorted(set(digests)) for name, digests in files.items()}})


def _listed(folder: Path) -> _Digests:
    """Read the list of an earlier report: empty if there is none, without names that lead out of the folder."""
    try:
        files = json.loads((folder / LIST).read_text(encoding="utf-8"))["files"]
        return {name: list(map(str, digests)) for name, digests in files.items() if _inside(name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _inside(name: str) -> bool:
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _removed(path: Path, digests: list[str]) -> bool:
    """Remove a file if it is as it was written; whether it is gone."""
    if path.is_symlink() or not path.is_file():
        return not path.exists()
    if digest_file(path) not in digests:
        return False
    path.unlink()
    with suppress(OSError):  # other files stand there
        path.parent.rmdir()
    return True
