"""`finetune`: retrain a network on the training set of each fold, and keep each result as a weights source.

A run folder of kind ``finetune`` holds, beside what every run holds,

``backbone.weights.h5``
    The network up to its feature layer, at the best epoch: what ``extract --weights`` reads.
``head.weights.h5``
    The classifier on top.
``history.csv``
    A row for each epoch.
``trained-on.json``
    The SHA-256 of every image of the training and validation sets, of this run and of the runs that its initial
    weights come from, with task, protocol and fold. With it, a network is never tested on an image that it has seen.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from featx.data import (
    Folds,
    Labelled,
    Manifest,
    apply_task,
    check_folds,
    check_inner,
    read_manifest,
    refuse_other_folds,
    split_folds,
    write_folds,
)
from featx.machine import usable_cores
from featx.options import verb
from featx.progress import Progress, Silent
from featx.runs import Run, finished_run
from featx.zoo import Weights, find_backbone, resolve_weights

from .finetune_plan import (
    CompiledNetwork,
    FinetunePlan,
    FoldPlan,
    image_keys,
    plan_fold,
    unsuitable_recipe,
)
from .finetune_runs import plan_scores, scores_folder, write_scores
from .finetune_settings import FinetuneSettings
from .tensorboard_log import find_writer

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["finetune", "train_folds"]


@verb(FinetuneSettings)
def finetune(manifest: Manifest | Path | str, options: FinetuneSettings) -> tuple[Run, ...]:
    """Fine-tune a network on the training set of each fold.

    Every field of a training recipe is a keyword too; what is not given is the recipe's.

    Parameters
    ----------
    manifest : Manifest, Path or str
        Images and labels. The protocol ``none`` trains on all of them, for a source task.
    {options}

    Returns
    -------
    tuple of Run
        One of kind ``finetune`` for each fold, in the protocol's order; with ``head="softmax"`` then one of that
        kind for each fold that has a test set. Empty for a dry run.

    Raises
    ------
    InputError
        If manifest, task, protocol, backbone, weights or recipe cannot be used; `LeakError` if the weights
        have seen a test image or another image of its group; `ProtocolError` if the output folder has runs with
        other folds.
    ImageError
        If images cannot be read.
    TrainingError
        If a loss is not finite.

    Notes
    -----
    On the CPU of one machine, the same inputs and seed give the same weights, bit for bit. The whole state is saved
    as a checkpoint beside the run's folder after every epoch; the same call resumes there after an interruption, and
    ends with the weights of an uninterrupted training.

    Examples
    --------
    ::

        featx.finetune("lesions.csv", backbone="resnet50", task="melanoma:rest", epochs=10, arm="tuned")
        featx.extract("lesions.csv", backbone="resnet50", weights="reports/finetuned/tuned", arm="tuned")
        featx.train_svm("lesions.csv", arm="tuned", task="melanoma:rest")
    """
    compiled = CompiledNetwork()
    try:
        return train_folds(manifest, options, compiled)
    finally:
        compiled.clear()


def train_folds(
    manifest: Manifest | Path | str, settings: FinetuneSettings, compiled: CompiledNetwork
) -> tuple[Run, ...]:
    """Do what `finetune` does with a network that was compiled in an earlier call, if it fits, and keep it.

    Parameters
    ----------
    manifest : Manifest, Path or str
        Images and labels.
    settings : FinetuneSettings
        All options.
    compiled : CompiledNetwork
        Holds the network of the last call and, on return, that of this one.

    Returns
    -------
    tuple of Run
        As `finetune`.
    """
    settings.begin()
    progress = settings.progress or Silent()
    plan, sources = _plan(manifest, settings, progress)
    items = [plan_fold(plan, fold, sources) for fold in plan.folds.select(settings.folds).folds]
    if not settings.overwrite:
        refuse_other_folds(_folds_file(items), plan.folds)
    if settings.dry_run:
        for item in items:
            progress.say(_intention(item, settings.overwrite))
        return ()
    if settings.tensorboard is not None:
        find_writer()

    with ExitStack() as stack:

        @cache
        def trainer() -> Trainer:
            # Imported where it is needed first: finished work is reused without importing keras.
            from .trainer import Trainer

            return stack.enter_context(closing(Trainer(plan, settings, progress, compiled)))

        runs = _train(plan, items, trainer, settings.overwrite, progress)
        if settings.head == "softmax":
            runs += _score(plan, items, runs, settings, trainer)
        return tuple(runs)


def _plan(
    manifest: Manifest | Path | str, settings: FinetuneSettings, progress: Progress
) -> tuple[FinetunePlan, tuple[Weights, ...]]:
    """Read everything that the folds have in common, and the weights sources."""
    labelled = apply_task(
        read_manifest(manifest, root=settings.root, allow_outside=settings.allow_outside),
        settings.task,
        strict_labels=settings.strict_labels,
    )
    backbone, recipe = find_backbone(settings.backbone), settings.training
    sources = resolve_weights(settings.weights, backbone)
    keys = image_keys(labelled, settings.cache, settings.workers, settings.keys)
    folds, warnings = _folds(labelled, keys, settings)
    for line in warnings:
        progress.say(f"warning: {line}")
    label = sources[0].label if len(sources) == 1 else Path(settings.weights).name
    plan = FinetunePlan(
        labelled=labelled,
        keys=keys,
        folds=folds,
        backbone=backbone,
        recipe=recipe,
        image_size=recipe.image_size or backbone.image_size,
        arm=settings.arm or f"{backbone.name}-{label}-{recipe.name}",
        folder=Path(settings.output),
        seed=settings.seed,
        workers=settings.workers or usable_cores(),
        warnings=(*warnings, *unsuitable_recipe(recipe, sources)),
    )
    return plan, sources


def _folds(
    labelled: Labelled, keys: dict[str, str], settings: FinetuneSettings
) -> tuple[Folds, tuple[str, ...]]:
    """Make and check the folds of the protocol; return them with warnings."""
    ordered = [keys[name] for name in labelled.ids]
    seed = settings.seed if settings.fold_seed is None else settings.fold_seed
    folds = split_folds(labelled, settings.protocol, seed, ordered)
    warnings = (*labelled.remarks, *check_folds(folds, labelled, ordered))
    if settings.validation:
        check_inner(folds.folds, labelled, ordered)
    return folds, warnings


def _folds_file(items: Sequence[FoldPlan]) -> Path:
    return items[0].target.parent / "folds.json"


def _intention(item: FoldPlan, overwrite: bool) -> str:
    if finished_run(item.target, item.record, overwrite):
        return f"fold {item.fold.name}: finished, will be reused from {item.target}"
    sets = f"{len(item.fold.train)} training and {len(item.fold.test)} test images"
    return f"fold {item.fold.name}: will train {item.weights.source} on {sets}, into {item.target}"


def _train(
    plan: FinetunePlan,
    items: Sequence[FoldPlan],
    trainer: Callable[[], Trainer],
    overwrite: bool,
    progress: Progress,
) -> list[Run]:
    """Train the folds that have no finished run; return the runs of all."""
    finished = [finished_run(item.target, item.record, overwrite) for item in items]
    todo = [item for item, run in zip(items, finished, strict=True) if run is None]
    for item, run in zip(items, finished, strict=True):
        if run is not None:
            # A process that was killed right after it wrote its run has not removed the checkpoint.
            shutil.rmtree(item.checkpoint_folder, ignore_errors=True)
    if len(todo) < len(items):
        progress.say(f"{len(items) - len(todo)} of {len(items)} folds are finished and are reused")
    if not todo:
        return [run for run in finished if run is not None]
    images = trainer().load([name for item in todo for name in item.fold.train])
    if overwrite or not _folds_file(items).exists():
        write_folds(_folds_file(items), plan.folds)
    return [run or trainer().train(item, images) for item, run in zip(items, finished, strict=True)]


def _score(
    plan: FinetunePlan,
    items: Sequence[FoldPlan],
    runs: Sequence[Run],
    settings: FinetuneSettings,
    trainer: Callable[[], Trainer],
) -> list[Run]:
    """Score the test sets with the networks' own heads."""
    scored = []
    for item, run in zip(items, runs, strict=True):
        if not item.fold.test:
            continue
        target, record = scores_folder(plan, item, settings.scores), plan_scores(plan, item, run)
        done = finished_run(target, record, settings.overwrite)
        if done is None:
            began = time.monotonic()
            scores = trainer().scores(item, run, trainer().load(item.fold.test))
            done = write_scores(plan, item, record, scores, target, time.monotonic() - began)
        scored.append(done)
    return scored
