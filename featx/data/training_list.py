"""The training set of a run, as a file of the run folder: ``training_set.csv``.

It has a row for each image: id, class, group, the SHA-256 of the image file, and ``stratum:COLUMN`` for each further column
of the manifest, which files of earlier versions lack. Whoever uses the SVM later can tell whether an image was in the
training set, and find the training images that are nearest to a new one; reports describe the training set by it.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from io import StringIO

from featx.cells import csv_text, unguarded
from featx.errors import RunError
from featx.files import read_regular
from featx.runs import Run, checked_digest

__all__ = ["TRAINING_SET", "TrainingImage", "training_set", "training_set_bytes"]

TRAINING_SET = "training_set.csv"

# Bytes of the file: a million images take 150 MB.
_LIMIT = 2**28


@dataclass(frozen=True)
class TrainingImage:
    """One image of a training set.

    Attributes
    ----------
    id : str
        Image id.
    actual : str
        Class that the task makes of the label.
    group : str
        Patient, case or lesion.
    key : str
        SHA-256 of the bytes of the image file.
    strata : mapping of str to str
        The image's value in each further column of the manifest; empty in files of earlier versions.

    Examples
    --------
    >>> one = TrainingImage(id="0001", actual="melanoma", group="patient-12", key="0f" * 32)
    >>> one.group
    'patient-12'
    """

    id: str
    actual: str
    group: str
    key: str
    strata: Mapping[str, str] = field(default_factory=dict, hash=False)


_COLUMNS = ("id", "class", "group", "sha256")
_STRATUM = "stratum:"


def training_set_bytes(images: Iterable[TrainingImage]) -> bytes:
    r"""Write a training set as CSV.

    Examples
    --------
    >>> training_set_bytes([TrainingImage("a", "nevus", "p1", "ab12")])
    b'id,class,group,sha256\na,nevus,p1,ab12\n'
    """
    listed = list(images)
    names = sorted({name for image in listed for name in image.strata})
    head = (*_COLUMNS, *(f"{_STRATUM}{name}" for name in names))
    rows = (
        (*(image.id, image.actual, image.group, image.key), *(image.strata.get(name, "") for name in names))
        for image in listed
    )
    return csv_text([head, *rows]).encode("utf-8")


def training_set(run: Run) -> tuple[TrainingImage, ...]:
    """Read the training set of a run; empty for runs of earlier versions, which lack the file.

    Parameters
    ----------
    run : Run
        A run of `featx train-svm` or `featx finalize`; classes have the names that its folder gives them.

    Returns
    -------
    tuple of TrainingImage
        Sorted by id.

    Raises
    ------
    RunError
        If the file was changed after the run finished.
    """
    path = run.path / TRAINING_SET
    if not path.is_file():
        return ()
    checked_digest(run.path, TRAINING_SET)
    rows = csv.reader(StringIO(read_regular(path, _LIMIT).decode("utf-8"), newline=""))
    head = next(rows, [])
    if tuple(head[: len(_COLUMNS)]) != _COLUMNS:
        raise RunError(f"{path}: not the list of a training set; train this run again with --overwrite")
    names = [unguarded(name).removeprefix(_STRATUM) for name in head[len(_COLUMNS) :]]
    return tuple(_image(list(map(unguarded, row)), names) for row in rows if len(row) == len(head))


def _image(cells: list[str], names: list[str]) -> TrainingImage:
    image, actual, group, key = cells[: len(_COLUMNS)]
    return TrainingImage(image, actual, group, key, dict(zip(names, cells[len(_COLUMNS) :], strict=True)))
