"""Training: one run for each fold, with C chosen by inner cross-validation of its training set."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import numpy.typing as npt

from featx.data import (
    TRAINING_SET,
    Fold,
    Folds,
    Labelled,
    Manifest,
    TrainingImage,
    apply_task,
    check_folds,
    check_inner,
    read_manifest,
    refuse_other_folds,
    split_folds,
    training_set_bytes,
    write_folds,
)
from featx.errors import MissingFeaturesError, TrainingError, listing
from featx.external import ExternalRecord, ExternalScores, finished_scores, write_external
from featx.features import FeatureStore, arm_file, read_arm
from featx.machine import environment, usable_cores
from featx.options import verb
from featx.progress import Progress, Silent
from featx.runs import Prediction, Run, RunRecord, checked_digest, finished_run, run_folder, write_run
from featx.stats import Calibration
from featx.svm.external_sets import ExternalSet, external_record, read_external_sets
from featx.svm.fused.fold_work import (
    Candidate,
    FoldJob,
    Shelf,
    SvmWork,
    fit_candidate,
    fold_outcome,
    make_shelf,
    search_record,
    search_shelf,
    work_groups,
)
from featx.svm.fused.fused_folds import FusedShelf, fit_fused, make_fused_shelf
from featx.svm.fused.joined_store import FusedMember, JoinedStore, fused_name, join_stores, open_members
from featx.svm.inner import InnerScores, fit_on_inner, inner_parts, score_parts
from featx.svm.inputs import (
    Images,
    assign_stores,
    default_arm,
    find_images,
    read_rows,
    refuse_leaks,
    store_fold,
)
from featx.svm.model import MODEL, SvmModel, load_model, model_bytes
from featx.svm.problems import Decision
from featx.svm.settings import SvmSettings, TrainSvmSettings
from featx.svm.solvers.linalg import in_threads, one_blas_thread
from featx.svm.solvers.solving import folds_at_once
from featx.svm.subsets import asked_subsets, check_subsets, draw_subset, refuse_trained_weights
from featx.svm.svm_predictions import inner_predictions, plain_predictions, pooled_predictions
from featx.svm.svm_records import (
    FoldOutcome,
    chosen_costs,
    extraction_speeds,
    record_of_inputs,
    run_auc,
    with_outcome,
)

__all__ = [
    "FoldJob",
    "SvmWork",
    "check_inner_folds",
    "make_shelf",
    "run_auc",
    "run_fold",
    "train_runs",
    "train_svm",
]


_Ints = npt.NDArray[np.int64]

# Folder beside the runs of the folds.
_SUBSETS = "training-subsets"


def run_fold(work: SvmWork, job: FoldJob, shelf: Shelf | FusedShelf, shared_seconds: float) -> Run:
    """Search for C, fit, calibrate, score the test set, and write the run."""
    labelled = work.images.labelled
    place = {name: row for row, name in enumerate(labelled.ids)}
    train = np.searchsorted(shelf.rows, np.array([place[name] for name in sorted(job.fold.train)]))
    test = np.array([place[name] for name in sorted(job.fold.test)], dtype=np.int64)
    classes = [labelled.task.classes.index(name) for name in labelled.task.scored]
    targets = labelled.targets[shelf.rows][:, None] == np.array(classes)
    clock = [time.perf_counter()]
    store, model, inner, found = (
        fit_fused(work, shelf, train, test, targets, clock)
        if isinstance(shelf, FusedShelf)
        else _fit_svm(work, shelf, train, test, targets, clock)
    )
    clock.append(time.perf_counter())
    predictions = _score(work.images, work.settings, job.fold.name, store, model, test)
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
    files = {
        MODEL: model_bytes(model),
        TRAINING_SET: training_set_bytes(_training_images(work, shelf.rows[train])),
    }
    return write_run(job.folder, record, predictions, facts, files, inner.rows if inner else ())


def _fit_svm(
    work: SvmWork, shelf: Shelf, train: _Ints, test: _Ints, targets: npt.NDArray[np.bool_], clock: list[float]
) -> tuple[FeatureStore, SvmModel, InnerScores | None, FoldOutcome]:
    """Fit the SVMs of a fold; the time after the search is added to the clock."""
    taken, search = search_shelf(work, shelf, train, targets)
    clock.append(time.perf_counter())
    decisions = tuple(
        fit_candidate(taken, train, targets[train, column], cost) for column, cost in enumerate(search.costs)
    )
    inner, warned = _inner(work, shelf, taken, train, targets, search.costs)
    model = _model(work, taken, decisions, _calibration(work, inner))
    found = fold_outcome(
        shelf.rows[train],
        test,
        search_record(taken, search, model.scored),
        [(taken, search)],
        decisions,
        model,
        inner,
        (*search.warnings, *warned),
    )
    return taken.store, model, inner, found


def _training_images(work: SvmWork, rows: _Ints) -> list[TrainingImage]:
    labelled = work.images.labelled
    return [
        TrainingImage(
            *(
                labelled.ids[row],
                str(labelled.classes[row]),
                str(labelled.groups[row]),
                work.images.keys[row],
            ),
            strata={name: values[row] for name, values in labelled.strata.items()},
        )
        for row in rows
    ]


def _model(
    work: SvmWork, taken: Candidate, decisions: tuple[Decision, ...], calibration: Calibration | None
) -> SvmModel:
    task, settings = work.images.labelled.task, work.settings
    return SvmModel(
        taken.store.digest, task.classes, task.scored, decisions, settings.views, settings.pool, calibration
    )


def _inner(
    work: SvmWork,
    shelf: Shelf,
    taken: Candidate,
    train: _Ints,
    targets: npt.NDArray[np.bool_],
    costs: tuple[float, ...],
) -> tuple[InnerScores | None, tuple[str, ...]]:
    """Score the training set by inner cross-validation.

    If this is not possible, return a warning, or raise an error if a calibration was requested.
    """
    images = shelf.rows[train]

    def predictions(parts: _Ints, scores: npt.NDArray[np.float64]) -> list[Prediction]:
        return inner_predictions(work.images.labelled, work.settings, images, parts, scores)

    try:
        parts = inner_parts(work_groups(work, images), work.images.labelled.targets[images], work.seed)
    except TrainingError as error:
        if work.settings.calibrate != "none":
            raise TrainingError(
                f"calibration is not possible: {error}, or train without --calibrate"
            ) from error
        return None, (f"no thresholds were determined on the training set: {error}",)
    views, pool = taken.views, work.settings.pool
    return score_parts(
        taken.solver, train, targets, costs, parts, views=views, pool=pool, predictions=predictions
    ), ()


def _calibration(work: SvmWork, inner: InnerScores | None) -> Calibration | None:
    if inner is None or work.settings.calibrate == "none":
        return None
    return fit_on_inner(inner, work.images.labelled.task, work.settings.calibrate)


def _score(
    images: Images, settings: SvmSettings, fold: str, store: FeatureStore, model: SvmModel, rows: _Ints
) -> list[Prediction]:
    """Score images by a model, pooled over groups and calibrated as the model was trained."""
    if not len(rows):
        return []
    scores = model.scores(read_rows(store, images, rows, settings.views), store.digest)
    predictions = pooled_predictions(
        plain_predictions(images.labelled, fold, rows, scores), settings, images.labelled.task.positive
    )
    if model.calibration is None:
        return predictions
    pooled = np.array([[row.scores[name] for name in model.scored] for row in predictions])
    chances = model.probabilities(pooled)
    return [
        dataclasses.replace(row, probabilities=dict(zip(model.scored, line.tolist(), strict=True)))
        for row, line in zip(predictions, chances, strict=True)
    ]


@verb(TrainSvmSettings)
def train_svm(manifest: Manifest | Path | str, options: TrainSvmSettings) -> tuple[Run, ...]:
    """Train and score linear SVMs on stored features, fold by fold.

    C, and the scaling or the features where several are given, are chosen by inner splits of the fold's training set.
    The test set is used once, for scoring.

    Parameters
    ----------
    manifest : Manifest, Path or str
        Images and labels.
    {options}

    Returns
    -------
    tuple of Run
        One for each fold; then, for a learning curve, one for each size, draw and fold. Finished runs with the same inputs
        are read and not recomputed.

    Raises
    ------
    LeakError
        If a test image, its group or a duplicate is in the training set, or was used to train the weights behind the
        features; or if an external test set overlaps with the training data and `overlap` is ``"refuse"``.
    MissingFeaturesError
        If images have no features and `missing` is ``"fail"``.
    InputError
        If another input cannot be used.
    TrainingError
        If an SVM cannot be fitted on the training set.

    Examples
    --------
    ::

        featx.extract("lesions.csv", backbone="resnet50", arm="frozen")
        runs = featx.train_svm("lesions.csv", arm="frozen", task="melanoma:rest")
    """
    return train_runs(manifest, options)


def train_runs(
    manifest: Manifest | Path | str,
    options: TrainSvmSettings,
    check: Callable[[RunRecord], None] = lambda record: None,
) -> tuple[Run, ...]:
    """Train as `train_svm` does; `check` is given the record of each run's inputs before anything is trained."""
    receiver = options.progress or Silent()
    resolved = options.part(SvmSettings)
    labelled = apply_task(
        read_manifest(manifest, root=options.root, allow_outside=options.allow_outside),
        options.task,
        strict_labels=options.strict_labels,
    )
    members = open_members(options) if options.fuse else ()
    stores = tuple(one for member in members for one in member.stores) or _stores(options)
    name = options.arm or (
        fused_name(options.fuse, members)
        if options.fuse
        else _named_by_file(options.places) or default_arm(stores)
    )
    images = find_images(
        labelled,
        stores,
        cache=options.cache,
        workers=options.workers,
        missing=options.missing,
        progress=receiver,
        listed=options.keys,
    )
    made, warnings = _make_folds(images, options.protocol, options.seed)
    place = run_folder(options.output, name, labelled.task.name, made.protocol, "folds.json")
    if not options.overwrite:
        refuse_other_folds(place, made)
    for line in warnings:
        receiver.say(f"warning: {line}")
    jobs = _fold_jobs(options, images, made, members or stores, name, warnings)
    jobs += _subset_jobs(options, images, jobs)
    protocol_folds = tuple(_without(fold, images) for fold in made.folds)
    for job in jobs:
        check(job.record)
    check_inner_folds(protocol_folds, labelled, images.keys, resolved)
    sets = _external_sets(options, images, protocol_folds, jobs, receiver)
    finished = {job.folder: finished_run(job.folder, job.record, options.overwrite) for job in jobs}
    before = {folder: run for folder, run in finished.items() if run is not None}
    for run in before.values():
        _finished_scores(run, sets)  # refuses those of other inputs before anything is trained
    if options.overwrite or not place.exists():
        write_folds(place, made)
    work = SvmWork(images, resolved, options.seed, options.workers or usable_cores(), protocol_folds)
    receiver.start(f"train-svm {name}", len(jobs), "runs" if jobs[-1].record.subset else "folds")
    with one_blas_thread():
        runs = _run_all(work, jobs, before, receiver)
        for run in runs:
            _score_external(run, sets, resolved, receiver)
    receiver.finish()
    return runs


