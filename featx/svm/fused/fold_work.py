"""The work on a fold: its inputs, the features that folds share, the search for C and the final fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Fold, class_groups, inner_splits, merged_groups
from featx.features import FeatureStore
from featx.runs import RunRecord
from featx.stats import calibration_warnings
from featx.svm.inner import InnerScores, calibration_summary
from featx.svm.inputs import Images, read_rows
from featx.svm.model import SvmModel
from featx.svm.problems import Decision, Solver, view_rows
from featx.svm.search import Search, search_cost
from featx.svm.settings import SvmSettings
from featx.svm.solvers.solving import make_solver
from featx.svm.svm_records import FoldOutcome

__all__ = [
    "Candidate",
    "FoldJob",
    "Shelf",
    "SvmWork",
    "fit_candidate",
    "fold_outcome",
    "make_shelf",
    "search_record",
    "search_shelf",
    "work_groups",
]


_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SvmWork:
    """Inputs that all folds of an arm share.

    Attributes
    ----------
    images : Images
        Labelled images and their content keys.
    settings : Settings
        Options of the search.
    seed : int
        Random seed of the inner splits.
    workers : int
        Number of threads.
    protocol : tuple of Fold
        All folds of the protocol, including folds that are not run now.
    """

    images: Images
    settings: SvmSettings
    seed: int
    workers: int
    protocol: tuple[Fold, ...]


@dataclass(frozen=True, eq=False)
class Candidate:
    """Features with one scaling, a candidate of the search; each image has `views` rows."""

    store: FeatureStore
    scaling: str
    views: int
    solver: Solver


@dataclass(frozen=True, eq=False)
class Shelf:
    """Data that folds with the same feature stores share: indices of the images, and the candidates."""

    rows: _Ints
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, eq=False)
class FoldJob:
    """One fold to run.

    Attributes
    ----------
    fold : Fold
        Images of the training set and of the test set.
    stores : tuple of FeatureStore
        Feature stores of the fold; several stores are alternatives.
    folder : Path
        Folder of the run.
    record : RunRecord
        Record of the inputs.
    """

    fold: Fold
    stores: tuple[FeatureStore, ...]
    folder: Path
    record: RunRecord


def make_shelf(work: SvmWork, stores: Sequence[FeatureStore], served: Sequence[Fold]) -> Shelf:
    """Read the features that folds with the same feature stores share."""
    place = {name: row for row, name in enumerate(work.images.labelled.ids)}
    rows = np.array(sorted({place[name] for fold in served for name in fold.train}), dtype=np.int64)
    largest = max(len(fold.train) for fold in served)
    return Shelf(rows, tuple(one for store in stores for one in _candidates(work, store, rows, largest)))


def _candidates(work: SvmWork, store: FeatureStore, rows: _Ints, largest: int) -> list[Candidate]:
    features = read_rows(store, work.images, rows, work.settings.views)
    views = features.shape[1]
    flat = features.reshape(-1, features.shape[2])
    return [
        Candidate(store, name, views, make_solver(flat, name, work.settings, work.workers, views * largest))
        for name in work.settings.scaling
    ]


def fit_candidate(taken: Candidate, train: _Ints, positive: npt.NDArray[np.bool_], cost: float) -> Decision:
    """Fit one SVM on the training set."""
    labels = np.repeat(np.where(positive, 1.0, -1.0), taken.views)
    return taken.solver.fit(view_rows(train, taken.views), labels, cost)


def search_shelf(
    work: SvmWork, shelf: Shelf, train: _Ints, targets: npt.NDArray[np.bool_]
) -> tuple[Candidate, Search]:
    """Search with every candidate; choose the first candidate with the highest inner AUC."""
    splits = _splits(work, shelf.rows[train])
    found = [
        search_cost(one.solver, targets, train, splits, work.settings, one.views) for one in shelf.candidates
    ]
    best = int(np.argmax([np.nan_to_num(search.score, nan=-1.0) for search in found]))
    return shelf.candidates[best], found[best]


def _splits(work: SvmWork, images: _Ints) -> list[tuple[_Ints, _Ints]]:
    """Split a training set for the search; no split if every class is one group, as in a subset of one shot."""
    targets, settings = work.images.labelled.targets[images], work.settings
    groups = work_groups(work, images) if settings.inner == "grouped" else None
    if class_groups(targets, np.arange(len(images)) if groups is None else groups).max() < 2:
        return []
    return inner_splits(
        targets, groups, splits=settings.inner_splits, held_out=settings.held_out, seed=work.seed
    )


def work_groups(work: SvmWork, images: _Ints) -> npt.NDArray[np.str_]:
    """Return the group of each image; groups that share byte-identical images are merged."""
    return merged_groups(work.images.labelled.groups[images], [work.images.keys[row] for row in images])


def search_record(taken: Candidate, search: Search, names: Sequence[str]) -> dict[str, Any]:
    """State in JSON types what a search has chosen for the scored classes."""
    return {
        "scaling": taken.scaling,
        "features": taken.store.digest,
        "layer": taken.store.recipe.get("layer"),
        "score": None if np.isnan(search.score) else search.score,
        "classes": search.record(names),
    }


def fold_outcome(
    train: _Ints,
    test: _Ints,
    stated: dict[str, Any],
    found: Sequence[tuple[Candidate, Search]],
    decisions: Sequence[Decision],
    model: SvmModel,
    inner: InnerScores | None,
    warned: Sequence[str],
) -> FoldOutcome:
    """Gather the results of a fold; `found` has a candidate and its search for each member of a fused arm, else one."""
    curves = [one for _, search in found for one in search.curves]
    residuals = [one.residuals[np.isfinite(one.aucs)] for one in curves]
    steps = sum(int(one.iterations.sum()) for one in curves) + sum(one.iterations for one in decisions)
    warnings = tuple(warned)
    if inner is not None:
        stated = {**stated, "inner_folds": inner.folds, "thresholds": inner.thresholds(model.scored)}
        residuals.append(inner.residuals)
        steps += inner.steps
        if model.calibration is not None:
            stated["calibration"] = calibration_summary(model.calibration, model.scored, inner.folds)
            warnings += calibration_warnings(model.calibration)
    return FoldOutcome(
        train,
        test,
        stated,
        found[0][0].solver.measure,
        max(one.solver.tolerance for one, _ in found),
        np.concatenate(residuals),
        np.array([one.residual for one in decisions]),
        steps,
        warnings,
    )
