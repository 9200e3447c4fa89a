"""Downloads of open data sets: resumed where they broke off, checked, unpacked.

`pooch` keeps the files and compares checksums; the downloader here, which it calls, keeps what has arrived in a
``.part`` file and asks the server for the rest. The archive publishes no checksums, so the SHA-256 of each file
is written to ``SHA256SUMS`` when it first arrives whole (by length, and for ZIP archives by the checksum of every
member), and is compared ever after; ``sha256sum -c SHA256SUMS`` does the same.
"""

from __future__ import annotations

import time
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from featx.digest import digest_file
from featx.errors import ConfigError, FeatxError, listing
from featx.files import write_text
from featx.progress import Progress, Silent

__all__ = ["Archive", "RemoteFile", "archives", "fetch_archive", "find_archive"]

_SUMS = "SHA256SUMS"
_BLOCK = 1 << 20
# Seconds to wait for a connection, then for each piece of data.
_PATIENCE = (10.0, 60.0)
# Attempts in a row that bring nothing, and seconds of rest before each.
_ATTEMPTS = 5
_REST = 1.0


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set.

    Attributes
    ----------
    url : str
        Where it is.
    sha256 : str
        Its checksum; empty where none is published.
    """

    url: str
    sha256: str = ""

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Archive:
    """A data set that may be downloaded.

    Attributes
    ----------
    name : str
        What the command line calls it.
    title : str
        What it is.
    format : str
        The importer that reads it.
    licence : str
        On which terms it may be used.
    cite : str
        What to cite.
    files : tuple of RemoteFile
        What to download.
    """

    name: str
    title: str
    format: str
    licence: str
    cite: str
    files: tuple[RemoteFile, ...]


@cache
def archives() -> Mapping[str, Archive]:
    """Read the shipped list of open data sets.

    Returns
    -------
    mapping of str to Archive
        By name.

    Examples
    --------
    >>> archives()["isic2016"].licence
    'CC0 1.0, https://creativecommons.org/publicdomain/zero/1.0/'
    """
    text = (resources.files("featx.data") / "declared" / "archives.toml").read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = tomllib.loads(text)
    return {
        name: Archive(name, **{**row, "files": tuple(RemoteFile(**file) for file in row["files"])})
        for name, row in rows.items()
    }


def fetch_archive(
    archive: Archive, folder: Path | str, *, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Download a data set and unpack its ZIP archives.

    Files that are there and whole are not downloaded again, and archives whose members are there are not
    unpacked again; a download that broke off goes on where it stopped.

    Parameters
    ----------
    archive : Archive
        A row of `archives`. Show its licence first.
    folder : Path or str
        Where to put the files, the unpacked images and ``SHA256SUMS``.
    progress : Progress, optional
        Receiver of progress, in bytes.

    Returns
    -------
    tuple of Path
        The files downloaded.

    Raises
    ------
    FeatxError
        If a download fails again and again, or what arrives is damaged or not what was known.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for file in archive.files:
        paths.append(_fetch(file, target, progress or Silent()))
        if paths[-1].suffix == ".zip":
            _unpack(paths[-1], target, progress or Silent())
    return tuple(paths)


def _fetch(file: RemoteFile, folder: Path, progress: Progress) -> Path:
    """Download one file, unless it is there with the checksum it had."""
    import pooch
    import requests

    # pooch tells checksums and progress to its own logger; featx has a receiver for both.
    pooch.get_logger().setLevel("WARNING")
    sums = _read_sums(folder)
    known = file.sha256 or sums.get(file.name, "")
    try:
        path = Path(
            pooch.retrieve(
                file.url,
                known_hash=f"sha256:{known}" if known else None,
                fname=file.name,
                path=folder,
                downloader=_Resuming(folder / f"{file.name}.part", progress),
            )
        )
    except (requests.RequestException, OSError) as error:
        raise FeatxError(
            f"{file.url}: cannot be downloaded ({type(error).__name__}: {error}); run the same command again to go on "
            "from where it stopped"
        ) from error
    except ValueError as error:
        raise FeatxError(
            f"{file.url}: what arrived does not have the known SHA-256 {known}; if the file was published anew, "
            f"take its line out of {folder / _SUMS}"
        ) from error
    if not known:
        _check_zip(path)
        _write_sums(folder, {**sums, file.name: digest_file(path)})
    return path


def _read_sums(folder: Path) -> dict[str, str]:
    path = folder / _SUMS
    if not path.is_file():
        return {}
    rows = [line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if any(len(row) != 2 for row in rows):
        raise ConfigError(f"{path}: each line must be a SHA-256 and a file name; mend it, or remove it")
    return {name: checksum for checksum, name in rows}


def _write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    write_text(folder / _SUMS, "".join(f"{checksum}  {name}\n" for name, checksum in sorted(sums.items())))


def _check_zip(path: Path) -> None:
    """Check every member's own checksum, where the whole file's is not known."""
    if path.suffix != ".zip":
        return
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except zipfile.BadZipFile as error:
        bad = str(error)
    if bad is not None:
        path.unlink()
        raise FeatxError(f"{path}: arrived damaged ({bad}) and was removed; run the same command again")


def _unpack(path: Path, folder: Path, progress: Progress) -> None:
    """Unpack what is not there in full size."""
    with zipfile.ZipFile(path) as archive:
        members = [
            member for member in archive.infolist() if not member.is_dir() and not _is_junk(member.filename)
        ]
        missing = [member for member in members if not _stands(folder / member.filename, member.file_size)]
        progress.start(f"unpack {path.name}", len(missing), "files")
        for member in missing:
            archive.extract(member, folder)
            progress.advance()
        progress.finish()


def _stands(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _is_junk(name: str) -> bool:
    """Tell whether a member is what a Mac adds to an archive."""
    return name.startswith("__MACOSX/") or name.endswith(".DS_Store")


class _Resuming:
    """A downloader for pooch that goes on where the last attempt stopped."""

    def __init__(self, part: Path, progress: Progress) -> None:
        self._part = part
        self._tag = part.with_suffix(".tag")
        self._progress = progress

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Download `url` into `output_file`."""
        import requests

        failures = 0
        while True:
            before = self._size()
            try:
                self._attempt(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                failures = 0 if self._size() > before else failures + 1
                if failures >= _ATTEMPTS:
                    raise
                time.sleep(_REST * failures)
        self._progress.finish()
        self._part.replace(output_file)
        self._tag.unlink(missing_ok=True)

    def _size(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _attempt(self, url: str) -> None:
        """Ask for what is missing and append it; raise a connection error if less came than was promised."""
        import requests

        start = self._size()
        tag = self._tag.read_text(encoding="utf-8") if start and self._tag.is_file() else ""
        # Without a tag nobody can tell whether the file on the server is still the one that was begun.
        start = start if tag else 0
        headers = {"Range": f"bytes={start}-", "If-Range": tag} if start else {}
        with requests.get(
            url, headers={**headers, "Accept-Encoding": "identity"}, stream=True, timeout=_PATIENCE
        ) as answer:
            if answer.status_code == 416:
                self._part.unlink(missing_ok=True)
                raise requests.ConnectionError("the part on the disk does not fit the file; beginning anew")
            answer.raise_for_status()
            start = start if answer.status_code == 206 else 0
            total = start + int(answer.headers.get("Content-Length", 0))
            self._keep_tag(answer.headers)
            self._progress.start(url.rpartition("/")[2], total, "bytes")
            self._progress.advance(start)
            with self._part.open("ab" if start else "wb") as file:
                for block in answer.iter_content(_BLOCK):
                    file.write(block)
                    self._progress.advance(len(block))
        if self._size() < total:
            raise requests.ConnectionError(f"{self._size()} of {total} bytes arrived")

    def _keep_tag(self, headers: Mapping[str, str]) -> None:
        """Remember the server's name for this version of the file; weak names do not promise equal bytes."""
        tag = headers.get("ETag", "")
        tag = "" if tag.startswith("W/") else tag
        self._tag.write_text(tag or headers.get("Last-Modified", ""), encoding="utf-8")


def find_archive(name: str) -> Archive:
    """Find an open data set.

    Parameters
    ----------
    name : str
        Such as ``"isic2017"``.

    Returns
    -------
    Archive
        Its row.

    Raises
    ------
    ConfigError
        If there is none of this name.

    Examples
    --------
    >>> find_archive("isic2018").format
    'isic2018'
    """
    found = archives()
    if name not in found:
        raise ConfigError(f"no open data set {name!r}; known: {listing(list(found), 20)}")
    return found[name]
