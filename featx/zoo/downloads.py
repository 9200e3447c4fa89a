"""Published weights files: where they are kept, and how they get there."""

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


# Beside a fetched preset, in the form of `sha256sum`.
_SUMS_FILE = "SHA256SUMS"


_FILES = (CONFIG_FILE, WEIGHTS_FILE)


# KerasHub's class for each family; of SigLIP's two parts the one that sees.
_CLASSES = {
    "dinov2": "DINOV2Backbone",
    "mit": "MiTBackbone",
    "siglip": "SigLIPBackbone",
    "vit_hub": "ViTBackbone",
}


# What matters in training or before any weights are loaded, and not to features.
_TRAINING_ONLY = {
    "attention_dropout",
    "drop_path_rate",
    "dropout_rate",
    "layer_scale_init_value",
    "max_drop_path_rate",
}


def is_preset(folder: Path) -> bool:
    """Tell whether a folder is a preset.

    Parameters
    ----------
    folder : Path
        A folder.

    Returns
    -------
    bool
        Whether it has both files of one.
    """
    return all((folder / name).is_file() for name in _FILES)


def check_preset(folder: Path, backbone: Backbone) -> Path:
    """Compare a preset with a backbone's row, and its files with the checksums that stand beside them."""
    if backbone.family not in _CLASSES:
        raise WeightsError(
            f"weights {folder}: a preset of KerasHub, which {backbone.name} is not from; `featx zoo list` names "
            "those that are under preset"
        )
    _check_sums(folder)
    kind, config = _read_config(folder)
    wanted = _CLASSES[backbone.family]
    if kind != wanted:
        raise WeightsError(
            f"weights {folder}: a preset of {kind}, not of {wanted}, which {backbone.name} is; give another"
        )
    for name, value in backbone.arguments.items():
        found = _plain(config.get(name), value)
        if name not in _TRAINING_ONLY and found != value:
            raise WeightsError(
                f"weights {folder}: a preset of another architecture than {backbone.name}: "
                f"{name} is {found!r}, wanted {value!r}; give another --backbone"
            )
    return folder / WEIGHTS_FILE


def _read_config(folder: Path) -> tuple[str, dict[str, Any]]:
    try:
        content = parse_json(read_text(folder / CONFIG_FILE))
        kind, config = str(content["class_name"]), dict(content["config"])
        return kind, dict(config["vision_encoder"]["config"]) if "vision_encoder" in config else config
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"weights {folder}: {CONFIG_FILE} is damaged; fetch the preset again") from error


def _plain(found: Any, wanted: Any) -> Any:
    """Make what JSON holds comparable: tuples are lists there, and a patch may be given by both sides."""
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
                f"weights {folder}: {name} is damaged or of another version (SHA-256 {found}, wanted {wanted}); "
                "remove the folder and fetch it again"
            )


def fetch_preset(preset: Preset, folder: Path, progress: Progress | None = None) -> Path:
    """Download a preset from Kaggle, which compares each file's checksum itself, unless it is there."""
    target = folder / preset.name
    if is_preset(target):
        _check_sums(target)
        return target
    progress = progress or Silent()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=f".{preset.name}-") as aside:
        for name in _FILES:
            progress.say(f"{preset.name}: fetching {name}")
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
    # It would write to the terminal; who called is told through `progress`.
    logging.getLogger("kagglehub").setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            kagglehub.model_download(preset.handle, name, output_dir=str(aside))
    except Exception as error:  # whatever its layers raise: of HTTP, of the handle, of the disk
        raise WeightsError(
            f"the preset {preset.name} cannot be downloaded from Kaggle ({type(error).__name__}); run "
            f"`featx zoo fetch` where there is a network, or put {' and '.join(_FILES)} of {preset.handle} "
            f"into {target}"
        ) from error


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