def _external_sets(
    options: TrainSvmSettings,
    images: Images,
    protocol: Sequence[Fold],
    jobs: Sequence[FoldJob],
    progress: Progress,
) -> tuple[ExternalSet, ...]:
    trained = frozenset(name for fold in protocol for name in fold.train)
    stores = {store.path: store for job in jobs for store in job.stores}
    return read_external_sets(options, images, trained, tuple(stores.values()), progress)


def _score_external(run: Run, sets: Sequence[ExternalSet], settings: SvmSettings, progress: Progress) -> None:
    """Score the external test sets by the model of a run; scores that it has already are kept."""
    if run.record.subset:  # learning curves are of the internal test sets
        return
    model = None
    for one, (record, found) in zip(sets, _finished_scores(run, sets), strict=True):
        if found is None:
            model = model or load_model(run.path)
            rows = _score(one.images, settings, run.record.fold, one.store_of(run), model, one.rows)
            found = write_external(run, record, rows)
        shown = _auc_text(dataclasses.replace(run, predictions=found.predictions))
        progress.say(f"fold {run.record.fold}, external test set {one.name}: {shown}")


def _finished_scores(
    run: Run, sets: Sequence[ExternalSet]
) -> list[tuple[ExternalRecord, ExternalScores | None]]:
    """Return the record of each external test set for a run, and the scores that the run has already."""
    mark = checked_digest(run.path, MODEL) if sets else ""
    records = [external_record(run, one, mark) for one in sets]
    return [(record, finished_scores(run, record)) for record in records]


