"""Published weights files: where they are kept, and how they get there."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from featx.errors import WeightsError
from featx.progress import Progress, Silent
from featx.zoo.backbones import Backbone
from featx.zoo.hub_table import Preset
from featx.zoo.presets import fetch_preset, is_preset
from featx.zoo.published import Published

__all__ = ["WEIGHTS_DIR", "fetch_weights", "find_preset", "find_published", "weights_folder"]

# Environment variable that names the folder of weights files.
WEIGHTS_DIR = "FEATX_WEIGHTS_DIR"
# Seconds to wait for a connection, then for each piece of data.
_PATIENCE = (2.0, 30.0)
_PIECE = 1 << 20


def weights_folder() -> Path:
    """Name the folder that published weights files are kept in.

    Returns
    -------
    Path
        ``$FEATX_WEIGHTS_DIR``; without it Keras' own, ``~/.keras/models``.
    """
    if folder := os.environ.get(WEIGHTS_DIR):
        return Path(folder).expanduser()
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")).expanduser() / "models"


def find_published(backbone: Backbone) -> Path:
    """Find the published ImageNet weights of a backbone.

    A file that is missing is downloaded, but not when ``FEATX_WEIGHTS_DIR`` is set: on a batch machine that
    must not reach out, `featx zoo fetch` fills that folder beforehand.

    Parameters
    ----------
    backbone : Backbone
        The architecture.

    Returns
    -------
    Path
        The file, its checksum compared where Keras knows one.

    Raises
    ------
    WeightsError
        If there is none, it is damaged, or it cannot be had; the message says what to put where.
    """
    wanted = _published(backbone)
    path = weights_folder() / wanted.file
    if path.is_file():
        _check(path, wanted)
        return path
    if os.environ.get(WEIGHTS_DIR):
        raise WeightsError(
            f"no ImageNet weights of {backbone.name}: {path} is missing; run `featx zoo fetch {backbone.name}` "
            f"where there is a network, or put {wanted.file} there ({wanted.url})"
        )
    return fetch_weights(backbone)


def find_preset(backbone: Backbone) -> Path:
    """Find the preset of a backbone of KerasHub.

    Downloaded if it is missing, but not when ``FEATX_WEIGHTS_DIR`` is set, as in `find_published`.

    Parameters
    ----------
    backbone : Backbone
        The architecture.

    Returns
    -------
    Path
        The preset's folder.

    Raises
    ------
    WeightsError
        If there is none or it cannot be had; the message says what to put where.
    """
    wanted = _preset(backbone)
    path = weights_folder() / wanted.name
    if is_preset(path):
        return path
    if os.environ.get(WEIGHTS_DIR):
        raise WeightsError(
            f"no preset of {backbone.name}: {path} is missing; run `featx zoo fetch {backbone.name}` where there "
            f"is a network, or put config.json and model.weights.h5 of {wanted.handle} there"
        )
    return fetch_weights(backbone)


def _preset(backbone: Backbone) -> Preset:
    if backbone.preset is None:
        raise WeightsError(
            f"{backbone.name} is not from KerasHub and has no preset; give imagenet, random, a file or a "
            "fine-tuning run"
        )
    return backbone.preset


def fetch_weights(backbone: Backbone, progress: Progress | None = None) -> Path:
    """Download the published weights of a backbone, unless they are there.

    Parameters
    ----------
    backbone : Backbone
        The architecture.
    progress : Progress, optional
        Told of the bytes that arrive.

    Returns
    -------
    Path
        The file in `weights_folder`; of a network of KerasHub the folder of its preset there.

    Raises
    ------
    WeightsError
        If none are published, or the download fails or has the wrong checksum.
    """
    if backbone.preset is not None:
        return fetch_preset(backbone.preset, weights_folder(), progress)
    import pooch
    import requests

    wanted = _published(backbone)
    folder = weights_folder()
    path = folder / wanted.file
    if path.is_file():
        _check(path, wanted)
        return path
    # It would write to stderr; who called is told through `progress`.
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(
            wanted.url,
            known_hash=_known_hash(wanted),
            fname=wanted.file,
            path=folder,
            downloader=pooch.HTTPDownloader(
                timeout=_PATIENCE, chunk_size=_PIECE, progressbar=_Bar(wanted, progress)
            ),
        )
    except (requests.RequestException, OSError, ValueError) as error:
        raise WeightsError(
            f"no ImageNet weights of {backbone.name}: {wanted.url} cannot be downloaded "
            f"({type(error).__name__}); run `featx zoo fetch {backbone.name}` where there is a network, "
            f"or put {wanted.file} into {folder}"
        ) from error
    return path


class _Bar:
    """What pooch takes for a progress bar."""

    def __init__(self, wanted: Published, progress: Progress | None) -> None:
        self._wanted, self._progress = wanted, progress or Silent()
        self.total = self._done = 0

    def update(self, count: int) -> None:
        """Count a piece; the last one is told as long as the others."""
        if not self._done:
            self._progress.start(self._wanted.file, self.total, "bytes")
        count = min(count, self.total - self._done)
        self._done += count
        self._progress.advance(count)

    def reset(self) -> None:
        """Pooch goes back to nothing at the end, only to count the whole once more."""

    def close(self) -> None:
        """End the task."""
        self._progress.finish()


def _published(backbone: Backbone) -> Published:
    if backbone.published is None:
        others = "preset, random" if backbone.preset else "random"
        raise WeightsError(
            f"no ImageNet weights are published for {backbone.name}; give {others}, a file or a fine-tuning run"
        )
    return backbone.published


def _known_hash(wanted: Published) -> str | None:
    if not wanted.checksum:
        return None
    return f"{_algorithm(wanted)}:{wanted.checksum}"


def _algorithm(wanted: Published) -> str:
    return "sha256" if len(wanted.checksum) == 64 else "md5"


def _check(path: Path, wanted: Published) -> None:
    if not wanted.checksum:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, _algorithm(wanted)).hexdigest()
    if found != wanted.checksum:
        raise WeightsError(
            f"{path}: damaged or of another version ({_algorithm(wanted)} {found}, wanted {wanted.checksum}); "
            "remove it and fetch it again"
        )
