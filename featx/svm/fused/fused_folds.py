"""Folds of fused arms: an SVM for each member, and the fusion of their scores, fitted inside the training set only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Fold
from featx.errors import TrainingError
from featx.runs import Prediction
from featx.svm.fused.fold_work import (
    Candidate,
    Shelf,
    SvmWork,
    fit_candidate,
    fold_outcome,
    make_shelf,
    search_record,
    search_shelf,
    work_groups,
)
from featx.svm.fused.fusion import fit_fusion
from featx.svm.fused.joined_store import JoinedStore
from featx.svm.inner import InnerScores, fit_on_inner, inner_parts, score_parts
from featx.svm.model import FusedModel, Fusion, SvmModel
from featx.svm.search import Search
from featx.svm.svm_predictions import inner_predictions
from featx.svm.svm_records import FoldOutcome

__all__ = ["FusedShelf", "fit_fused", "make_fused_shelf"]

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
_Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class FusedShelf:
    """Data that folds with the same members share: indices of the images, the members' features, and their store."""

    rows: _Ints
    members: tuple[Shelf, ...]
    store: JoinedStore


@dataclass(frozen=True, eq=False)
class _FittedMember:
    """The search of a member, its SVM, and its inner out-of-fold scores of shape (images, classes)."""

    taken: Candidate
    search: Search
    model: SvmModel
    inner: InnerScores
    scores: _Floats


def make_fused_shelf(work: SvmWork, store: JoinedStore, served: Sequence[Fold]) -> FusedShelf:
    """Read the features of every member that folds share."""
    members = tuple(make_shelf(work, (one,), served) for one in store.members)
    return FusedShelf(members[0].rows, members, store)


def fit_fused(
    work: SvmWork, shelf: FusedShelf, train: _Ints, test: _Ints, targets: _Bools, clock: list[float]
) -> tuple[JoinedStore, FusedModel, InnerScores, FoldOutcome]:
    """Fit the members and their fusion on the training set of a fold.

    Parameters
    ----------
    work : SvmWork
        What all folds share.
    shelf : FusedShelf
        Features of the members.
    train, test : ndarray of int64
        Places of the training set in ``shelf.rows``, and indices of the images of the test set, which are only noted.
    targets : ndarray of bool, shape (rows of the shelf, classes)
        Whether each image belongs to each scored class.
    clock : list of float
        Times; that after the searches is added.

    Raises
    ------
    TrainingError
        If the training set has too few groups for inner out-of-fold scores, which the fusion is fitted on.
    """
    images = shelf.rows[train]
    try:
        parts = inner_parts(work_groups(work, images), work.images.labelled.targets[images], work.seed)
    except TrainingError as error:
        raise TrainingError(f"fusion is not possible: {error}, or fuse with --fuse concat") from error
    found = [search_shelf(work, one, train, targets) for one in shelf.members]
    clock.append(time.perf_counter())
    members = [_fitted(work, *one, train, targets, parts) for one in found]
    scores = np.stack([one.scores for one in members])
    fusion, held_out = fit_fusion(
        shelf.store.method, scores, targets[train], parts, work.settings.class_weight
    )
    inner = _fused_inner(work, members, images, parts, held_out)
    model = _fused_model(work, shelf.store, members, fusion, inner)
    return shelf.store, model, inner, _outcome(images, test, shelf.store, members, model, inner)


def _fitted(
    work: SvmWork, taken: Candidate, search: Search, train: _Ints, targets: _Bools, parts: _Ints
) -> _FittedMember:
    settings, task, kept = work.settings, work.images.labelled.task, []

    def keep(_: _Ints, scores: _Floats) -> list[Prediction]:
        kept.append(scores)
        return []

    inner = score_parts(
        taken.solver,
        train,
        targets,
        search.costs,
        parts,
        views=taken.views,
        pool=settings.pool,
        predictions=keep,
    )
    decisions = tuple(
        fit_candidate(taken, train, targets[train, column], cost) for column, cost in enumerate(search.costs)
    )
    model = SvmModel(taken.store.digest, task.classes, task.scored, decisions, settings.views, settings.pool)
    return _FittedMember(taken, search, model, inner, kept[0])


def _fused_inner(
    work: SvmWork, members: Sequence[_FittedMember], images: _Ints, parts: _Ints, scores: _Floats
) -> InnerScores:
    """Give the fused out-of-fold scores of the training set, for thresholds and calibration."""
    return InnerScores(
        tuple(inner_predictions(work.images.labelled, work.settings, images, parts, scores)),
        members[0].inner.folds,
        np.concatenate([one.inner.residuals for one in members]),
        sum(one.inner.steps for one in members),
    )


def _fused_model(
    work: SvmWork,
    store: JoinedStore,
    members: Sequence[_FittedMember],
    fusion: Fusion,
    inner: InnerScores,
) -> FusedModel:
    task, method = work.images.labelled.task, work.settings.calibrate
    return FusedModel(
        recipe_digest=store.digest,
        classes=task.classes,
        scored=task.scored,
        decisions=(),
        views=work.settings.views,
        pool=work.settings.pool,
        calibration=None if method == "none" else fit_on_inner(inner, task, method),
        members=tuple(one.model for one in members),
        widths=store.widths,
        fusion=fusion,
    )


def _outcome(
    train: _Ints,
    test: _Ints,
    store: JoinedStore,
    members: Sequence[_FittedMember],
    model: FusedModel,
    inner: InnerScores,
) -> FoldOutcome:
    names, fusion = model.scored, model.fusion
    stated: dict[str, Any] = {
        "fuse": store.method,
        "features": store.digest,
        "layer": None,
        "members": {
            name: search_record(one.taken, one.search, names)
            for name, one in zip(store.names, members, strict=True)
        },
        "fusion": {
            "mean": fusion.centers.tolist(),
            "sd": fusion.scales.tolist(),
            "weights": fusion.weights.tolist(),
            "intercepts": fusion.intercepts.tolist(),
        },
    }
    warned = [
        f"{name}: {line}"
        for name, one in zip(store.names, members, strict=True)
        for line in one.search.warnings
    ]
    decisions = [one for member in model.members for one in member.decisions]
    found = [(one.taken, one.search) for one in members]
    return fold_outcome(train, test, stated, found, decisions, model, inner, warned)