def _stores(options: TrainSvmSettings) -> tuple[FeatureStore, ...]:
    """Open the feature stores given by `features`, or the feature stores of the arm."""
    places = options.places
    if not places:
        assert options.arm is not None, "the options require features or an arm"
        places = (arm_file(options.cache, options.arm),)
    return tuple(
        FeatureStore(store) for store in dict.fromkeys(path for place in places for path in read_arm(place))
    )


def _named_by_file(places: Sequence[Path]) -> str | None:
    """Return the name of the arm if only the file that `extract --arm` wrote was given."""
    alone = len(places) == 1 and places[0].suffix == ".json" and places[0].is_file()
    return places[0].stem if alone else None


def _fold_jobs(
    options: TrainSvmSettings,
    images: Images,
    made: Folds,
    given: Sequence[FeatureStore] | Sequence[FusedMember],
    name: str,
    warnings: Sequence[str],
) -> list[FoldJob]:
    chosen = made.select(options.folds)
    members = [one for one in given if isinstance(one, FusedMember)]
    stores = [one for one in given if isinstance(one, FeatureStore)]
    assigned = (
        join_stores(options.fuse, members, chosen)
        if options.fuse
        else assign_stores(stores, chosen, options.choose_features)
    )
    task, settings = images.labelled.task.name, options.part(SvmSettings)
    jobs = []
    for fold in chosen.folds:
        serving = assigned[fold.name]
        for store in serving:
            refuse_leaks(store, fold, images)
        folder = run_folder(options.output, name, task, made.protocol, fold.name)
        told = dict.fromkeys(line for store in serving for line in store.recipe.get("warnings") or ())
        noted = (*warnings, *told)
        record = record_of_inputs(images, made, fold.name, serving, name, options.seed, settings, noted)
        jobs.append(FoldJob(_without(fold, images), serving, folder, record))
    return jobs


