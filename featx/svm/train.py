"""Training: one SVM run for each fold, chosen and fitted inside the fold's training part."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featx.data import (
    Fold,
    Folds,
    Labelled,
    Manifest,
    Task,
    apply_task,
    check_folds,
    check_inner,
    make_folds,
    read_manifest,
    refuse_other_folds,
    write_folds,
)
from featx.errors import MissingFeaturesError, listing
from featx.features import FeatureStore
from featx.limits import usable_cores
from featx.progress import Progress, Silent
from featx.runs import Run, finished_run, run_folder

from .fold import FoldJob, SvmWork, make_shelf, run_fold
from .records import record_of_inputs, run_auc
from .settings import SvmSettings, resolve_settings
from .stores import Images, assign_stores, default_arm, find_images, refuse_leaks
from .threads import one_blas_thread

__all__ = ["check_inner_folds", "run_auc", "train_svm"]


def train_svm(
    manifest: Manifest | Path | str,
    *,
    features: Sequence[Path | str],
    task: Task | Path | str = "labels",
    strict_labels: bool = False,
    protocol: str | Path = "5x2",
    folds: Sequence[str] = (),
    preset: str = "default",
    choose_features: bool = False,
    arm: str | None = None,
    output: Path | str = "reports/runs",
    cache: Path | str = "cache",
    root: Path | str | None = None,
    allow_outside: bool = False,
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
    strict_labels : bool
        Refuse labels that may be meant for another class than the one that holds all others.
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
    allow_outside : bool
        Whether image paths may lead out of it.
    seed : int
        Seed of folds and inner splits.
    workers : int, optional
        Threads; one for each core that this process may use if not given. The results do not depend on it.
    missing : str
        ``"fail"``, or ``"leave-out"`` to go on without the images that have no features.
    overwrite : bool
        Replace finished runs and folds of the same place.
    progress : Progress, optional
        Receiver of progress.
    **settings
        Fields of `featx.svm.settings.SvmSettings` that win over the preset, such as ``loss="hinge"``.

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
    labelled = apply_task(
        read_manifest(manifest, root=root, allow_outside=allow_outside), task, strict_labels=strict_labels
    )
    stores = tuple(FeatureStore(path) for path in features)
    name = arm or default_arm(stores)
    images = find_images(labelled, stores, cache=cache, workers=workers, missing=missing, progress=receiver)
    made, warnings = _make_folds(images, protocol, seed)
    place = run_folder(output, name, labelled.task.name, made.protocol, "folds.json")
    if not overwrite:
        refuse_other_folds(place, made)
    for line in warnings:
        receiver.say(f"warning: {line}")
    chosen = made.select(folds)
    assigned = assign_stores(stores, chosen, choose_features)
    jobs = []
    for fold in chosen.folds:
        serving = assigned[fold.name]
        for store in serving:
            refuse_leaks(store, fold, images)
        folder = run_folder(output, name, labelled.task.name, made.protocol, fold.name)
        told = dict.fromkeys(text for store in serving for text in store.recipe.get("warnings") or ())
        noted = (*warnings, *told)
        record = record_of_inputs(images, made, fold.name, serving, name, seed, resolved, noted)
        jobs.append(FoldJob(_without(fold, images), serving, folder, record))
    protocol_folds = tuple(_without(fold, images) for fold in made.folds)
    check_inner_folds(protocol_folds, labelled, images.keys, resolved)
    if overwrite or not place.exists():
        write_folds(place, made)
    work = SvmWork(images, resolved, seed, workers or usable_cores(), protocol_folds)
    receiver.start(f"train-svm {name}", len(jobs), "folds")
    with one_blas_thread():
        runs = _run_all(work, jobs, overwrite, receiver)
    receiver.finish()
    return runs


def _make_folds(images: Images, protocol: str | Path, seed: int) -> tuple[Folds, tuple[str, ...]]:
    """Make the folds, and say what a reader of the results has to know of data set and folds."""
    labelled = images.labelled
    folds = make_folds(labelled, protocol, seed, images.keys)
    return folds, (*labelled.remarks, *check_folds(folds, labelled, images.keys))


def check_inner_folds(
    folds: Sequence[Fold], labelled: Labelled, keys: Sequence[str], settings: SvmSettings
) -> None:
    """Check that the training set of every fold, run now or not, can be split again as the settings need it.

    Parameters
    ----------
    folds : sequence of Fold
        All folds of the protocol.
    labelled : Labelled
        The data set under its task.
    keys : sequence of str
        SHA-256 of each image's bytes, in the order of ``labelled.ids``.
    settings : Settings
        The search's.

    Raises
    ------
    ProtocolError
        As `featx.data.protocols.check_inner`.
    """
    check_inner(folds, labelled, keys, grouped=settings.inner == "grouped")
    if settings.calibrate != "none":
        check_inner(folds, labelled, keys, every_class=True)


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


def _run_all(work: SvmWork, jobs: Sequence[FoldJob], overwrite: bool, progress: Progress) -> tuple[Run, ...]:
    finished = {job.fold.name: finished_run(job.folder, job.record, overwrite) for job in jobs}
    runs = {name: run for name, run in finished.items() if run is not None}
    for name, run in runs.items():
        progress.say(f"fold {name}: {_auc_text(run)}, finished before")
        progress.advance()
    waiting: dict[tuple[Path, ...], list[FoldJob]] = {}
    for job in jobs:
        if job.fold.name not in runs:
            waiting.setdefault(tuple(store.path for store in job.stores), []).append(job)
    for todo in waiting.values():
        for job, run in zip(todo, _run_together(work, todo, progress), strict=True):
            runs[job.fold.name] = run
    return tuple(runs[job.fold.name] for job in jobs)


def _run_together(work: SvmWork, jobs: Sequence[FoldJob], progress: Progress) -> list[Run]:
    """Run the folds that the same stores serve, on all rows that train in any of them.

    Whichever of the folds are run now, the rows are the same: sums of other blocks of rows would round otherwise.
    """
    begun = time.perf_counter()
    stores = jobs[0].stores
    tuned = any((store.recipe.get("trained_on") or {}).get("fold") for store in stores) and len(jobs) == 1
    shelf = make_shelf(work, stores, tuple(job.fold for job in jobs) if tuned else work.protocol)
    shared = time.perf_counter() - begun
    runs = []
    for job in jobs:
        run = run_fold(work, job, shelf, shared / len(jobs))
        progress.say(f"fold {job.fold.name}: {_auc_text(run)}, C {_costs_text(run)}")
        progress.advance()
        runs.append(run)
    return runs


def _auc_text(run: Run) -> str:
    if not run.predictions:
        return "no test images"
    area = run_auc(run)
    return f"AUC {area:.4f}" if area == area else "no AUC, a class is missing in its test part"


def _costs_text(run: Run) -> str:
    return ", ".join(f"{one['C']:g}" for one in run.record.search["classes"].values())
