"""Runs: one trained and scored arm, task and fold, as a folder.

A run folder holds

``run.json``
    The `RunRecord`: what went in, what came out. Same inputs and seed give the same bytes.
``predictions.csv``
    A row for each test image: id, fold, group, class, ``score:CLASS``, ``probability:CLASS`` where
    calibrated, ``stratum:COLUMN``.
``inner_scores.csv``
    Of an SVM of format 2 or later, in the same columns without strata: the training part, each image scored by SVMs
    that it did not train, with the number of the inner fold as its fold. Thresholds and calibrations come from them.
``training_set.csv``
    Of an SVM: id, class, group, SHA-256 and strata of each training image. Runs of earlier versions lack it, or the strata.
``environment.json``
    Host, time and durations: what may differ between two equal runs.
``complete.json``
    The completion mark: the SHA-256 of every other file. A folder without it is no run.

and whatever its maker adds, such as ``model.skops`` or ``best.weights.h5``.
"""

from __future__ import annotations

import csv
import dataclasses
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any

from featx.cells import csv_text, unguarded
from featx.digest import canonical, differing, digest, digest_file
from featx.documents import parse_json, read_text
from featx.errors import RunError, listing
from featx.files import find_files, folder_aside, open_regular, remove_leftovers, write_json, write_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COMPLETE",
    "FINAL",
    "Prediction",
    "Run",
    "RunRecord",
    "checked_digest",
    "find_runs",
    "finished_run",
    "given_features",
    "inner_scores",
    "path_part",
    "predictions_text",
    "read_predictions",
    "read_run",
    "read_runs",
    "renamed",
    "run_cost",
    "run_environment",
    "run_folder",
    "shown_as",
    "write_again",
    "write_run",
]


COMPLETE = "complete.json"

FINAL = "final"
"""Protocol of a final model: one SVM of all images, without a test set."""

_INNER = "inner_scores.csv"

# What `write_run` makes of its arguments other than `files`.
_OF_EVERY_RUN = frozenset({"run.json", "environment.json", "predictions.csv", _INNER})

# Runs of earlier versions lack this mark: their texts were written as they are.
_GUARDED = "guarded"

# 2: SVM runs with inner scores and thresholds; of ties in extreme pooling the positive score; isotonic probabilities
# that keep off 0 and 1.
_FORMATS = (1, 2)

# Bytes of a record.
_RECORD_LIMIT = 2**26

_PLAIN_COLUMNS = ("id", "fold", "group", "class")


