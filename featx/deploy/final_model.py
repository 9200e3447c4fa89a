"""The verb `finalize`: one SVM of all images of a task, with the AUC that cross-validation lets one expect."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featx.data import Manifest
from featx.deploy.finalize_settings import FinalizeSettings
from featx.deploy.run_model import RunModel, arm_settings, read_models
from featx.digest import differing
from featx.errors import RunError, listing
from featx.options import verb
from featx.reporting import collect, main_class, measure
from featx.runs import FINAL, Run, RunRecord, write_again
from featx.svm import TrainSvmSettings, train_runs

__all__ = ["finalize"]


@verb(FinalizeSettings)
def finalize(manifest: Manifest | Path | str, options: FinalizeSettings) -> Run:
    """Train one SVM on all images of a task, to be used on new images.

    It is trained as a fold of `train_svm` is, the training set being all images: C is chosen by inner cross-validation,
    and thresholds and calibration are determined on inner out-of-fold scores, with groups kept together. There is no test
    set, so that the SVM has no AUC of its own.

    Parameters
    ----------
    manifest : Manifest, Path or str
        Images and labels.
    {options}

    Returns
    -------
    Run
        The run, of the protocol ``final`` and the fold ``all``, which `featx.predict` takes. With `runs`, the AUC of
        their folds is in ``record.search["expected"]``: ``auc``, ``sd``, ``folds`` and ``protocol``.

    Raises
    ------
    RunError
        If `runs` are not folds of the same arm, task, images, recipe and settings, or a final model of other inputs
        exists.
    MissingFeaturesError
        If images have no features and `missing` is ``"fail"``.
    InputError
        If another input cannot be used.
    TrainingError
        If the SVM cannot be fitted.

    Examples
    --------
    ::

        featx.train_svm("lesions.csv", arm="frozen", task="melanoma:rest", calibrate="sigmoid")
        final = featx.finalize(
            "lesions.csv", arm="frozen", task="melanoma:rest", calibrate="sigmoid",
            runs="reports/runs/frozen/melanoma-rest/5x2",
        )
        featx.predict(final.path, images="new_images")
    """
    folds = read_models(options.folders, without_final=True) if options.folders else ()
    expected = _expected(folds) if folds else None

    def check(record: RunRecord) -> None:
        if folds:
            _refuse_others(folds[0], record)

    given = {name: value for name, value in vars(options).items() if name != "runs"}
    (run,) = train_runs(manifest, TrainSvmSettings(**given, protocol=FINAL), check)
    if expected is None or run.record.search.get("expected") == expected:
        return run
    return write_again(
        run, dataclasses.replace(run.record, search={**run.record.search, "expected": expected})
    )


def _refuse_others(fold: RunModel, record: RunRecord) -> None:
    lines = differing(arm_settings(record), arm_settings(fold.run.record))
    if lines:
        raise RunError(
            f"{fold.run.path}: this run is not of the arm and settings of the final model ({listing(lines, 3)}); give the "
            "runs of the same arm, task and settings, or leave --runs out"
        )


def _expected(folds: Sequence[RunModel]) -> dict[str, Any]:
    """Measure the AUC of the folds as reports do."""
    (series,), _ = collect(model.run.path for model in folds)
    spread = measure(series, main_class(series)).spread
    return {
        "auc": _number(spread.mean),
        "sd": _number(spread.sd),
        "folds": len(folds),
        "protocol": series.protocol,
        "pooled": series.pooled,
    }


def _number(value: float) -> float | None:
    return value if value == value else None
