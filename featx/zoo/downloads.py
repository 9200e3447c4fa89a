"""Published weights files and presets: their folder, downloads and checksums."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from featx.digest import digest_file
from featx.documents import parse_json, read_text
from featx.errors import WeightsError
from featx.files import write_aside
from featx.progress import Progress, Silent
from featx.zoo.backbones import Backbone, Published
from featx.zoo.presets import Preset

__all__ = [
    "CONFIG_FILE",
    "WEIGHTS_DIR",
    "WEIGHTS_FILE",
    "check_preset",
    "fetch_preset",
    "fetch_weights",
    "find_preset",
    "find_published",
    "is_preset",
    "weights_folder",
]


CONFIG_FILE = "config.json"


WEIGHTS_FILE = "model.weights.h5"


# Checksums of a downloaded preset, in the format of `sha256sum`.
_SUMS_FILE = "SHA256SUMS"


_FILES = (CONFIG_FILE, WEIGHTS_FILE)


# KerasHub's class for each family; of SigLIP, the image encoder.
_CLASSES = {
    "dinov2": "DINOV2Backbone",
    "mit": "MiTBackbone",
    "siglip": "SigLIPBackbone",
    "vit_hub": "ViTBackbone",
}


# Settings that affect training or the initial weights but not the features.
_TRAINING_ONLY = {
    "attention_dropout",
    "drop_path_rate",
    "dropout_rate",
    "layer_scale_init_value",
    "max_drop_path_rate",
}


def is_preset(folder: Path) -> bool:
    """Tell whether a folder contains both files of a preset of KerasHub.

    Examples
    --------
    >>> is_preset(Path("no-such-folder"))
    False
    """
    return all((folder / name).is_file() for name in _FILES)


def check_preset(folder: Path, backbone: Backbone) -> Path:
    """Compare a preset with a backbone's row, and its files with their stored checksums; return its weights file."""
    if backbone.family not in _CLASSES:
        raise WeightsError(
            f"weights {folder}: a preset of KerasHub, but {backbone.name} is not an architecture of KerasHub; "
            "`featx zoo list` shows which backbones have a preset"
        )
    _check_sums(folder)
    kind, config = _read_config(folder)
    wanted = _CLASSES[backbone.family]
    if kind != wanted:
        raise WeightsError(
            f"weights {folder}: a preset of {kind}, but {backbone.name} needs a preset of {wanted}; give another"
        )
    for name, value in backbone.arguments.items():
        found = _plain(config.get(name), value)
        if name not in _TRAINING_ONLY and found != value:
            raise WeightsError(
                f"weights {folder}: the preset's architecture is not {backbone.name}: "
                f"{name} is {found!r}, expected {value!r}; give another --backbone"
            )
    return folder / WEIGHTS_FILE


def _read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    try:
        content = parse_json(read_text(folder / CONFIG_FILE))
        kind, config = str(content["class_name"]), dict(content["config"])
        return kind, dict(config["vision_encoder"]["config"]) if "vision_encoder" in config else config
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"weights {folder}: {CONFIG_FILE} is damaged; download the preset again"
        ) from error


def _plain(found: Any, wanted: Any) -> Any:
    """Convert a value of JSON for comparison: a list to a tuple, equal height and width to one number."""
    if isinstance(found, list):
        same = len(set(map(str, found))) == 1
        return found[0] if same and isinstance(wanted, int) else tuple(found)
    return found


def _check_sums(folder: Path) -> None:
    sums = folder / _SUMS_FILE
    if not sums.is_file():
        return
    for line in sums.read_text(encoding="utf-8").splitlines():
        wanted, _, name = line.partition("  ")
        found = digest_file(folder / name) if name in _FILES else ""
        if found != wanted:
            raise WeightsError(
                f"weights {folder}: {name} is damaged or of another version (SHA-256 {found}, expected {wanted}); "
                "remove the folder and download it again"
            )


def fetch_preset(preset: Preset, folder: Path, progress: Progress | None = None) -> Path:
    """Download a preset from Kaggle, whose client compares checksums, unless it is already there."""
    target = folder / preset.name
    if is_preset(target):
        _check_sums(target)
        return target
    progress = progress or Silent()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{preset.name}-") as aside:
        for name in _FILES:
            progress.say(f"{preset.name}: downloading {name}")
            _download(preset, name, Path(aside), target)
        sums = "".join(f"{digest_file(Path(aside) / name)}  {name}\n" for name in _FILES)
        with write_aside(Path(aside) / _SUMS_FILE) as file:
            file.write_text(sums, encoding="utf-8")
        target.mkdir(exist_ok=True)
        for name in (_SUMS_FILE, *_FILES):
            (Path(aside) / name).replace(target / name)
    return target