@dataclass(frozen=True)
class Prediction:
    """What a run says of one test image.

    Attributes
    ----------
    id : str
        Image id.
    fold : str
        Name of the fold.
    group : str
        Patient, case or lesion; the image id where the manifest has no groups.
    actual : str
        The class that the task makes of the image's label.
    scores : mapping of str to float
        Decision value for each scored class: in a two-class task the positive class alone.
    probabilities : mapping of str to float
        The same calibrated, or empty.
    strata : mapping of str to str
        The image's value in each stratum column of the manifest; empty text where missing.
    """

    id: str
    fold: str
    group: str
    actual: str
    scores: Mapping[str, float]
    probabilities: Mapping[str, float] = field(default_factory=dict)
    strata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunRecord:
    """Everything that decided a run, and what came out of it.

    Attributes
    ----------
    kind : str
        ``"svm"``, ``"softmax"`` (a fine-tuned network's own head) or ``"finetune"`` (weights, no scores).
    arm : str
        The row of the study's table that the run belongs to.
    task : str
        Name of the task.
    classes : tuple of str
        All classes of the task; in a two-class task the positive one is last.
    scored : tuple of str
        Classes that have a score column: the positive one, or all of them.
    protocol : str
        As given, such as ``"5x2"``.
    fold : str
        Name of the fold, such as ``"1x2"``.
    folds_digest : str
        SHA-256 of the folds of the whole protocol.
    seed : int
        Seed of everything random in the run.
    manifest : mapping
        ``name`` and ``digest`` of the manifest's content, and ``targets``: for each class the SHA-256 of the ids of
        its images. Runs of earlier versions lack the last.
    features : mapping
        ``digest`` and ``recipe`` of the features that went in; for a fine-tuning run the network's. ``cost`` holds
        ``parameters`` and ``multiply_adds`` of the network up to them, where the store knows; it decides nothing.
        Of features that the run chose from, each under ``alternatives``.
    settings : mapping
        The resolved options of the search or of the training.
    lineage : tuple of str
        Where the weights came from, oldest first.
    versions : mapping of str to str
        Versions of the libraries that decide the result.
    counts : mapping
        Images of each class in the parts, images left out, groups; ``flow``: what task and missing features leave of the
        manifest, which runs of earlier versions lack.
    search : mapping
        The whole search curve, or the training's history in short.
    convergence : mapping
        What was measured of convergence, counts included.
    warnings : tuple of str
        What a reader of the results has to know.
    format : int
        Version of this layout and of what decides a result beside the settings; 2 of SVM runs.
    """

    kind: str
    arm: str
    task: str
    classes: tuple[str, ...]
    scored: tuple[str, ...]
    protocol: str
    fold: str
    folds_digest: str
    seed: int
    manifest: Mapping[str, Any]
    features: Mapping[str, Any]
    settings: Mapping[str, Any]
    lineage: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    convergence: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    format: int = 1

    def inputs(self) -> dict[str, Any]:
        """Return what decided the run, as JSON types: equal inputs give equal results on one machine."""
        outcomes = {"counts", "search", "convergence", "warnings", "lineage"}
        fields = (item.name for item in dataclasses.fields(self) if item.name not in outcomes)
        inputs = {name: canonical(getattr(self, name)) for name in fields}
        inputs["features"] = _deciding(inputs["features"])
        # A manifest's name is shown in reports; its content alone decides.
        inputs["manifest"] = {key: value for key, value in inputs["manifest"].items() if key != "name"}
        if "targets" in self.manifest and self.kind != "finetune":
            # So are a task's name and those of its classes. By them a training may look up weights of the classes.
            targets = inputs["manifest"].pop("targets")
            inputs |= {key: [targets[name] for name in inputs[key]] for key in ("classes", "scored")}
            del inputs["task"]
        return inputs

    @property
    def task_identity(self) -> str | None:
        """SHA-256 of which images are in one class and which class is positive; None for runs of earlier versions."""
        targets = self.manifest.get("targets")
        if targets is None:
            return None
        return digest([sorted(targets.values()), sorted(targets[name] for name in self.scored)])

    @property
    def subset(self) -> Mapping[str, Any]:
        """Which part of the training set was trained on: ``fraction`` or ``shots``, and ``seed``; empty for all of it."""
        return dict(self.settings.get("subset", {}))

    @property
    def id(self) -> str:
        """SHA-256 of the inputs."""
        return digest(self.inputs())


