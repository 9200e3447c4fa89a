"""Scores that a run's SVM gave to its own test images after a corruption.

They are in the run's folder, which is otherwise unchanged, one folder for each corruption and severity:

``robustness/NAME-SEVERITY/robustness.json``
    The `CorruptionRecord`: what was scored by what.
``robustness/NAME-SEVERITY/predictions.csv``
    A row for each image, in the columns of the run's own ``predictions.csv``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.digest import canonical
from featx.errors import RunError
from featx.external.external_records import read_scores, refuse_other_inputs, write_scores
from featx.runs import Prediction, Run, path_part

__all__ = [
    "CorruptedScores",
    "CorruptionRecord",
    "corrupted_scores",
    "finished_corruption",
    "write_corruption",
]

# Folder of a run that holds its scores of corrupted test images.
_FOLDER = "robustness"

_RECORD = "robustness.json"
_FORMAT = 1


@dataclass(frozen=True)
class CorruptionRecord:
    """What decided the scores of corrupted test images.

    Attributes
    ----------
    corruption : mapping
        ``name``, ``version``, ``severity`` and ``parameters``.
    run, model : str
        Id of the run, and SHA-256 of its model file.
    images : str
        SHA-256 of ids and content keys of the images before the corruption.
    count : int
        Number of images; fewer than the run tests if a limit was given.
    features : str
        Digest of the recipe of the features.
    versions : mapping of str to str
        Versions of the libraries that made the images; they decide nothing here.
    format : int
        Version of this layout.
    """

    corruption: Mapping[str, Any]
    run: str
    model: str
    images: str
    count: int
    features: str
    versions: Mapping[str, str] = field(default_factory=dict)
    format: int = _FORMAT

    @property
    def name(self) -> str:
        """Name of the corruption."""
        return str(self.corruption["name"])

    @property
    def severity(self) -> int:
        """Severity, 1 to 5."""
        return int(self.corruption["severity"])

    def inputs(self) -> dict[str, Any]:
        """Return what decided the scores, as JSON types."""
        decided = ("corruption", "run", "model", "images", "features", "format")
        return {name: canonical(getattr(self, name)) for name in decided}


@dataclass(frozen=True)
class CorruptedScores:
    """Scores of corrupted test images by the model of one run.

    Attributes
    ----------
    path : Path
        Their folder.
    record : CorruptionRecord
        What was scored by what.
    predictions : tuple of Prediction
        One for each image.
    """

    path: Path
    record: CorruptionRecord
    predictions: tuple[Prediction, ...]


def _folder(run: Run, record: CorruptionRecord) -> Path:
    return run.path / _FOLDER / f"{path_part(record.name)}-{record.severity}"


def write_corruption(
    run: Run, record: CorruptionRecord, predictions: Sequence[Prediction]
) -> CorruptedScores:
    """Write the scores of corrupted test images into a run's folder in one atomic step."""
    target = _folder(run, record)
    write_scores(target, _RECORD, run, record, predictions)
    return CorruptedScores(target, record, tuple(predictions))


def finished_corruption(run: Run, wanted: CorruptionRecord) -> CorruptedScores | None:
    """Return the scores of corrupted images that a run has already, or None.

    Raises
    ------
    RunError
        If the run has scores of this corruption and severity that other images, features or versions have decided.
    """
    target = _folder(run, wanted)
    if not (target / _RECORD).is_file():
        return None
    found = _read(target, run)
    refuse_other_inputs(
        *(target, wanted.inputs(), found.record.inputs(), "scores of corrupted images"),
        "give the same --limit and images as before, or --overwrite to score again",
    )
    return found


def corrupted_scores(run: Run) -> tuple[CorruptedScores, ...]:
    """Read the scores that a run's model gave to corrupted test images.

    Parameters
    ----------
    run : Run
        A finished run.

    Returns
    -------
    tuple of CorruptedScores
        Sorted by corruption and severity; empty for a run without them.

    Raises
    ------
    RunError
        If a file is damaged, or was changed after it was written.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from featx.runs import RunRecord, write_run
    >>> record = RunRecord(
    ...     kind="svm", arm="frozen", task="melanoma", classes=("nevus", "melanoma"), scored=("melanoma",),
    ...     protocol="holdout", fold="1", folds_digest="", seed=0, manifest={}, features={}, settings={},
    ... )
    >>> run = write_run(Path(mkdtemp()) / "1", record, [], {})
    >>> what = CorruptionRecord({"name": "blur", "severity": 2}, run.record.id, "", "", 1, "")
    >>> _ = write_corruption(run, what, [Prediction("a", "1", "a", "melanoma", {"melanoma": 0.5})])
    >>> [(one.record.name, one.record.severity, one.predictions[0].scores) for one in corrupted_scores(run)]
    [('blur', 2, {'melanoma': 0.5})]
    """
    folder = run.path / _FOLDER
    places = sorted(folder.iterdir()) if folder.is_dir() else []
    return tuple(_read(place, run) for place in places if (place / _RECORD).is_file())


def _read(folder: Path, run: Run) -> CorruptedScores:
    again = "run `featx robustness` again with --overwrite"
    value, rows = read_scores(folder, _RECORD, run, _FORMAT, "scores of corrupted images", again)
    try:
        record = CorruptionRecord(**value)
        if not record.name or not record.severity:
            raise ValueError("it names no corruption")
    except (TypeError, KeyError, ValueError) as error:
        raise RunError(f"{folder}: scores of corrupted images cannot be read ({error}); {again}") from error
    return CorruptedScores(folder, record, rows)
