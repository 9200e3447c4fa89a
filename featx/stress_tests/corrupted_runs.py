"""The verb `robustness`: scores of corrupted test images by the SVM of each fold, and what the AUC loses."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featx.deploy import PredictSettings, RunModel, find_features, read_models
from featx.digest import digest
from featx.errors import StaleStoreError
from featx.external import (
    CorruptionRecord,
    finished_corruption,
    write_corruption,
)
from featx.features import EngineOptions
from featx.files import aside_folder, remove_leftovers
from featx.images import corruption_key
from featx.machine import versions
from featx.options import verb
from featx.progress import Silent
from featx.reporting import CorruptionDrop, collect, corruption_drops, drop_table, plain, to_frame
from featx.runs import Prediction, checked_digest
from featx.stress_tests.corrupted_images import CLEAN, RunImages, find_images, write_images
from featx.stress_tests.robustness_settings import RobustnessSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RobustnessScores", "robustness"]

_LIBRARIES = ("featx", "numpy", "scipy", "pillow")
# Copies without a corruption in the first pass: their decision values must be those that the runs recorded.
_PROBES = 8
# Largest relative difference of a decision value from the recorded one that engines of single precision reach.
_AGREEMENT = 0.01
# Options that an extraction of corrupted images has in common with this verb, beside those of the engine.
_SHARED = ("workers", "weights", "cache", "progress")

_Scores = dict[tuple[int, str], np.ndarray]


@dataclass(frozen=True, eq=False)
class RobustnessScores:
    """What an arm loses on corrupted test images.

    Attributes
    ----------
    folders : tuple of Path
        A folder for each fold, corruption and severity, with ``predictions.csv`` and ``robustness.json``.
    drops : tuple of CorruptionDrop
        AUC before and after for each corruption and severity, over all folds.
    computed, reused : int
        Number of these folders that were computed now, and that were there already.
    """

    folders: tuple[Path, ...]
    drops: tuple[CorruptionDrop, ...]
    computed: int
    reused: int

    @property
    def text(self) -> str:
        """The drops as aligned text."""
        return plain(drop_table(self.drops)).rstrip("\n")

    def to_frame(self) -> pd.DataFrame:
        """Return the drops as a pandas table."""
        return to_frame(drop_table(self.drops))


@verb(RobustnessSettings)
def robustness(runs: Path | str | Iterable[Path | str], options: RobustnessSettings) -> RobustnessScores:
    """Measure how much AUC the SVMs of an arm lose on corrupted test images.

    Every test image is corrupted (`featx.images.CORRUPTIONS` states the parameters), its features are extracted by the
    recipe of the runs into a temporary store, and the SVM of each fold scores its own test images. The scores go into the
    folders of the runs, where `featx.report` finds them. What is finished is not computed again.

    Parameters
    ----------
    runs : path or iterable of paths
        Run folders of `featx train-svm`, or folders that hold some: the folds of one arm.
    {options}

    Returns
    -------
    RobustnessScores
        AUC before and after each corruption, with the paired difference and its interval.

    Raises
    ------
    RunError
        If there is no SVM run, the runs are of several arms, score groups or have no test images, or finished scores are of
        other images.
    ManifestError
        If the manifest lacks a test image.
    StaleStoreError
        If uncorrupted images do not get the decision values that the runs recorded.
    WeightsError
        If the weights of the network are unknown, or others.
    ExtractionError
        If an image cannot be decoded.

    Examples
    --------
    ::

        found = featx.robustness("reports/runs/frozen", manifest="lesions.csv", corruptions=["hair", "blur"])
        print(found.text)
        featx.report("reports/runs")
    """
    options.begin()
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    models = read_models(given, without_final=True)
    images = find_images(models, options)
    records = _records(models, images, options)
    finished = {
        key: None if options.overwrite else finished_corruption(models[key[0]].run, record)
        for key, record in records.items()
    }
    todo = {key: record for key, record in records.items() if finished[key] is None}
    folders = [one.path for one in finished.values() if one is not None]
    remove_leftovers(Path(options.cache))
    with aside_folder(Path(options.cache) / "robustness") as home:
        probe = True
        for name in options.kinds:
            here = {key: record for key, record in todo.items() if record.name == name}
            if here:
                folders += _score(models, images, here, options, home, probe=probe)
                probe = False
    (series,), _ = collect([model.run.path for model in models])
    drops = [
        one
        for one in corruption_drops([series])
        if one.corruption in options.kinds and one.severity in options.levels
    ]
    return RobustnessScores(tuple(sorted(folders)), tuple(drops), len(todo), len(records) - len(todo))


_Key = tuple[int, str, int]


def _records(
    models: Sequence[RunModel], images: RunImages, options: RobustnessSettings
) -> dict[_Key, CorruptionRecord]:
    """State what each fold, corruption and severity is scored on: by the place of the model, corruption and severity."""
    made: dict[_Key, CorruptionRecord] = {}
    for place, model in enumerate(models):
        rows = images.folds[model.fold]
        scored = digest(sorted((row.id, images.keys[row.id]) for row in rows))
        mark = checked_digest(model.run.path, "model.skops")
        for name in options.kinds:
            for severity in options.levels:
                made[place, name, severity] = CorruptionRecord(
                    corruption=corruption_key(name, severity),
                    run=model.run.record.id,
                    model=mark,
                    images=scored,
                    count=len(rows),
                    features=model.digest,
                    versions=versions(_LIBRARIES),
                )
    return made


def _score(
    models: Sequence[RunModel],
    images: RunImages,
    todo: Mapping[_Key, CorruptionRecord],
    options: RobustnessSettings,
    home: Path,
    *,
    probe: bool,
) -> list[Path]:
    """Score the images of one corruption, and write what was missing."""
    wanted = dict.fromkeys(
        (row.id, severity) for place, _, severity in todo for row in images.folds[models[place].fold]
    )
    (name,) = {record.name for record in todo.values()}
    probes = [(image, CLEAN) for image in sorted(images.paths)[:_PROBES]] if probe else []
    serving = [models[place] for place in sorted({place for place, _, _ in todo})] if not probe else models
    copies = write_images(
        home / "images", images, [*probes, *wanted], name, options.workers, options.progress
    )
    shared = {**vars(options.part(EngineOptions)), **{key: getattr(options, key) for key in _SHARED}}
    settings = PredictSettings(images=home / "images", on_error="fail", **shared)
    found = find_features(serving, settings, home)
    by_model = {
        model.fold: {
            copies[stem]: line
            for stem, line in zip(
                found.ids,
                np.concatenate([model.svm.scores(part, model.digest) for part in found.read(model.digest)]),
                strict=True,
            )
        }
        for model in serving
    }
    shutil.rmtree(home / "images")
    if probe:
        _check_probes(models, images, by_model)
    written = []
    for (place, _, severity), record in todo.items():
        model = models[place]
        rows = _predictions(model, images.folds[model.fold], by_model[model.fold], severity)
        written.append(write_corruption(model.run, record, rows).path)
    (options.progress or Silent()).say(f"{name}: {len(written)} scored, {len(wanted)} corrupted images")
    return written


def _predictions(
    model: RunModel, rows: Sequence[Prediction], scores: _Scores, severity: int
) -> list[Prediction]:
    values = np.array([scores[severity, row.id] for row in rows])
    names = model.svm.scored
    calibrated = model.svm.calibration is not None
    chances = model.svm.probabilities(values) if calibrated else np.empty((len(rows), 0))
    return [
        dataclasses.replace(
            row,
            scores=dict(zip(names, line.tolist(), strict=True)),
            probabilities=dict(zip(names, chance.tolist(), strict=True)) if calibrated else {},
        )
        for row, line, chance in zip(rows, values, chances, strict=True)
    ]


def _check_probes(models: Sequence[RunModel], images: RunImages, by_model: Mapping[str, _Scores]) -> None:
    """Compare the decision values of uncorrupted copies with those that the runs recorded."""
    for model in models:
        if any(part.recipe.get("precision") != "float32" for part in model.parts):
            continue
        for row in images.folds[model.fold]:
            line = by_model[model.fold].get((CLEAN, row.id))
            recorded = np.array([row.scores[name] for name in model.svm.scored])
            if (
                line is not None
                and (np.abs(line - recorded) > _AGREEMENT * np.maximum(1, np.abs(recorded))).any()
            ):
                raise StaleStoreError(
                    f"{model.run.path}: the uncorrupted image {row.id} has the decision value {line[0]:.4f}, and "
                    f"{recorded[0]:.4f} in the run; check that the image files and the weights are those of the run"
                )