def _download(preset: Preset, name: str, aside: Path, target: Path) -> None:
    try:
        import kagglehub
    except ImportError as error:
        raise WeightsError(
            f"the preset {preset.name} needs KerasHub's downloader, which cannot be imported ({error}); "
            "pip install 'featx[hub]'"
        ) from error
    # The library would write to the terminal; the caller is informed through `progress`.
    logging.getLogger("kagglehub").setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            kagglehub.model_download(preset.handle, name, output_dir=str(aside))
    except Exception as error:  # it raises errors of HTTP clients, of its own and of the file system
        raise WeightsError(
            f"the preset {preset.name} cannot be downloaded from Kaggle ({type(error).__name__}); run "
            f"`featx zoo fetch` on a machine with internet access, or copy {' and '.join(_FILES)} of "
            f"{preset.handle} into {target}"
        ) from error


# Environment variable with the path of the folder of weights files.
WEIGHTS_DIR = "FEATX_WEIGHTS_DIR"


# Timeouts in seconds: for the connection, and for each block of data.
_PATIENCE = (2.0, 30.0)


_PIECE = 1 << 20


def weights_folder() -> Path:
    """Return the folder of published weights files.

    Returns
    -------
    Path
        ``$FEATX_WEIGHTS_DIR``; if it is not set, the folder of Keras, ``~/.keras/models``.

    Examples
    --------
    >>> isinstance(weights_folder(), Path)
    True
    """
    if folder := os.environ.get(WEIGHTS_DIR):
        return Path(folder).expanduser()
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")).expanduser() / "models"


def find_published(backbone: Backbone) -> Path:
    """Find the published ImageNet weights of a backbone.

    A missing file is downloaded unless ``FEATX_WEIGHTS_DIR`` is set: for machines without internet access,
    `featx zoo fetch` fills that folder beforehand.

    Parameters
    ----------
    backbone : Backbone
        The architecture.

    Returns
    -------
    Path
        The file, after its checksum is verified where Keras states one.

    Raises
    ------
    WeightsError
        If no weights are published, the file is damaged, or it cannot be downloaded; the message says which file
        to copy where.
    """
    wanted = _published(backbone)
    path = weights_folder() / wanted.file
    if path.is_file():
        _check(path, wanted)
        return path
    if os.environ.get(WEIGHTS_DIR):
        raise WeightsError(
            f"no ImageNet weights of {backbone.name}: {path} is missing; run `featx zoo fetch {backbone.name}` "
            f"on a machine with internet access, or copy {wanted.file} there ({wanted.url})"
        )
    return fetch_weights(backbone)


def find_preset(backbone: Backbone) -> Path:
    """Find the preset of a backbone of KerasHub.

    A missing preset is downloaded unless ``FEATX_WEIGHTS_DIR`` is set, as in `find_published`.

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
        If the backbone has no preset or it cannot be downloaded; the message says which files to copy where.
    """
    wanted = _preset(backbone)
    path = weights_folder() / wanted.name
    if is_preset(path):
        return path
    if os.environ.get(WEIGHTS_DIR):
        raise WeightsError(
            f"no preset of {backbone.name}: {path} is missing; run `featx zoo fetch {backbone.name}` on a "
            f"machine with internet access, or copy config.json and model.weights.h5 of {wanted.handle} there"
        )
    return fetch_weights(backbone)


def _preset(backbone: Backbone) -> Preset:
    if backbone.preset is None:
        raise WeightsError(
            f"{backbone.name} is not an architecture of KerasHub and has no preset; give imagenet, random, a "
            "weights file or a fine-tuning run"
        )
    return backbone.preset


def fetch_weights(backbone: Backbone, progress: Progress | None = None) -> Path:
    """Download the published weights of a backbone, unless they are already there.

    Parameters
    ----------
    backbone : Backbone
        The architecture.
    progress : Progress, optional
        Receives the number of downloaded bytes.

    Returns
    -------
    Path
        The file in `weights_folder`; for an architecture of KerasHub, the folder of its preset there.

    Raises
    ------
    WeightsError
        If no weights are published, the download fails, or its checksum is wrong.
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
    # The library would write to stderr; the caller is informed through `progress`.
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
            f"({type(error).__name__}); run `featx zoo fetch {backbone.name}` on a machine with internet access, "
            f"or copy {wanted.file} into {folder}"
        ) from error
    return path


class _Bar:
    """Progress bar in the interface of pooch."""

    def __init__(self, wanted: Published, progress: Progress | None) -> None:
        self._wanted, self._progress = wanted, progress or Silent()
        self.total = self._done = 0

    def update(self, count: int) -> None:
        """Count a block of bytes; pooch reports the last one at full length."""
        if not self._done:
            self._progress.start(self._wanted.file, self.total, "bytes")
        count = min(count, self.total - self._done)
        self._done += count
        self._progress.advance(count)

    def reset(self) -> None:
        """Do nothing: pooch resets the bar at the end and counts the whole file again."""

    def close(self) -> None:
        """Finish the progress bar."""
        self._progress.finish()


def _published(backbone: Backbone) -> Published:
    if backbone.published is None:
        others = "preset, random" if backbone.preset else "random"
        raise WeightsError(
            f"no ImageNet weights are published for {backbone.name}; give {others}, a weights file or a fine-tuning run"
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
            f"{path}: damaged or of another version ({_algorithm(wanted)} {found}, expected {wanted.checksum}); "
            "remove it and download it again"
        )
