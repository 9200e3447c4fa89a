"""Training: one SVM run for each fold, chosen and fitted inside the fold's training part."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data.manifest import Manifest, read_manifest
from featx.data.protocols import (
    Fold,
    Folds,
    check_folds,
    inner_splits,
    make_folds,
    merged_groups,
    read_folds,
    write_folds,
)
from featx.data.tasks import Task, apply_task
from featx.digest import canonical, digest
from featx.errors import MissingFeaturesError, ProtocolError, listing
from featx.features.recipe import recipe_key
from featx.features.store import FeatureStore
from featx.progress import Progress, Silent
from featx.runs import Prediction, Run, RunRecord, environment, finished_run, run_folder, versions, write_run
from featx.stats.auc import fold_auc

from .model import SvmModel, model_bytes
from .pooling import pool_groups
from .search import Search, search_cost, view_rows
from .settings import Settings, resolve_settings
from .solve import make_solver
from .solvers import Decision, Solver
from .stores import Images, assign_stores, default_arm, find_images, read_rows, refuse_leaks
from .threads import one_blas_thread

__all__ = ["run_auc", "train_svm"]

_Ints = npt.NDArray[np.int64]
_VERSIONS = ("featx", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True, eq=False)
class _Work:
    """What every fold of an arm has in common."""

    images: Images
    settings: Settings
    seed: int
    workers: int
    protocol: tuple[Fold, ...]  # all folds, run now or not


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
class _Job:
    """One fold to run."""

    fold: Fold
    stores: tuple[FeatureStore, ...]
    folder: Path
    record: RunRecord


def train_svm(
    manifest: Manifest | Path | str,
    *,
    features: Sequence[Path | str],
    task: Task | Path | str = "labels",
    protocol: str | Path = "5x2",
    folds: Sequence[str] = (),
    preset: str = "default",
    choose_features: bool = False,
    arm: str | None = None,
    output: Path | str = "reports/runs",
    cache: Path | str = "cache",
    root: Path | str | None = None,
    seed: int = 0,
    workers: int | None = None,
    missing: str = "fail",
    overwrite: bool = False,
    progress: Progress | None = None,
    **settings: Any,
) -> tuple[Run, ...]:
    """Train and score linear SVMs on stored features, fold by fold.

    C, and the scaling or the features where several are given, are chosen by inner splits of the fold's training
    part; the test part is looked at once, to be scored.

    Parameters
    ----------
    manifest : Manifest, Path or str
        Images and labels.
    features : sequence of Path or str
        Feature stores: one that serves every fold, or one for each fold, extracted with weights that were
        fine-tuned on that fold; with `choose_features` several that serve a fold.
    task : Task, Path or str
        What classes to make of the labels.
    protocol : str or Path
        ``"5x2"``, ``"kfold:K"``, ``"holdout"``, ``"none"`` (train on everything, score nothing), or a fold file.
    folds : sequence of str
        Names of the folds to run; all if empty.
    preset : str
        ``"default"`` or ``"paper"``.
    choose_features : bool
        The stores that serve a fold, such as several layers, are alternatives: the inner splits choose one.
    arm : str, optional
        Name of the arm. Default: backbone and weights of the store.
    output : Path or str
        Where runs are kept; the folds used are written beside them.
    cache : Path or str
        Folder whose table of known files saves hashing images again.
    root : Path or str, optional
        Folder that the manifest's image paths are relative to.
    seed : int
        Seed of folds and inner splits.
    workers : int, optional
        Threads; as many as there are cores if not given. The results do not depend on it.
    missing : str
        ``"fail"``, or ``"leave-out"`` to go on without the images that have no features.
    overwrite : bool
        Replace finished runs and folds of the same place.
    progress : Progress, optional
        Receiver of progress.
    **settings
        Fields of `featx.svm.settings.Settings` that win over the preset, such as ``loss="hinge"``.

    Returns
    -------
    tuple of Run
        One for each fold; finished ones with the same inputs are read, not made again.

    Raises
    ------
    LeakError
        If a test image, its group or a copy of it trains, or trained the weights behind the features.
    MissingFeaturesError
        If images have no features and `missing` is ``"fail"``.
    InputError
        If something else that was given cannot be used.
    TrainingError
        If the training part cannot be fitted.
    """
    receiver = progress or Silent()
    resolved = resolve_settings(preset, **settings)
    labelled = apply_task(read_manifest(manifest, root=root), task)
    stores = tuple(FeatureStore(path) for path in features)
    name = arm or default_arm(stores)
    images = find_images(labelled, stores, cache=cache, workers=workers, missing=missing, progress=receiver)
    made, warnings = _make_folds(images, protocol, seed, Path(output) / name, overwrite)
    chosen = made.select(folds)
    assigned = assign_stores(stores, chosen, choose_features)
    jobs = []
    for fold in chosen.folds:
        serving = assigned[fold.name]
        for store in serving:
            refuse_leaks(store, fold, images)
        folder = run_folder(output, name, labelled.task.name, made.protocol, fold.name)
        record = _record(images, made, fold.name, serving, name, seed, resolved, warnings)
        jobs.append(_Job(_without(fold, images), serving, folder, record))
    protocol_folds = tuple(_without(fold, images) for fold in made.folds)
    work = _Work(images, resolved, seed, workers or len(os.sched_getaffinity(0)), protocol_folds)
    receiver.start(f"train-svm {name}", len(jobs), "folds")
    with one_blas_thread():
        runs = _run_all(work, jobs, overwrite, receiver)
    receiver.finish()
    return runs


def _make_folds(
    images: Images, protocol: str | Path, seed: int, folder: Path, overwrite: bool
) -> tuple[Folds, tuple[str, ...]]:
    """Make the folds and write them beside the runs; folds that stand there must be the same."""
    labelled = images.labelled
    folds = make_folds(labelled, protocol, seed, images.keys)
    warnings = (*folds.notes, *check_folds(folds, labelled, images.keys))
    path = run_folder(folder.parent, folder.name, labelled.task.name, folds.protocol, "folds.json")
    if path.exists() and not overwrite:
        standing = read_folds(path)
        if standing.digest != folds.digest:
            raise ProtocolError(
                f"{path}: runs with other folds stand here (seed {standing.seed}, {len(standing.folds)} folds), from "
                "another manifest or seed; give another --output or --arm, or --overwrite to replace them"
            )
    else:
        write_folds(path, folds)
    return folds, warnings


def _without(fold: Fold, images: Images) -> Fold:
    """Take the images without features out of a fold; every class must stay in the training part."""
    out = frozenset(images.left_out)
    train, test = (tuple(name for name in part if name not in out) for part in (fold.train, fold.test))
    classes = dict(zip(images.labelled.ids, images.labelled.classes.tolist(), strict=True))
    lost = sorted({classes[name] for name in fold.train} - {classes[name] for name in train})
    if lost:
        raise MissingFeaturesError(
            f"fold {fold.name}: no training image of {listing(lost)} has features; extract them first"
        )
    return Fold(fold.name, train, test)


def _record(
    images: Images,
    folds: Folds,
    fold: str,
    stores: tuple[FeatureStore, ...],
    arm: str,
    seed: int,
    settings: Settings,
    warnings: tuple[str, ...],
) -> RunRecord:
    """Write down what decides a run."""
    task = images.labelled.task
    manifest = images.labelled.manifest
    stated = {**canonical(settings), "left_out": digest(images.left_out) if images.left_out else ""}
    left_out = (
        (f"{len(images.left_out)} images have no features and were left out",) if images.left_out else ()
    )
    return RunRecord(
        kind="svm",
        arm=arm,
        task=task.name,
        classes=task.classes,
        scored=task.scored,
        protocol=folds.protocol,
        fold=fold,
        folds_digest=folds.digest,
        seed=seed,
        manifest={"name": manifest.name, "digest": manifest.digest},
        features=_features(stores),
        settings=stated,
        lineage=tuple(stores[0].recipe.get("lineage") or ()),
        versions=versions(_VERSIONS),
        warnings=(*(line for line in warnings if _concerns(line, fold)), *left_out),
    )


def _features(stores: tuple[FeatureStore, ...]) -> dict[str, Any]:
    """State the features; of alternatives what they have in common, and each of them."""
    recipes = [recipe_key(store.recipe) for store in stores]
    if len(stores) == 1:
        return {"digest": stores[0].digest, "recipe": recipes[0], **_network_cost(stores[0])}
    common = {
        name: value
        for name, value in recipes[0].items()
        if all(other.get(name) == value for other in recipes)
    }
    alternatives = [
        {"digest": store.digest, "recipe": one, **_network_cost(store)}
        for store, one in zip(stores, recipes, strict=True)
    ]
    return {
        "digest": digest([store.digest for store in stores]),
        "recipe": common,
        "alternatives": alternatives,
    }


def _network_cost(store: FeatureStore) -> dict[str, Any]:
    cost = store.cost
    return {"cost": {name: cost[name] for name in ("parameters", "multiply_adds")}} if cost else {}


def _speeds(stores: tuple[FeatureStore, ...]) -> dict[str, Any]:
    """State how fast the features were extracted, which differs from time to time; by the stores' digests."""
    named = ("images_per_second", "device", "engine", "networks")
    costs = {store.digest: store.cost for store in stores}
    return {key: {name: cost[name] for name in named} for key, cost in costs.items() if cost}


