"""Presets of KerasHub: folders of trained weights, found, checked against a backbone's row, and fetched.

A preset is a folder with ``config.json``, which says of which architecture it is, and ``model.weights.h5``. No
class that the configuration names is made from it: the network is built from the backbone's row, and a preset of
another architecture is refused.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from pathlib import Path
from typing import Any

from featx.digest import digest_file
from featx.documents import parse_json, read_text
from featx.errors import WeightsError
from featx.files import write_aside
from featx.progress import Progress, Silent
from featx.zoo.backbones import Backbone
from featx.zoo.hub_table import Preset

__all__ = ["CONFIG_FILE", "WEIGHTS_FILE", "check_preset", "fetch_preset", "is_preset"]

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
    """Compare a preset with a backbone's row, and its files with the checksums that stand beside them.

    Parameters
    ----------
    folder : Path
        A preset.
    backbone : Backbone
        The architecture that it shall be of.

    Returns
    -------
    Path
        Its weights file.

    Raises
    ------
    WeightsError
        If it is of another architecture (the message names the first field that differs) or damaged.
    """
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
    """Download a preset from Kaggle, which compares each file's checksum itself, unless it is there.

    Parameters
    ----------
    preset : Preset
        Which one.
    folder : Path
        Folder of presets.
    progress : Progress, optional
        Told of what is fetched.

    Returns
    -------
    Path
        The preset's folder, with the SHA-256 of its files beside them.

    Raises
    ------
    WeightsError
        If KerasHub's downloader is missing, or the download fails.
    """
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
