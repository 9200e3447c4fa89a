"""The training set of a run, as a file of the run folder: ``training_set.csv``.

It has a row for each image: id, class, group, and the SHA-256 of the image file. Whoever uses the SVM later can tell
whether an image was in the training set, and find the training images that are nearest to a new one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
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
    """

    id: str
    actual: str
    group: str
    key: str


_COLUMNS = ("id", "class", "group", "sha256")


def training_set_bytes(images: Iterable[TrainingImage]) -> bytes:
    r"""Write a training set as CSV.

    Examples
    --------
    >>> training_set_bytes([TrainingImage("a", "nevus", "p1", "ab12")])
    b'id,class,group,sha256\na,nevus,p1,ab12\n'
    """
    return csv_text([_COLUMNS, *(astuple(image) for image in images)]).encode("utf-8")


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
    if next(rows, None) != list(_COLUMNS):
        raise RunError(f"{path}: not the list of a training set; train this run again with --overwrite")
    width = len(fields(TrainingImage))
    return tuple(TrainingImage(*map(unguarded, row)) for row in rows if len(row) == width)
