"""External validation: the scores that a run's SVM gave to the images of another manifest.

They are in the run's folder, which is otherwise unchanged, one folder for each external test set:

``external/NAME/external.json``
    The `ExternalRecord`: what was scored by what, and what was left out.
``external/NAME/predictions.csv``
    A row for each image, in the columns of the run's own ``predictions.csv``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.digest import canonical, differing, digest_file
from featx.documents import parse_json, read_text
from featx.errors import RunError, listing
from featx.files import folder_aside, write_json, write_text
from featx.runs import Prediction, Run, path_part, predictions_text, read_predictions, renamed

__all__ = [
    "EXTERNAL",
    "EXTERNAL_RECORD",
    "ExternalRecord",
    "ExternalScores",
    "external_scores",
    "finished_scores",
    "read_scores",
    "refuse_other_inputs",
    "write_external",
    "write_scores",
]

EXTERNAL = "external"
"""Folder of a run that holds its external test sets."""
EXTERNAL_RECORD = "external.json"
"""Record of the scores of one external test set."""

_PREDICTIONS = "predictions.csv"
_FORMAT = 1
_RECORD_LIMIT = 2**28


@dataclass(frozen=True)
class ExternalRecord:
    """What decided the scores of an external test set, and what was counted.

    Attributes
    ----------
    name : str
        Name of the test set in reports.
    run, model : str
        Id of the run, and SHA-256 of its model file.
    manifest : mapping
        ``name`` and ``digest`` of the manifest.
    images : str
        SHA-256 of ids, classes and content keys of the scored images.
    features : str
        Digest of the recipe of the features.
    overlap : mapping
        ``rule`` (``"refuse"`` or ``"drop"``), ``own_names``, ``kinds`` (kind to the number of images), and ``left_out``
        (id of each image that was left out to the kinds of its overlap with the training data).
    counts : mapping
        ``classes`` (scored images of each), ``groups``, ``left_out`` (images without features), ``excluded`` (images
        without a class in the task).
    warnings : tuple of str
        What a reader of the results has to know.
    format : int
        Version of this layout.
    """

    name: str
    run: str
    model: str
    manifest: Mapping[str, Any]
    images: str
    features: str
    overlap: Mapping[str, Any]
    counts: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    format: int = _FORMAT

    def inputs(self) -> dict[str, Any]:
        """Return what decided the scores, as JSON types."""
        decided = ("run", "model", "manifest", "images", "features", "overlap", "format")
        return {name: canonical(getattr(self, name)) for name in decided}


@dataclass(frozen=True)
class ExternalScores:
    """Scores of one external test set by the model of one run.

    Attributes
    ----------
    path : Path
        Their folder.
    record : ExternalRecord
        What went in and what was counted.
    predictions : tuple of Prediction
        One for each image.
    """

    path: Path
    record: ExternalRecord
    predictions: tuple[Prediction, ...]


def _folder(run: Run, name: str) -> Path:
    return run.path / EXTERNAL / path_part(name)


def write_external(run: Run, record: ExternalRecord, predictions: Sequence[Prediction]) -> ExternalScores:
    """Write the scores of an external test set into a run's folder in one atomic step."""
    target = _folder(run, record.name)
    write_scores(target, EXTERNAL_RECORD, run, record, predictions)
    return ExternalScores(target, record, tuple(predictions))


def write_scores(folder: Path, name: str, run: Run, record: Any, predictions: Sequence[Prediction]) -> None:
    """Write predictions and their record, a file of this name with the SHA-256 of the predictions, in one atomic step."""
    with folder_aside(folder) as aside:
        write_text(aside / _PREDICTIONS, predictions_text(run.record, predictions))
        marks = {_PREDICTIONS: digest_file(aside / _PREDICTIONS)}
        write_json(aside / name, {**canonical(record), "files": marks})


def read_scores(
    folder: Path, name: str, run: Run, layout: int, what: str, again: str
) -> tuple[dict[str, Any], tuple[Prediction, ...]]:
    """Read what `write_scores` has written: the fields of the record, and the predictions under the run's class names.

    Raises
    ------
    RunError
        If a file is damaged, was changed, or is of another layout; it says `what` cannot be read, and what to do `again`.
    """
    try:
        value = parse_json(read_text(folder / name, _RECORD_LIMIT))
        marks = value.pop("files")
        if value["format"] != layout:
            raise ValueError(f"its format is {value['format']!r}, and this featx reads {layout}")
        if digest_file(folder / _PREDICTIONS) != marks[_PREDICTIONS]:
            raise ValueError(f"{_PREDICTIONS} was changed after it was written")
        rows = read_predictions(folder / _PREDICTIONS)
        return value, tuple(renamed(row, run.names) for row in rows) if run.names else rows
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{folder}: {what} cannot be read ({error}); {again}") from error


def refuse_other_inputs(
    folder: Path, wanted: dict[str, Any], found: dict[str, Any], what: str, advice: str
) -> None:
    """Refuse finished scores that other inputs have decided."""
    if lines := differing(wanted, found):
        raise RunError(f"{folder}: {what} with other inputs exist here ({listing(lines, 3)}); {advice}")


def finished_scores(run: Run, wanted: ExternalRecord) -> ExternalScores | None:
    """Return the scores of an external test set that a run has already, or None.

    Raises
    ------
    RunError
        If the run has scores under this name that other images, features or rules have decided.
    """
    target = _folder(run, wanted.name)
    if not (target / EXTERNAL_RECORD).is_file():
        return None
    found = _read(target, run)
    refuse_other_inputs(
        *(target, wanted.inputs(), found.record.inputs(), "external scores"),
        "give the test manifest another name (--test NAME=MANIFEST), or --overwrite to train and score again",
    )
    return found


def external_scores(run: Run) -> tuple[ExternalScores, ...]:
    """Read the external test sets that a run's model has scored.

    Parameters
    ----------
    run : Run
        A finished run.

    Returns
    -------
    tuple of ExternalScores
        Sorted by name; empty for a run without external test sets.

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
    ...     protocol="none", fold="all", folds_digest="", seed=0, manifest={}, features={}, settings={},
    ... )
    >>> run = write_run(Path(mkdtemp()) / "all", record, [], {})
    >>> scored = ExternalRecord("clinic", run.record.id, "", {}, "", "", {}, {"classes": {"melanoma": 1}})
    >>> _ = write_external(run, scored, [Prediction("a", "all", "a", "melanoma", {"melanoma": 0.5})])
    >>> [(one.record.name, one.predictions[0].scores) for one in external_scores(run)]
    [('clinic', {'melanoma': 0.5})]
    """
    folder = run.path / EXTERNAL
    places = sorted(folder.iterdir()) if folder.is_dir() else []
    return tuple(_read(place, run) for place in places if (place / EXTERNAL_RECORD).is_file())


def _read(folder: Path, run: Run) -> ExternalScores:
    again = "remove this folder and run `featx train-svm --test` again"
    value, rows = read_scores(folder, EXTERNAL_RECORD, run, _FORMAT, "external scores", again)
    try:
        record = ExternalRecord(**{**value, "warnings": tuple(value["warnings"])})
    except (KeyError, TypeError) as error:
        raise RunError(f"{folder}: external scores cannot be read ({error}); {again}") from error
    names = run.names
    counts = {
        **record.counts,
        "classes": {names.get(key, key): n for key, n in record.counts["classes"].items()},
    }
    return ExternalScores(folder, dataclasses.replace(record, counts=counts), rows)
