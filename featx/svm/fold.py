"""One fold: the search inside its training part, the fit, inner scores, calibration, the scores of its test part."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.data import Fold, inner_splits, merged_groups
from featx.errors import TrainingError
from featx.features import FeatureStore
from featx.runs import Prediction, Run, RunRecord, environment, write_run
from featx.stats import Calibration, calibration_warnings

from .calibrating import calibration_summary, fit_on_inner
from .inner import InnerScores, inner_parts, score_parts
from .model import MODEL, SvmModel, model_bytes
from .pooling import pool_groups
from .problems import Decision, Solver
from .records import FoldOutcome, extraction_speeds, with_outcome
from .search import Search, search_cost, view_rows
from .settings import SvmSettings
from .solve import make_solver
from .stores import Images, read_rows

__all__ = ["FoldJob", "SvmWork", "make_shelf", "run_fold"]

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SvmWork:
    """What every fold of an arm has in common.

    Attributes
    ----------
    images : Images
        Labelled images and their keys.
    settings : Settings
        The search's.
    seed : int
        Seed of inner splits.
    workers : int
        Threads.
    protocol : tuple of Fold
        All folds, run now or not.
    """

    images: Images
    settings: SvmSettings
    seed: int
    workers: int
    protocol: tuple[Fold, ...]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Features under one scaling, which the search may choose; each image has `views` rows."""

    store: FeatureStore
    scaling: str
    views: int
    solver: Solver


@dataclass(frozen=True, eq=False)
class _Shelf:
    """What the folds of the same stores share: numbers of the images in it, and the candidates."""

    rows: _Ints
    candidates: tuple[_Candidate, ...]


@dataclass(frozen=True, eq=False)
class FoldJob:
    """One fold to run.

    Attributes
    ----------
    fold : Fold
        Its images.
    stores : tuple of FeatureStore
        Features that serve it: alternatives, where there are several.
    folder : Path
        Where the run goes.
    record : RunRecord
        What decides it.
    """

    fold: Fold
    stores: tuple[FeatureStore, ...]
    folder: Path
    record: RunRecord


def make_shelf(work: SvmWork, stores: Sequence[FeatureStore], served: Sequence[Fold]) -> _Shelf:
    """Read what the folds of the same stores share.

    Parameters
    ----------
    work : Work
        What all folds have in common.
    stores : sequence of FeatureStore
        Features that serve these folds.
    served : sequence of Fold
        All folds that they serve, run now or not: sums of other blocks of rows would round otherwise.

    Returns
    -------
    _Shelf
        For `run_fold`.
    """
    place = {name: row for row, name in enumerate(work.images.labelled.ids)}
    rows = np.array(sorted({place[name] for fold in served for name in fold.train}), dtype=np.int64)
    largest = max(len(fold.train) for fold in served)
    return _Shelf(rows, tuple(one for store in stores for one in _candidates(work, store, rows, largest)))


def _candidates(work: SvmWork, store: FeatureStore, rows: _Ints, largest: int) -> list[_Candidate]:
    features = read_rows(store, work.images, rows, work.settings.views)
    views = features.shape[1]
    flat = features.reshape(-1, features.shape[2])
    return [
        _Candidate(store, name, views, make_solver(flat, name, work.settings, work.workers, views * largest))
        for name in work.settings.scaling
    ]


def run_fold(work: SvmWork, job: FoldJob, shelf: _Shelf, shared_seconds: float) -> Run:
    """Search, fit, calibrate, score, and write the run.

    Parameters
    ----------
    work : Work
        What all folds have in common.
    job : FoldJob
        The fold.
    shelf : _Shelf
        From `make_shelf`.
    shared_seconds : float
        This fold's part of the time that took.

    Returns
    -------
    Run
        As written.
    """
    labelled = work.images.labelled
    place = {name: row for row, name in enumerate(labelled.ids)}
    train = np.searchsorted(shelf.rows, np.array([place[name] for name in sorted(job.fold.train)]))
    test = np.array([place[name] for name in sorted(job.fold.test)], dtype=np.int64)
    classes = [labelled.task.classes.index(name) for name in labelled.task.scored]
    targets = labelled.targets[shelf.rows][:, None] == np.array(classes)
    clock = [time.perf_counter()]
    taken, search = _search(work, shelf, train, targets)
    clock.append(time.perf_counter())
    decisions = tuple(
        _fit(taken, train, targets[train, column], cost) for column, cost in enumerate(search.costs)
    )
    inner, warned = _inner(work, shelf, taken, train, targets, search.costs)
    model = _model(work, taken, decisions, _calibration(work, inner))
    clock.append(time.perf_counter())
    predictions = _predict(work, job.fold.name, taken.store, model, test)
    found = _outcome(shelf.rows[train], test, search, taken, model, inner, warned)
    record = with_outcome(job.record, work.images, found)
    clock.append(time.perf_counter())
    seconds = {
        "features": shared_seconds,
        **dict(zip(("search", "fit", "score"), np.diff(clock), strict=True)),
    }
    facts = environment(
        {name: float(value) for name, value in seconds.items()},
        workers=work.workers,
        extraction=extraction_speeds(job.stores),
    )
    files = {MODEL: model_bytes(model)}
    return write_run(job.folder, record, predictions, facts, files, inner.rows if inner else ())


def _model(
    work: SvmWork, taken: _Candidate, decisions: tuple[Decision, ...], calibration: Calibration | None
) -> SvmModel:
    task, settings = work.images.labelled.task, work.settings
    return SvmModel(
        taken.store.digest, task.classes, task.scored, decisions, settings.views, settings.pool, calibration
    )


