"""`finetune`: retrain a network on the training part of each fold, and keep each as a weights source.

A run folder of kind ``finetune`` holds, beside what every run holds,

``backbone.weights.h5``
    The network up to its feature layer, at the best epoch: what ``extract --weights`` reads.
``head.weights.h5``
    The classifier on top.
``history.csv``
    A row for each epoch.
``trained-on.json``
    The SHA-256 of every image that training or validation has seen, here or in a run that this one started
    from, with task, protocol and fold: what keeps a test image from being scored by a network that knows it.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.data import (
    Manifest,
    Task,
    apply_task,
    check_folds,
    check_inner,
    read_manifest,
    refuse_other_folds,
    split_folds,
    write_folds,
)
from featx.errors import ConfigError
from featx.machine import usable_cores
from featx.progress import Progress, Silent
from featx.runs import Run, finished_run
from featx.zoo import find_backbone, resolve_weights

from .finetune_plan import FinetunePlan, Todo, advice, choose_recipe, image_keys, plan_fold
from .learner import Kept
from .tensorboard_log import check_board
from .trainer import plan_scores, scores_folder, write_scores
from .training_images import MEMORY_GIB
from .training_recipe import TrainingRecipe

if TYPE_CHECKING:
    from .trainer import Trainer

__all__ = ["HEADS", "finetune"]

HEADS = ("svm", "softmax")


def finetune(
    manifest: Path | str | Manifest,
    *,
    backbone: str,
    weights: str | Path = "imagenet",
    task: Task | str | Path = "labels",
    strict_labels: bool = False,
    protocol: str | Path = "5x2",
    folds: Sequence[str] = (),
    recipe: str | Path | TrainingRecipe | None = None,
    arm: str | None = None,
    head: str = "svm",
    output: Path | str = "reports/finetuned",
    scores: Path | str = "reports/softmax",
    cache: Path | str = "cache",
    root: Path | str | None = None,
    allow_outside: bool = False,
    seed: int = 0,
    workers: int | None = None,
    memory_gib: float = MEMORY_GIB,
    tensorboard: Path | str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
    kept: Kept | None = None,
    progress: Progress | None = None,
    **fields: Any,
) -> tuple[Run, ...]:
    """Fine-tune a network on the training part of each fold.

    Parameters
    ----------
    manifest : Path, str or Manifest
        Images and labels.
    backbone : str
        Name of a backbone (`featx zoo list`).
    weights : str or Path
        What to start from: ``random``, ``random:SEED``, ``imagenet``, a weights file, a fine-tuning run, or a
        folder of such runs, of which each fold starts from the one of its own name.
    task, protocol : str or Path
        As for `train_svm`; the protocol ``none`` trains on all images, for a source task.
    strict_labels : bool
        As for `train_svm`.
    folds : sequence of str
        Names of folds; all if empty.
    recipe : str, Path or TrainingRecipe, optional
        ``modern``, ``scratch``, ``paper``, or a TOML file. ``scratch`` where the weights are random, else
        ``modern``, if left out.
    arm : str, optional
        Name of the row in a study's table; backbone, weights and recipe if left out.
    head : str
        ``svm``: train networks only, whose features `extract` and `train_svm` take from here, as the paper
        does. ``softmax``: also score each fold's test part by the network's own head, as a run of kind
        ``softmax`` that `report` sets beside the SVMs.
    output : Path or str
        Runs go to ``output/arm/task/protocol/fold``.
    scores : Path or str
        Where runs of kind ``softmax`` go, in the same way.
    cache : Path or str
        Folder of caches.
    root : Path or str, optional
        Folder that image paths are relative to.
    allow_outside : bool
        Whether image paths may lead out of it.
    seed : int
        Seed of the folds and of all chance in the training.
    workers : int, optional
        Threads that decode and alter images; the number of cores if left out. Results do not depend on it.
    memory_gib : float
        Prepared images are kept in memory up to this size, else decoded in every epoch.
    tensorboard : Path or str, optional
        Folder that TensorBoard shows; the numbers of every epoch are written to ``DIR/arm/task/protocol/fold``.
        Needs the extra ``tensorboard``.
    overwrite : bool
        Replace finished runs instead of reusing them.
    dry_run : bool
        Say what each fold would do, and stop; nothing is returned then.
    kept : Kept, optional
        Where a compiled network stays for the next call with the same; without, it is let go.
    progress : Progress, optional
        Receiver of progress; a line an epoch is said.
    **fields
        Fields of the recipe to replace, such as ``epochs=10``.

    Returns
    -------
    tuple of Run
        One of kind ``finetune`` for each fold, in the protocol's order; with ``head="softmax"`` then one of that
        kind for each fold that has a test part.

    Raises
    ------
    InputError
        If manifest, task, protocol, backbone, weights or recipe cannot be used; `LeakError` if the weights
        have seen a test image or another of its group; `ProtocolError` if runs with other folds stand there.
    ImageError
        If images cannot be read.
    TrainingError
        If a loss stops being finite.

    Notes
    -----
    On one machine and on a CPU, the same inputs and seed give the same weights. After every epoch the whole
    state is kept beside the run's folder; the same call after a kill goes on from there and ends with the
    weights of an uninterrupted training.
    """
    if head not in HEADS:
        raise ConfigError(f"the 'head' parameter must be one of {', '.join(HEADS)}. Got {head!r} instead.")
    progress = progress or Silent()
    labelled = apply_task(
        read_manifest(manifest, root=root, allow_outside=allow_outside), task, strict_labels=strict_labels
    )
    found = find_backbone(backbone)
    sources = resolve_weights(str(weights), found)
    plan = choose_recipe(recipe, sources, fields)
    keys = image_keys(labelled, cache, workers)
    ordered = [keys[name] for name in labelled.ids]
    made = split_folds(labelled, protocol, seed, ordered)
    warned = (*labelled.remarks, *check_folds(made, labelled, ordered))
    if plan.validation:
        check_inner(made.folds, labelled, ordered)
    for line in warned:
        progress.say(f"warning: {line}")
    label = sources[0].label if len(sources) == 1 else Path(weights).name
    study = FinetunePlan(
        labelled=labelled,
        keys=keys,
        folds=made,
        backbone=found,
        recipe=plan,
        image_size=plan.image_size or found.image_size,
        arm=arm or f"{found.name}-{label}-{plan.name}",
        folder=Path(output),
        seed=seed,
        workers=workers or usable_cores(),
        warnings=(*warned, *advice(plan, sources)),
    )
    items = [plan_fold(study, fold, sources) for fold in made.select(folds).folds]
    if not overwrite:
        refuse_other_folds(_folds_file(items), made)
    if dry_run:
        for item in items:
            progress.say(_intention(item, overwrite))
        return ()
    boards = None if tensorboard is None else Path(tensorboard)
    if boards is not None:
        check_board()
    with _trainer(study, memory_gib, boards, progress, kept) as trainer:
        runs = _train(study, items, trainer, overwrite, progress)
        if head == "softmax":
            runs += _score(study, items, runs, Path(scores), trainer, overwrite)
    return tuple(runs)


def _intention(item: Todo, overwrite: bool) -> str:
    if finished_run(item.target, item.record, overwrite):
        return f"fold {item.fold.name}: finished before, reused from {item.target}"
    parts = f"{len(item.fold.train)} images, {len(item.fold.test)} kept for testing"
    return f"fold {item.fold.name}: train on {parts}, from {item.weights.source}, into {item.target}"


class _Late:
    """A trainer that is made when it is first needed: finished work is reused without importing keras."""

    def __init__(
        self, study: FinetunePlan, memory_gib: float, progress: Progress, kept: Kept, boards: Path | None
    ) -> None:
        self._given = (study, memory_gib, progress, kept, boards)
        self._made: Trainer | None = None

    def get(self) -> Trainer:
        from .trainer import Trainer

        self._made = self._made or Trainer(*self._given)
        return self._made


@contextmanager
def _trainer(
    study: FinetunePlan, memory_gib: float, boards: Path | None, progress: Progress, kept: Kept | None
) -> Iterator[_Late]:
    own = Kept()
    try:
        yield _Late(study, memory_gib, progress, own if kept is None else kept, boards)
    finally:
        own.clear()


def _train(
    study: FinetunePlan, items: Sequence[Todo], late: _Late, overwrite: bool, progress: Progress
) -> list[Run]:
    """Train the folds that have no finished run; return the runs of all."""
    finished = [finished_run(item.target, item.record, overwrite) for item in items]
    todo = [item for item, run in zip(items, finished, strict=True) if run is None]
    for item, run in zip(items, finished, strict=True):
        if run is not None:
            # A process that was killed behind its run has not removed the checkpoint.
            shutil.rmtree(item.workshop, ignore_errors=True)
    if len(todo) < len(items):
        progress.say(f"{len(items) - len(todo)} of {len(items)} folds were finished before and are reused")
    if not todo:
        return [run for run in finished if run is not None]
    trainer = late.get()
    images = trainer.load([name for item in todo for name in item.fold.train])
    if overwrite or not _folds_file(items).exists():
        write_folds(_folds_file(items), study.folds)
    return [run or trainer.train(item, images) for item, run in zip(items, finished, strict=True)]


def _folds_file(items: Sequence[Todo]) -> Path:
    return items[0].target.parent / "folds.json"


def _score(
    study: FinetunePlan,
    items: Sequence[Todo],
    runs: Sequence[Run],
    folder: Path,
    late: _Late,
    overwrite: bool,
) -> list[Run]:
    """Score the test parts by the networks' own heads."""
    scored = []
    for item, run in zip(items, runs, strict=True):
        if not item.fold.test:
            continue
        target, record = scores_folder(study, item, folder), plan_scores(study, item, run)
        done = finished_run(target, record, overwrite)
        if done is None:
            began = time.monotonic()
            trainer = late.get()
            scores = trainer.scores(item, run, trainer.load(item.fold.test))
            done = write_scores(study, item, record, scores, target, time.monotonic() - began)
        scored.append(done)
    return scored