def _concerns(warning: str, fold: str) -> bool:
    """Tell whether a warning about the folds is about this one, or about all."""
    return not warning.startswith("fold ") or warning.startswith((f"fold {fold} ", f"fold {fold}:"))


def _run_all(work: _Work, jobs: Sequence[_Job], overwrite: bool, progress: Progress) -> tuple[Run, ...]:
    finished = {job.fold.name: finished_run(job.folder, job.record, overwrite) for job in jobs}
    runs = {name: run for name, run in finished.items() if run is not None}
    for name, run in runs.items():
        progress.say(f"fold {name}: {_auc_text(run)}, finished before")
        progress.advance()
    waiting: dict[tuple[Path, ...], list[_Job]] = {}
    for job in jobs:
        if job.fold.name not in runs:
            waiting.setdefault(tuple(store.path for store in job.stores), []).append(job)
    for todo in waiting.values():
        for job, run in zip(todo, _run_together(work, todo, progress), strict=True):
            runs[job.fold.name] = run
    return tuple(runs[job.fold.name] for job in jobs)


def _run_together(work: _Work, jobs: Sequence[_Job], progress: Progress) -> list[Run]:
    """Run the folds that the same stores serve, on all rows that train in any of them.

    Whichever of the folds are run now, the rows are the same: sums of other blocks of rows would round otherwise.
    """
    begun = time.perf_counter()
    stores = jobs[0].stores
    place = {name: row for row, name in enumerate(work.images.labelled.ids)}
    tuned = any((store.recipe.get("trained_on") or {}).get("fold") for store in stores) and len(jobs) == 1
    served = tuple(job.fold for job in jobs) if tuned else work.protocol
    rows = np.array(sorted({place[name] for fold in served for name in fold.train}), dtype=np.int64)
    largest = max(len(fold.train) for fold in served)
    shelf = _Shelf(rows, tuple(one for store in stores for one in _candidates(work, store, rows, largest)))
    shared = time.perf_counter() - begun
    runs = []
    for job in jobs:
        run = _run_fold(work, job, shelf, shared / len(jobs))
        progress.say(f"fold {job.fold.name}: {_auc_text(run)}, C {_costs_text(run)}")
        progress.advance()
        runs.append(run)
    return runs


