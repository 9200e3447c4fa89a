"""Saliency maps that `featx saliency` has written, with their index, for the gallery of a report."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.digest import canonical
from featx.documents import parse_json, read_text
from featx.errors import ConfigError
from featx.files import read_regular, write_json

__all__ = ["INDEX", "Gallery", "SaliencyMap", "gallery", "read_index", "write_index"]

INDEX = "saliency.json"
_FORMAT = 1
# Bytes of the index, and of each picture.
_LIMIT = 2**26


@dataclass(frozen=True)
class SaliencyMap:
    """A picture of the regions of an image that an SVM's decision rests on.

    Attributes
    ----------
    task, protocol, arm, fold : str
        The run.
    image : str
        Image id.
    towards : str
        Class whose decision value is explained.
    value : float
        That decision value.
    layer : str
        Layer of the network.
    file : str
        Name of the PNG file beside the index.
    """

    task: str
    protocol: str
    arm: str
    fold: str
    image: str
    towards: str
    value: float
    layer: str
    file: str


Gallery = Mapping[tuple[str, str, str, str], tuple[SaliencyMap, str]]


def write_index(folder: Path, maps: Sequence[SaliencyMap]) -> None:
    """Write the index of a folder of saliency maps.

    Parameters
    ----------
    folder : Path
        Folder of the PNG files.
    maps : sequence of SaliencyMap
        One for each file.
    """
    write_json(folder / INDEX, {"format": _FORMAT, "maps": [canonical(item) for item in maps]})


def read_index(folder: Path | str) -> tuple[SaliencyMap, ...]:
    """Read the index of a folder of saliency maps."""
    path = Path(folder) / INDEX
    try:
        record = parse_json(read_text(path, _LIMIT))
        if record["format"] != _FORMAT:
            raise ValueError(f"format {record['format']!r}, this featx reads {_FORMAT}")
        return tuple(SaliencyMap(**item) for item in record["maps"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: cannot be read as an index of saliency maps ({error}). Give a folder that `featx saliency` has written"
        ) from error


def gallery(folder: Path | str) -> Gallery:
    """Read the saliency maps of a folder as ``data:`` addresses for the page.

    Returns
    -------
    mapping
        Task, protocol, arm and image id to the map and its address.
    """
    return {
        (item.task, item.protocol, item.arm, item.image): (item, _address(Path(folder) / item.file))
        for item in read_index(folder)
    }


def _address(path: Path) -> str:
    try:
        data = read_regular(path, _LIMIT)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error}); run `featx saliency` again") from error
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