def _subset_jobs(options: TrainSvmSettings, images: Images, folds: Sequence[FoldJob]) -> list[FoldJob]:
    """List the runs on parts of the training sets: beside the runs of the folds, by size, draw and fold."""
    jobs = []
    subsets = asked_subsets(options)
    for job in folds if subsets else ():
        refuse_trained_weights(job.stores, job.fold, images)
    for subset in subsets:
        for job in folds:
            fold = draw_subset(job.fold, images, subset, options.seed)
            folder = job.folder.parent / _SUBSETS / subset.name / job.folder.name
            settings = {**job.record.settings, "subset": subset.record}
            jobs.append(FoldJob(fold, job.stores, folder, dataclasses.replace(job.record, settings=settings)))
    check_subsets([job.fold for job in jobs], images, options)
    return jobs


def _make_folds(images: Images, protocol: str | Path, seed: int) -> tuple[Folds, tuple[str, ...]]:
    """Create the folds and the warnings about data set and folds."""
    labelled = images.labelled
    folds = split_folds(labelled, protocol, seed, images.keys)
    return folds, (*labelled.remarks, *check_folds(folds, labelled, images.keys))


def check_inner_folds(
    folds: Sequence[Fold], labelled: Labelled, keys: Sequence[str], settings: SvmSettings
) -> None:
    """Check that the training set of every fold can be split for inner cross-validation.

    Parameters
    ----------
    folds : sequence of Fold
        All folds of the protocol.
    labelled : Labelled
        The images and their classes in the task.
    keys : sequence of str
        SHA-256 of each image's bytes, in the order of ``labelled.ids``.
    settings : Settings
        Options of the search.

    Raises
    ------
    ProtocolError
        If a training set cannot be split; see `featx.data.protocols.check_inner`.
    """
    check_inner(folds, labelled, keys, grouped=settings.inner == "grouped")
    if settings.calibrate != "none":
        check_inner(folds, labelled, keys, every_class=True)