def _candidates(work: _Work, store: FeatureStore, rows: _Ints, largest: int) -> list[_Candidate]:
    features = read_rows(store, work.images, rows, work.settings.views)
    views = features.shape[1]
    flat = features.reshape(-1, features.shape[2])
    return [
        _Candidate(store, name, views, make_solver(flat, name, work.settings, work.workers, views * largest))
        for name in work.settings.scaling
    ]


def _run_fold(work: _Work, job: _Job, shelf: _Shelf, shared_seconds: float) -> Run:
    labelled = work.images.labelled
    place = {name: row for row, name in enumerate(labelled.ids)}
    train = np.searchsorted(shelf.rows, np.array([place[name] for name in sorted(job.fold.train)]))
    test = np.array([place[name] for name in sorted(job.fold.test)], dtype=np.int64)
    classes = [labelled.task.classes.index(name) for name in labelled.task.scored]
    targets = labelled.targets[shelf.rows][:, None] == np.array(classes)
    begun = time.perf_counter()
    taken, search = _search(work, shelf, train, targets)
    searched = time.perf_counter()
    decisions = tuple(
        _fit(taken, train, targets[train, column], cost) for column, cost in enumerate(search.costs)
    )
    task, settings = labelled.task, work.settings
    model = SvmModel(taken.store.digest, task.classes, task.scored, decisions, settings.views, settings.pool)
    fitted = time.perf_counter()
    predictions = _predict(work, job.fold.name, taken.store, model, test)
    record = _with_results(job.record, work, shelf.rows[train], test, search, taken, model)
    seconds = {
        "features": shared_seconds,
        "search": searched - begun,
        "fit": fitted - searched,
        "score": time.perf_counter() - fitted,
    }
    facts = environment(seconds, workers=work.workers, extraction=_speeds(job.stores))
    return write_run(job.folder, record, predictions, facts, {"model.skops": model_bytes(model)})


def _fit(taken: _Candidate, train: _Ints, positive: npt.NDArray[np.bool_], cost: float) -> Decision:
    labels = np.repeat(np.where(positive, 1.0, -1.0), taken.views)
    return taken.solver.fit(view_rows(train, taken.views), labels, cost)


