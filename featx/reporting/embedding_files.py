"""Embedding maps that `featx embedding` has written: a folder with an index and tables, for the report.

``embedding.json``
    A list of maps: arm, task, protocol, method, parameters, and the names of their tables.
``points-NAME.csv``
    An image in each row: id, class, group, fold that tests it, coordinates, and out-of-fold prediction.
``neighbours-NAME.csv``
    A nearest training image of a scored image in each row.
``label-noise-NAME.csv``
    Images whose label neither their neighbours nor their out-of-fold decision value support, the most doubtful first.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from featx.cells import csv_text, unguarded
from featx.digest import digest_file
from featx.documents import parse_json, read_text
from featx.errors import ConfigError
from featx.files import read_regular, write_json, write_text
from featx.runs import path_part

__all__ = [
    "EMBEDDING",
    "EmbeddedArm",
    "MapPoint",
    "NearImage",
    "NeighbourRow",
    "NoiseCandidate",
    "read_embedding",
    "write_embedding",
]

EMBEDDING = "embedding.json"
_FORMAT = 1
# Bytes of the index and of each table.
_LIMIT = 2**28


@dataclass(frozen=True)
class NearImage:
    """A training image near a scored one.

    Attributes
    ----------
    id, actual : str
        Image id and class.
    similarity : float
        Cosine of the scaled features, -1 to 1.
    """

    id: str
    actual: str
    similarity: float


@dataclass(frozen=True)
class MapPoint:
    """An image of a map.

    Attributes
    ----------
    id, actual, group : str
        Image id, class and group.
    fold : str
        Names of the folds that test it, joined by spaces; empty if none does.
    x, y : float
        Coordinates; the longer side of the map is 1.
    predicted : str
        Class predicted without the image in the training set; empty if it was not scored so.
    value : float
        Decision value for its label, mean over the folds; negative if another class is predicted. NaN if not scored.
    """

    id: str
    actual: str
    group: str
    fold: str
    x: float
    y: float
    predicted: str
    value: float


@dataclass(frozen=True)
class NeighbourRow:
    """A nearest training image of a scored image.

    Attributes
    ----------
    image, fold : str
        The scored image, and the fold whose training set is searched.
    rank : int
        From 1.
    id, actual : str
        The training image and its class.
    similarity : float
        Cosine of the scaled features.
    """

    image: str
    fold: str
    rank: int
    id: str
    actual: str
    similarity: float


@dataclass(frozen=True)
class NoiseCandidate:
    """An image whose label may be wrong.

    Attributes
    ----------
    id, label : str
        Image id and label (class of the task).
    suggested : str
        Class that is predicted without the image in the training set.
    agreeing : float
        Fraction of its nearest training images that have its label, mean over the folds that score it.
    expected : float
        Fraction of all training images that have its label, mean over these folds: what chance would give.
    value : float
        Decision value for its label, mean over these folds; negative.
    folds : int
        Number of these folds.
    scored : str
        ``"test"``, or ``"inner"`` if the image is in no test set and inner cross-validation scored it.
    """

    id: str
    label: str
    suggested: str
    agreeing: float
    expected: float
    value: float
    folds: int
    scored: str


@dataclass(frozen=True, eq=False)
class EmbeddedArm:
    """The map of one arm with its neighbours.

    Attributes
    ----------
    task, protocol, arm : str
        The series of the report.
    fold : str
        Fold whose features and scaling the map shows.
    method : str
        How the coordinates were computed, in words.
    parameters : mapping
        The same as JSON types.
    features : str
        Digest of the recipe of the features.
    k : int
        Number of nearest training images.
    points : tuple of MapPoint
        All images.
    neighbours : tuple of NeighbourRow
        Of mistakes and of label-noise candidates.
    noise : tuple of NoiseCandidate
        The most doubtful first.
    warnings : tuple of str
        What a reader of the map has to know.
    """

    task: str
    protocol: str
    arm: str
    fold: str
    method: str
    parameters: Mapping[str, Any]
    features: str
    k: int
    points: tuple[MapPoint, ...]
    neighbours: tuple[NeighbourRow, ...]
    noise: tuple[NoiseCandidate, ...]
    warnings: tuple[str, ...] = ()


_TABLES: Mapping[str, tuple[str, type[Any]]] = {
    "points": ("points", MapPoint),
    "neighbours": ("neighbours", NeighbourRow),
    "noise": ("label-noise", NoiseCandidate),
}
_Row = TypeVar("_Row")


def write_embedding(folder: Path | str, arms: Sequence[EmbeddedArm]) -> tuple[Path, ...]:
    """Write the maps of some arms; files of the same names are replaced.

    Parameters
    ----------
    folder : Path or str
        Folder for the index and the tables.
    arms : sequence of EmbeddedArm
        The maps.

    Returns
    -------
    tuple of Path
        The files, the index last.
    """
    target, index, written = Path(folder), [], list[Path]()
    for one in arms:
        name = path_part("-".join((one.task, one.protocol, one.arm)))
        files = {}
        for field, (stem, _) in _TABLES.items():
            file = target / f"{stem}-{name}.csv"
            write_text(file, _csv(_TABLES[field][1], getattr(one, field)))
            files[field] = {"file": file.name, "sha256": digest_file(file)}
            written.append(file)
        told = {item.name: getattr(one, item.name) for item in fields(one) if item.name not in _TABLES}
        index.append({**told, "warnings": list(one.warnings), "files": files})
    write_json(target / EMBEDDING, {"format": _FORMAT, "maps": index})
    return (*written, target / EMBEDDING)


def _csv(kind: type[Any], rows: Iterable[Any]) -> str:
    cells = ([_cell(value) for value in astuple(row)] for row in rows)
    return csv_text([[item.name for item in fields(kind)], *cells])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else repr(value)
    return str(value)


def read_embedding(folder: Path | str) -> tuple[EmbeddedArm, ...]:
    """Read the maps of a folder.

    Raises
    ------
    ConfigError
        If the folder has no index, or a file is damaged or was changed after it was written.
    """
    path = Path(folder) / EMBEDDING
    try:
        record = parse_json(read_text(path, _LIMIT))
        if record["format"] != _FORMAT:
            raise ValueError(f"format {record['format']!r}, this featx reads {_FORMAT}")
        return tuple(_arm(Path(folder), dict(item)) for item in record["maps"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: cannot be read as embedding maps ({error}). Give a folder that `featx embedding` has written"
        ) from error


def _arm(folder: Path, item: dict[str, Any]) -> EmbeddedArm:
    files: dict[str, Any] = item.pop("files")
    tables: dict[str, Any] = {}
    for field, (_, kind) in _TABLES.items():
        path = folder / Path(files[field]["file"]).name
        if digest_file(path) != files[field]["sha256"]:
            raise ValueError(f"{path.name} was changed after it was written")
        tables[field] = _rows(path, kind)
    return EmbeddedArm(**{**item, "warnings": tuple(item["warnings"])}, **tables)


def _rows(path: Path, kind: type[_Row]) -> tuple[_Row, ...]:
    read: dict[str, Any] = {"float": lambda text: float(text or "nan"), "int": int, "str": unguarded}
    names = {item.name: read[str(item.type)] for item in fields(kind)}  # type: ignore[arg-type]
    table = csv.DictReader(StringIO(read_regular(path, _LIMIT).decode("utf-8"), newline=""))
    return tuple(kind(**{name: convert(row[name]) for name, convert in names.items()}) for row in table)