def _without(fold: Fold, images: Images) -> Fold:
    """Remove the images without features from a fold; the training set must keep every class."""
    out = frozenset(images.left_out)
    train, test = (tuple(name for name in part if name not in out) for part in (fold.train, fold.test))
    classes = dict(zip(images.labelled.ids, images.labelled.classes.tolist(), strict=True))
    lost = sorted({classes[name] for name in fold.train} - {classes[name] for name in train})
    if lost:
        raise MissingFeaturesError(
            f"fold {fold.name}: no image of {listing(lost)} in the training set has features; run `featx extract` on them"
        )
    return Fold(fold.name, train, test)


def _run_all(
    work: SvmWork, jobs: Sequence[FoldJob], finished: Mapping[Path, Run], progress: Progress
) -> tuple[Run, ...]:
    runs = dict(finished)
    for run in runs.values():
        progress.say(f"{_called(run.record)}: {_auc_text(run)}, finished before")
        progress.advance()
    waiting: dict[tuple[Path, ...], list[FoldJob]] = {}
    for job in jobs:
        if job.folder not in runs:
            waiting.setdefault(tuple(store.path for store in job.stores), []).append(job)
    for todo in waiting.values():
        for job, run in zip(todo, _run_together(work, todo, progress), strict=True):
            runs[job.folder] = run
    return tuple(runs[job.folder] for job in jobs)


def _called(record: RunRecord) -> str:
    """Name a run in messages: its fold, and which part of the training set it was trained on."""
    part = ", ".join(f"{name} {value:g}" for name, value in record.subset.items())
    return f"fold {record.fold}" + (f", {part}" if part else "")


def _run_together(work: SvmWork, jobs: Sequence[FoldJob], progress: Progress) -> list[Run]:
    """Run the folds that have the same feature stores, on all rows of their training sets.

    The rows do not depend on which folds are run now, because other blocks of rows would give other rounding errors.
    """
    begun = time.perf_counter()
    stores = jobs[0].stores
    names = {job.fold.name for job in jobs}
    tuned = any(map(store_fold, stores)) and len(names) == 1
    served = tuple(fold for fold in work.protocol if fold.name in names) if tuned else work.protocol
    first = stores[0]
    shelf = (
        make_fused_shelf(work, first, served)
        if isinstance(first, JoinedStore) and first.method != "concat"
        else make_shelf(work, stores, served)
    )
    shared = time.perf_counter() - begun
    lock = Lock()

    def one(job: FoldJob) -> Run:
        run = run_fold(work, job, shelf, shared / len(jobs))
        with lock:
            progress.say(f"{_called(run.record)}: {_auc_text(run)}, C {_costs_text(run)}")
            progress.advance()
        return run

    return in_threads(one, jobs, work.workers, _at_once(work, shelf, jobs))


def _at_once(work: SvmWork, shelf: Shelf | FusedShelf, jobs: Sequence[FoldJob]) -> int:
    if isinstance(shelf, FusedShelf):
        return 1
    rows = max(len(job.fold.train) for job in jobs) * max(one.views for one in shelf.candidates)
    return folds_at_once([one.solver for one in shelf.candidates], rows, work.workers)


def _auc_text(run: Run) -> str:
    if not run.predictions:
        return "no test images"
    area = run_auc(run)
    return f"AUC {area:.4f}" if area == area else "no AUC, because a class is missing in the test set"


def _costs_text(run: Run) -> str:
    return ", ".join(f"{cost:g}" for cost in chosen_costs(run.record).values())