def _deciding(features: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what features cost, which decides no result and is not known of old stores."""
    kept = {key: value for key, value in features.items() if key != "cost"}
    if "alternatives" in kept:
        kept["alternatives"] = [_deciding(item) for item in kept["alternatives"]]
    return kept


@dataclass(frozen=True)
class Run:
    """A finished run, read back.

    Attributes
    ----------
    path : Path
        Its folder.
    record : RunRecord
        What went in and came out.
    predictions : tuple of Prediction
        One for each test image; empty for a fine-tuning run without scores.
    names : mapping of str to str
        Each class as the folder's files call it to its name here, where they differ (`shown_as`).
    """

    path: Path
    record: RunRecord
    predictions: tuple[Prediction, ...]
    names: Mapping[str, str] = field(default_factory=dict)

    def own_name(self, shown: str) -> str:
        """Return what the folder's files call a class that is shown under another name."""
        return {here: own for own, here in self.names.items()}.get(shown, shown)


def shown_as(run: Run, task: str, names: Mapping[str, str], classes: Sequence[str]) -> Run:
    """Give a run's task and classes other names, as reports do that combine spellings of one task.

    `names` maps each class to its new name, `classes` are the new names in the order wanted.
    """
    old = run.record
    facts = {key: _with_names(getattr(old, key), names) for key in ("manifest", "counts", "search")}
    scored = tuple(name for name in classes if name in {names[own] for own in old.scored})
    record = dataclasses.replace(old, task=task, classes=tuple(classes), scored=scored, **facts)
    return Run(run.path, record, tuple(renamed(row, names) for row in run.predictions), names)


def renamed(row: Prediction, names: Mapping[str, str]) -> Prediction:
    """Give the classes of a prediction other names."""
    return dataclasses.replace(
        row,
        actual=names.get(row.actual, row.actual),
        scores=_with_names(row.scores, names),
        probabilities=_with_names(row.probabilities, names),
    )


def _with_names(value: Any, names: Mapping[str, str]) -> Any:
    """Rename the keys of every mapping that is keyed by classes."""
    if not isinstance(value, Mapping):
        return value
    keyed = set(value) <= set(names)
    return {names[key] if keyed else key: _with_names(item, names) for key, item in value.items()}


def given_features(run: Run, digest: str | None) -> Mapping[str, Any] | None:
    """Return what a run's record says of the features of this digest, or None."""
    features = run.record.features
    every = (features, *features.get("alternatives", ()))
    return next((item for item in every if item.get("digest") == digest), None)


def run_cost(run: Run) -> dict[str, Any] | None:
    """Return the cost of the features behind a run; of several alternatives, of the chosen ones.

    Returns
    -------
    dict or None
        ``parameters``, ``multiply_adds`` (of one forward pass of one image, None if not countable), and of the latest
        extraction that had computed rows when the run was trained: ``images_per_second`` (None if unknown), ``device``,
        ``engine``, ``networks`` (that shared the pass, and so its time). None for runs of stores that do not know it.
    """
    features = run.record.features
    taken = run.record.search.get("features", features.get("digest"))
    cost = (given_features(run, taken) or {}).get("cost")
    if cost is None:
        return None
    speeds = run_environment(run).get("extraction", {})
    return {**cost, "images_per_second": None, **speeds.get(taken, {})}


def run_environment(run: Run) -> dict[str, Any]:
    """Read what a run records of host, time and durations."""
    return _read_json(run.path / "environment.json", run.path)


def run_folder(output: Path | str, arm: str, task: str, protocol: str, fold: str) -> Path:
    """Name a run's folder; characters that are awkward in a path become ``-``.

    Examples
    --------
    >>> run_folder("runs", "E", "melanoma:rest", "5x2", "1x2").as_posix()
    'runs/E/melanoma-rest/5x2/1x2'
    """
    return Path(output).joinpath(*(path_part(part) for part in (arm, task, protocol, fold)))


def path_part(name: str) -> str:
    """Replace the characters of a name that are awkward in a path by ``-``."""
    kept = "".join(char if char.isalnum() or char in "._+-" else "-" for char in name)
    return kept.strip(".") or "-"


def write_run(
    folder: Path | str,
    record: RunRecord,
    predictions: Sequence[Prediction],
    environment: Mapping[str, Any],
    files: Mapping[str, bytes | Path] | None = None,
    inner: Sequence[Prediction] = (),
) -> Run:
    """Write a run folder in one atomic step, and read it back.

    `files` holds further files: their bytes, a file to move in, or a folder to copy. `inner` is the training set with the scores of inner
    cross-validation, for `inner_scores`.
    """
    target = Path(folder)
    with folder_aside(target) as aside:
        write_json(aside / "run.json", canonical(record))
        write_json(aside / "environment.json", dict(environment))
        write_text(aside / "predictions.csv", predictions_text(record, predictions))
        if inner:
            write_text(aside / _INNER, predictions_text(record, inner))
        for name, content in (files or {}).items():
            if isinstance(content, Path) and content.is_dir():
                shutil.copytree(content, aside / name)
            elif isinstance(content, Path):
                content.replace(aside / name)
            else:
                (aside / name).write_bytes(content)
        marks = {path.name: digest_file(path) for path in sorted(aside.iterdir()) if path.is_file()}
        write_json(aside / COMPLETE, {"cells": _GUARDED, "files": marks, "id": record.id})
    return read_run(target)


def write_again(run: Run, record: RunRecord) -> Run:
    """Write a run with another record; everything else stays as it is.

    Raises
    ------
    RunError
        If a file of the run was changed after it finished.
    """
    files: dict[str, bytes | Path] = {}
    for name in set(_read_json(run.path / COMPLETE, run.path)["files"]) - _OF_EVERY_RUN:
        checked_digest(run.path, name)
        files[name] = (run.path / name).read_bytes()
    files |= {place.name: place for place in run.path.iterdir() if place.is_dir()}
    return write_run(run.path, record, run.predictions, run_environment(run), files, inner_scores(run))


def predictions_text(record: RunRecord, predictions: Sequence[Prediction]) -> str:
    """Write predictions as a CSV table with the columns of a run's ``predictions.csv``."""
    strata = sorted({name for row in predictions for name in row.strata})
    probabilities = [name for name in record.classes if any(name in row.probabilities for row in predictions)]
    columns = [
        *_PLAIN_COLUMNS,
        *(f"score:{name}" for name in record.scored),
        *(f"probability:{name}" for name in probabilities),
        *(f"stratum:{name}" for name in strata),
    ]
    rows: list[list[str]] = [columns]
    for row in predictions:
        scores = [repr(float(row.scores[name])) for name in record.scored]
        chances = [repr(float(row.probabilities[name])) for name in probabilities]
        kept = [row.strata.get(name, "") for name in strata]
        rows.append([row.id, row.fold, row.group, row.actual, *scores, *chances, *kept])
    return csv_text(rows)


def read_run(folder: Path | str) -> Run:
    """Read a finished run."""
    path = Path(folder)
    mark = _read_json(path / COMPLETE, path)
    files = mark.get("files", {})
    for name in files:
        if not (path / name).is_file():
            raise RunError(f"{path}: {name} is missing from this run; train it again with --overwrite")
    for name in ("run.json", "predictions.csv", *([_INNER] if (path / _INNER).is_file() else [])):
        _checked(path, name, files)
    record = _record(_read_json(path / "run.json", path), path)
    guarded = mark.get("cells") == _GUARDED
    return Run(path, record, read_predictions(path / "predictions.csv", guarded=guarded))


def read_runs(paths: Path | str | Iterable[Path | str]) -> pd.DataFrame:
    """Read the predictions of many runs as one table.

    Returns
    -------
    pandas.DataFrame
        A row for each test image of each run: ``arm``, ``task``, ``protocol``, ``fold``, ``id``, ``group``, ``class``,
        ``score:CLASS`` (decision values), ``probability:CLASS`` where calibrated, ``stratum:COLUMN``, of learning curves
        ``subset:SIZE`` and ``subset:seed``, and ``run``, the folder. A column that a run does not have is NaN in its rows.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> record = RunRecord(
    ...     kind="svm", arm="ImageNet", task="melanoma", classes=("nevus", "melanoma"), scored=("melanoma",),
    ...     protocol="holdout", fold="1", folds_digest="", seed=0, manifest={}, features={}, settings={},
    ... )
    >>> rows = [Prediction("a", "1", "a", "melanoma", {"melanoma": 0.5})]
    >>> run = write_run(Path(mkdtemp()) / "1", record, rows, {})
    >>> read_runs(run.path)[["arm", "fold", "id", "class", "score:melanoma"]].to_dict("records")
    [{'arm': 'ImageNet', 'fold': '1', 'id': 'a', 'class': 'melanoma', 'score:melanoma': 0.5}]
    """
    import pandas as pd

    given = [paths] if isinstance(paths, str | Path) else paths
    table = pd.DataFrame(
        [_flat(run, row) for run in map(read_run, find_runs(given)) for row in run.predictions]
    )
    return table.reindex(columns=sorted(table.columns, key=_column_order))


def _flat(run: Run, row: Prediction) -> dict[str, Any]:
    return {
        "arm": run.record.arm,
        "task": run.record.task,
        "protocol": run.record.protocol,
        "fold": row.fold,
        "id": row.id,
        "group": row.group,
        "class": row.actual,
        **{f"score:{name}": value for name, value in row.scores.items()},
        **{f"probability:{name}": value for name, value in row.probabilities.items()},
        **{f"stratum:{name}": value for name, value in row.strata.items()},
        **{f"subset:{name}": value for name, value in run.record.subset.items()},
        "run": str(run.path),
    }


def _column_order(name: str) -> int:
    order = f"arm task protocol fold {' '.join(_PLAIN_COLUMNS)} score probability stratum subset run"
    return order.split().index(name.split(":")[0])


def checked_digest(folder: Path | str, name: str) -> str:
    """Return the SHA-256 of a file of a finished run."""
    path = Path(folder)
    return _checked(path, name, _read_json(path / COMPLETE, path).get("files", {}))


def _checked(path: Path, name: str, files: Mapping[str, str]) -> str:
    wanted = files.get(name)
    if wanted is None or not (path / name).is_file():
        raise RunError(f"{path}: {name} is missing from this run; train it again with --overwrite")
    found = digest_file(path / name)
    if found != wanted:
        raise RunError(
            f"{path}: {name} was changed after the run finished (SHA-256 {found[:12]}, not {wanted[:12]}); train it "
            "again with --overwrite"
        )
    return found


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        value = parse_json(read_text(path, _RECORD_LIMIT))
    except FileNotFoundError as error:
        raise RunError(
            f"{folder}: not a finished run, it has no {path.name}; give a folder of finished runs"
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); train this run again with --overwrite") from error
    if not isinstance(value, dict):
        raise RunError(f"{path}: holds no record; train this run again with --overwrite")
    return value


def _record(value: dict[str, Any], path: Path) -> RunRecord:
    if value.get("format") not in _FORMATS:
        raise RunError(
            f"{path}: run format {value.get('format')!r}, this featx reads {_FORMATS[0]} to {_FORMATS[-1]}; train it "
            "again"
        )
    names = {item.name for item in dataclasses.fields(RunRecord)}
    if set(value) != names:
        odd = sorted(set(value) ^ names)
        raise RunError(
            f"{path}: run.json has missing or unknown fields: {listing(odd)}; train this run again"
        )
    for name in ("classes", "scored", "lineage", "warnings"):
        value[name] = tuple(value[name])
    return RunRecord(**value)


def _read_predictions(folder: Path, name: str) -> tuple[Prediction, ...]:
    guarded = _read_json(folder / COMPLETE, folder).get("cells") == _GUARDED
    return read_predictions(folder / name, guarded=guarded)


def read_predictions(path: Path, *, guarded: bool = True) -> tuple[Prediction, ...]:
    """Read a table that `predictions_text` has written; the cells of earlier versions are not guarded."""
    with TextIOWrapper(open_regular(path), encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        head, rows = next(lines, []), [line for line in lines if line]
    if guarded:
        head = list(map(unguarded, head))
        rows = [[unguarded(cell) if cell[:1] == "'" else cell for cell in line] for line in rows]
    return tuple(_predictions(head, rows)) if rows else ()


def _predictions(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[Prediction]:
    """Make predictions of a table's rows; texts that many runs have in common are kept once."""
    places = {name: place for place, name in enumerate(head)}
    scores, chances, strata = (
        [(name.removeprefix(prefix), place) for name, place in places.items() if name.startswith(prefix)]
        for prefix in ("score:", "probability:", "stratum:")
    )
    for row in rows:
        image, fold, group, actual = (intern(row[places[name]]) for name in _PLAIN_COLUMNS)
        values, odds = ({name: float(row[place]) for name, place in part} for part in (scores, chances))
        levels = {name: intern(row[place]) for name, place in strata}
        yield Prediction(image, fold, group, actual, values, odds, levels)


def inner_scores(run: Run) -> tuple[Prediction, ...]:
    """Read the decision values that inner cross-validation gave to a run's training set.

    One for each training image, or group where the run scores groups; the fold is the inner fold's number. Empty for runs
    without them: of format 1, of a network's own head, or where a class has too few groups.
    """
    rows = _read_predictions(run.path, _INNER) if (run.path / _INNER).is_file() else ()
    return tuple(renamed(row, run.names) for row in rows) if run.names else rows


def find_runs(paths: Iterable[Path | str]) -> list[Path]:
    """Find the finished runs at or below some folders, sorted, each once."""
    found: set[Path] = set()
    for path in map(Path, paths):
        if not path.is_dir():
            raise RunError(f"{path}: no such folder; give run folders, or a folder that holds some")
        here = {mark.parent for mark in find_files(path, COMPLETE)}
        if not here:
            raise RunError(f"{path}: holds no finished run; train some with `featx train-svm`")
        found |= here
    return sorted(found)


def finished_run(folder: Path | str, wanted: RunRecord, overwrite: bool = False) -> Run | None:
    """Return the finished run with the wanted inputs, or None if it has to be trained or is to be overwritten."""
    path = Path(folder)
    remove_leftovers(path.parent)
    if overwrite or not (path / COMPLETE).is_file():
        return None
    run = read_run(path)
    if run.record.format < wanted.format:
        raise RunError(
            f"{path}: a run of an earlier version of featx exists here (format {run.record.format}, now {wanted.format}: "
            "with thresholds fixed on the training part); it can still be reported. Give --overwrite to train it "
            "again, or another --output or --arm"
        )
    if "targets" not in run.record.manifest:
        known = {key: value for key, value in wanted.manifest.items() if key != "targets"}
        wanted = dataclasses.replace(wanted, manifest=known)
    lines = differing(wanted.inputs(), run.record.inputs())
    if lines:
        raise RunError(
            f"{path}: a run with other inputs exists here ({listing(lines, 3)}); "
            "give another --output or --arm, or --overwrite to replace it"
        )
    return run
