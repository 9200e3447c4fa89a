"""Downloads of open data sets: resumed, checked and unpacked.

`pooch` stores the files and compares checksums. It calls the downloader of this file, which keeps an unfinished download
in a ``.part`` file and asks the server for the rest. The archive publishes no checksums, so the SHA-256 of each file is
written to ``SHA256SUMS`` after the first complete download (checked by length, and for ZIP archives by the checksum of
every member), and is compared from then on; ``sha256sum -c SHA256SUMS`` does the same.
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
# Attempts in a row without new data after which a download fails, and seconds of rest before each.
_ATTEMPTS = 5
_REST = 1.0


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set.

    Attributes
    ----------
    url : str
        Its address.
    sha256 : str
        Its checksum; empty if none is published.
    """

    url: str
    sha256: str = ""

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Archive:
    """An open data set.

    Attributes
    ----------
    name : str
        Name on the command line.
    title : str
        Title.
    format : str
        Name of the importer that reads it.
    licence : str
        Name and address of its licence.
    cite : str
        Publication to cite.
    files : tuple of RemoteFile
        Its files.
    """

    name: str
    title: str
    format: str
    licence: str
    cite: str
    files: tuple[RemoteFile, ...]


@cache
def archives() -> Mapping[str, Archive]:
    """Read the list of open data sets that featx includes.

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

    Complete files are not downloaded again, and archives are not unpacked again if their members exist. An interrupted
    download is resumed.

    Parameters
    ----------
    archive : Archive
        One of `archives`. Show its licence first.
    folder : Path or str
        Folder for the files, the unpacked images and ``SHA256SUMS``.
    progress : Progress, optional
        Receiver of progress, in bytes.

    Returns
    -------
    tuple of Path
        The files downloaded.

    Raises
    ------
    FeatxError
        If a download fails repeatedly, or a file is damaged or does not have the known checksum.
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
    """Download one file, unless it exists with the known checksum."""
    import pooch
    import requests

    # pooch writes checksums and progress to its own logger; featx has its own receiver of progress.
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
            f"{file.url}: the download failed ({type(error).__name__}: {error}); run the same command again to resume it"
        ) from error
    except ValueError as error:
        raise FeatxError(
            f"{file.url}: the SHA-256 of the downloaded file is not the known {known}; if a new version was published, "
            f"remove its line from {folder / _SUMS}"
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
        raise ConfigError(f"{path}: each line must be a SHA-256 and a file name; correct or remove the file")
    return {name: checksum for checksum, name in rows}


def _write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    write_text(folder / _SUMS, "".join(f"{checksum}  {name}\n" for name, checksum in sorted(sums.items())))


def _check_zip(path: Path) -> None:
    """Check the checksum of every member, because that of the file is not known."""
    if path.suffix != ".zip":
        return
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except zipfile.BadZipFile as error:
        bad = str(error)
    if bad is not None:
        path.unlink()
        raise FeatxError(
            f"{path}: the downloaded file is damaged ({bad}) and was removed; run the same command again"
        )


def _unpack(path: Path, folder: Path, progress: Progress) -> None:
    """Unpack the members that are missing or incomplete."""
    with zipfile.ZipFile(path) as archive:
        members = [
            member for member in archive.infolist() if not member.is_dir() and not _is_junk(member.filename)
        ]
        missing = [
            member for member in members if not _is_complete(folder / member.filename, member.file_size)
        ]
        progress.start(f"unpack {path.name}", len(missing), "files")
        for member in missing:
            archive.extract(member, folder)
            progress.advance()
        progress.finish()


def _is_complete(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _is_junk(name: str) -> bool:
    """Tell whether a member is one that macOS adds to archives."""
    return name.startswith("__MACOSX/") or name.endswith(".DS_Store")


class _Resuming:
    """A downloader for pooch that resumes interrupted downloads."""

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
        """Request the missing bytes and append them; raise a connection error if fewer came than announced."""
        import requests

        start = self._size()
        tag = self._tag.read_text(encoding="utf-8") if start and self._tag.is_file() else ""
        # Without a tag it is unknown whether the server still has the same version of the file.
        start = start if tag else 0
        headers = {"Range": f"bytes={start}-", "If-Range": tag} if start else {}
        with requests.get(
            url, headers={**headers, "Accept-Encoding": "identity"}, stream=True, timeout=_PATIENCE
        ) as answer:
            if answer.status_code == 416:
                self._part.unlink(missing_ok=True)
                raise requests.ConnectionError(
                    "the unfinished download does not fit the file and was removed"
                )
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
        """Store the server's tag of this version of the file; weak tags do not guarantee equal bytes."""
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
        The data set of this name.

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
        raise ConfigError(f"no open data set {name!r}; give one of {listing(list(found), 20)}")
    return found[name]