def _fit(taken: _Candidate, train: _Ints, positive: npt.NDArray[np.bool_], cost: float) -> Decision:
    labels = np.repeat(np.where(positive, 1.0, -1.0), taken.views)
    return taken.solver.fit(view_rows(train, taken.views), labels, cost)


def _search(
    work: SvmWork, shelf: _Shelf, train: _Ints, targets: npt.NDArray[np.bool_]
) -> tuple[_Candidate, Search]:
    """Search with every candidate; the first of those with the highest mean AUC is taken."""
    splits = inner_splits(
        work.images.labelled.targets[shelf.rows[train]],
        _groups(work, shelf.rows[train]) if work.settings.inner == "grouped" else None,
        splits=work.settings.inner_splits,
        held_out=work.settings.held_out,
        seed=work.seed,
    )
    found = [
        search_cost(one.solver, targets, train, splits, work.settings, one.views) for one in shelf.candidates
    ]
    best = int(np.argmax([np.nan_to_num(search.score, nan=-1.0) for search in found]))
    return shelf.candidates[best], found[best]


def _groups(work: SvmWork, images: _Ints) -> npt.NDArray[np.str_]:
    """Name the groups of images, those joined by byte-identical copies alike."""
    return merged_groups(work.images.labelled.groups[images], [work.images.keys[row] for row in images])


def _inner(
    work: SvmWork,
    shelf: _Shelf,
    taken: _Candidate,
    train: _Ints,
    targets: npt.NDArray[np.bool_],
    costs: tuple[float, ...],
) -> tuple[InnerScores | None, tuple[str, ...]]:
    """Score the training part by inner folds; where that cannot be, say why, and refuse if it was asked for."""
    images = shelf.rows[train]

    def predictions(parts: _Ints, scores: npt.NDArray[np.float64]) -> list[Prediction]:
        rows = _predictions(work, "", images, scores)
        return _pooled(
            work,
            [
                dataclasses.replace(row, fold=str(part), strata={})
                for row, part in zip(rows, parts, strict=True)
            ],
        )

    try:
        parts = inner_parts(_groups(work, images), work.images.labelled.targets[images], work.seed)
    except TrainingError as error:
        if work.settings.calibrate != "none":
            raise TrainingError(
                f"a calibration is not possible: {error}. Train without --calibrate"
            ) from error
        return None, (f"no thresholds are fixed on the training part: {error}",)
    views, pool = taken.views, work.settings.pool
    return score_parts(
        taken.solver, train, targets, costs, parts, views=views, pool=pool, predictions=predictions
    ), ()


def _calibration(work: SvmWork, inner: InnerScores | None) -> Calibration | None:
    if inner is None or work.settings.calibrate == "none":
        return None
    return fit_on_inner(inner, work.images.labelled.task, work.settings.calibrate)


def _predict(work: SvmWork, fold: str, store: FeatureStore, model: SvmModel, test: _Ints) -> list[Prediction]:
    if not len(test):
        return []
    scores = model.scores(read_rows(store, work.images, test, work.settings.views), store.digest)
    predictions = _pooled(work, _predictions(work, fold, test, scores))
    if model.calibration is None:
        return predictions
    pooled = np.array([[row.scores[name] for name in model.scored] for row in predictions])
    chances = model.probabilities(pooled)
    return [
        dataclasses.replace(row, probabilities=dict(zip(model.scored, line.tolist(), strict=True)))
        for row, line in zip(predictions, chances, strict=True)
    ]


def _predictions(
    work: SvmWork, fold: str, images: _Ints, scores: npt.NDArray[np.float64]
) -> list[Prediction]:
    labelled = work.images.labelled
    return [
        Prediction(
            id=labelled.ids[row],
            fold=fold,
            group=str(labelled.groups[row]),
            actual=str(labelled.classes[row]),
            scores=dict(zip(labelled.task.scored, line.tolist(), strict=True)),
            strata={name: values[row] for name, values in labelled.strata.items()},
        )
        for row, line in zip(images, scores, strict=True)
    ]


def _pooled(work: SvmWork, predictions: list[Prediction]) -> list[Prediction]:
    pool = work.settings.group_scores
    positive = work.images.labelled.task.positive
    return predictions if pool == "none" else pool_groups(predictions, pool, positive)


def _outcome(
    train: _Ints,
    test: _Ints,
    search: Search,
    taken: _Candidate,
    model: SvmModel,
    inner: InnerScores | None,
    warned: tuple[str, ...],
) -> FoldOutcome:
    residuals = [curves.residuals[np.isfinite(curves.aucs)] for curves in search.curves]
    steps = sum(int(curves.iterations.sum()) for curves in search.curves)
    stated = {
        "scaling": taken.scaling,
        "features": taken.store.digest,
        "layer": taken.store.recipe.get("layer"),
        "score": None if np.isnan(search.score) else search.score,
        "classes": search.record(model.scored),
    }
    if inner is not None:
        stated |= {"inner_folds": inner.folds, "thresholds": inner.thresholds(model.scored)}
        residuals.append(inner.residuals)
        steps += inner.steps
        if model.calibration is not None:
            stated["calibration"] = calibration_summary(model.calibration, model.scored, inner.folds)
            warned += calibration_warnings(model.calibration)
    return FoldOutcome(
        train,
        test,
        stated,
        taken.solver.measure,
        taken.solver.tolerance,
        np.concatenate(residuals),
        np.array([one.residual for one in model.decisions]),
        steps + sum(one.iterations for one in model.decisions),
        (*search.warnings, *warned),
    )