def _search(
    work: _Work, shelf: _Shelf, train: _Ints, targets: npt.NDArray[np.bool_]
) -> tuple[_Candidate, Search]:
    """Search with every candidate; the first of those with the highest mean AUC is taken."""
    labelled, here = work.images.labelled, shelf.rows[train]
    groups = None
    if work.settings.inner == "grouped":
        groups = merged_groups(labelled.groups[here], [work.images.keys[row] for row in here])
    splits = inner_splits(
        labelled.targets[here],
        groups,
        splits=work.settings.inner_splits,
        held_out=work.settings.held_out,
        seed=work.seed,
    )
    found = [
        search_cost(one.solver, targets, train, splits, work.settings, one.views) for one in shelf.candidates
    ]
    best = int(np.argmax([np.nan_to_num(search.score, nan=-1.0) for search in found]))
    return shelf.candidates[best], found[best]


def _predict(work: _Work, fold: str, store: FeatureStore, model: SvmModel, test: _Ints) -> list[Prediction]:
    labelled = work.images.labelled
    if not len(test):
        return []
    scores = model.scores(read_rows(store, work.images, test, work.settings.views), store.digest)
    predictions = [
        Prediction(
            id=labelled.ids[row],
            fold=fold,
            group=str(labelled.groups[row]),
            actual=str(labelled.classes[row]),
            scores=dict(zip(model.scored, line.tolist(), strict=True)),
            strata={name: values[row] for name, values in labelled.strata.items()},
        )
        for row, line in zip(test, scores, strict=True)
    ]
    pool = work.settings.group_scores
    return predictions if pool == "none" else pool_groups(predictions, pool, labelled.task.positive)


def _with_results(
    record: RunRecord,
    work: _Work,
    train: _Ints,
    test: _Ints,
    search: Search,
    taken: _Candidate,
    model: SvmModel,
) -> RunRecord:
    """Add what came out to what went in."""
    labelled = work.images.labelled
    counts = {
        part: dict(sorted(Counter(labelled.classes[rows].tolist()).items()))
        for part, rows in (("train", train), ("test", test))
    }
    groups = {
        part: len(set(labelled.groups[rows].tolist())) for part, rows in (("train", train), ("test", test))
    }
    convergence = _convergence(search, taken.solver, model)
    warnings = (*record.warnings, *search.warnings)
    if convergence["not_converged"]:
        warnings += (f"{convergence['not_converged']} of {convergence['fits']} fits did not converge",)
    return dataclasses.replace(
        record,
        counts={
            **counts,
            "groups": groups,
            "left_out": len(work.images.left_out),
            "excluded": labelled.left_out,
        },
        search={
            "scaling": taken.scaling,
            "features": taken.store.digest,
            "layer": taken.store.recipe.get("layer"),
            "score": None if np.isnan(search.score) else search.score,
            "classes": search.record(model.scored),
        },
        convergence=convergence,
        warnings=warnings,
    )


def _convergence(search: Search, solver: Solver, model: SvmModel) -> dict[str, Any]:
    """Count the fits, inner and final, whose residual is above the solver's tolerance."""
    inner = np.concatenate([curves.residuals[np.isfinite(curves.aucs)] for curves in search.curves])
    final = np.array([one.residual for one in model.decisions])
    residuals = np.concatenate([inner, final])
    steps = sum(int(curves.iterations.sum()) for curves in search.curves)
    return {
        "measure": solver.measure,
        "tolerance": solver.tolerance,
        "fits": len(residuals),
        "not_converged": int((~(residuals <= solver.tolerance)).sum()),
        "worst_residual": float(residuals.max()),
        "final_residuals": final.tolist(),
        "steps": steps + sum(one.iterations for one in model.decisions),
    }


def run_auc(run: Run) -> float:
    """Area under the ROC curve of a run's test part.

    Parameters
    ----------
    run : Run
        A finished run with scores.

    Returns
    -------
    float
        In a task of several classes the mean over the classes; NaN without test images or with one class.
    """
    scored = run.record.scored
    if not run.predictions:
        return float("nan")
    targets = np.array([run.record.classes.index(row.actual) for row in run.predictions])
    scores = np.array([[row.scores[name] for name in scored] for row in run.predictions])
    return fold_auc(targets, scores[:, 0] if len(scored) == 1 else scores)


def _auc_text(run: Run) -> str:
    return f"AUC {run_auc(run):.4f}" if run.predictions else "no test images"


def _costs_text(run: Run) -> str:
    return ", ".join(f"{one['C']:g}" for one in run.record.search["classes"].values())
