"""The training loop, and one compiled network that is trained for all folds. Imported late, since it imports keras."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.data import Labelled, merged_groups, validation_split
from featx.digest import digest
from featx.errors import TrainingError, listing
from featx.features import TakenDevice, take_device
from featx.gpus import memory_error
from featx.progress import Progress
from featx.runs import Run, run_folder
from featx.stats import fold_auc
from featx.zoo import BACKBONE_FILE, Weights, build_backbone, load_saved

from .checkpoint import Checkpoint, TrainingState
from .devices import find_devices, make_deterministic, slow_training
from .finetune_plan import CompiledNetwork, FinetunePlan, FoldPlan
from .finetune_runs import HEAD_FILE, FittedFold, write_finetuned
from .finetune_settings import FinetuneSettings
from .learner import Learner, learning_rate, precision
from .sampling import ImageSubset, draw_epoch, final_weights, training_batches
from .tensorboard_log import TensorboardLog, open_log
from .training_images import TrainingImages, load_images
from .training_recipe import TrainingRecipe

__all__ = ["FoldTraining", "Trainer", "fit", "validation_metrics"]


@dataclass(frozen=True)
class FoldTraining:
    """Inputs of the training of one fold.

    Attributes
    ----------
    name : str
        Fold, for messages.
    train, validation : ImageSubset
        The two sets; the validation set may be empty.
    final : ndarray of float64, shape (classes,)
        What `final_weights` returned.
    seed : int
        Random seed of the fold.
    workers : int
        Number of data-loading threads.
    """

    name: str
    train: ImageSubset
    validation: ImageSubset
    final: NDArray[np.float64]
    seed: int
    workers: int


def fit(
    learner: Learner,
    job: FoldTraining,
    checkpoint: Checkpoint,
    progress: Progress,
    log: TensorboardLog | None = None,
    stepped: Callable[[], None] = lambda: None,
) -> FittedFold:
    """Train one fold, from its checkpoint if there is one; `stepped` is called after every step."""

    def advance(images: int) -> None:
        stepped()
        progress.advance(images)

    recipe = learner.recipe
    epochs = recipe.head_epochs + recipe.epochs
    learner.reset(job.seed)
    done = checkpoint.load() or TrainingState()
    resumed, speeds = done.epoch, []
    if resumed:
        learner.restore(done.arrays)
        progress.say(f"fold {job.name}: resuming after epoch {resumed}")
    images = len(draw_epoch(job.train, recipe, job.final, job.seed, 0))
    progress.start(f"fold {job.name}", (epochs - resumed) * images)
    try:
        while done.epoch < epochs and not _stops_early(done, recipe):
            began = time.monotonic()
            row = _train_epoch(learner, job, done.epoch, advance)
            speeds.append(images / (time.monotonic() - began))
            _validate(learner, job, done, row)
            done.arrays = learner.state()
            checkpoint.save(done)
            if log:
                log.write(row, speeds[-1])
            left = (epochs - done.epoch) * (time.monotonic() - began)
            progress.say(_epoch_line(job.name, row, epochs, speeds[-1], left))
    finally:
        progress.finish()
    return FittedFold(done.best, done.best_epoch, tuple(done.history), tuple(speeds), resumed)


def _stops_early(done: TrainingState, recipe: TrainingRecipe) -> bool:
    return bool(recipe.patience and done.best_epoch and done.epoch - done.best_epoch >= recipe.patience)


def _train_epoch(
    learner: Learner, job: FoldTraining, epoch: int, advance: Callable[[int], None]
) -> dict[str, Any]:
    """Train for an epoch; return the row of the history without the validation metrics."""
    recipe = learner.recipe
    learner.begin_epoch(job.seed, epoch)
    head = epoch < recipe.head_epochs
    step = learner.train_head if head else learner.train
    steps = len(draw_epoch(job.train, recipe, job.final, job.seed, epoch)) // recipe.batch_size
    losses, rate = [], recipe.head_learning_rate
    batches = training_batches(job.train, recipe, job.final, job.seed, epoch, workers=job.workers)
    for number, batch in enumerate(batches):
        if not head:
            place = (epoch - recipe.head_epochs) * steps + number
            rate = learning_rate(recipe, place, steps, recipe.epochs, recipe.learning_rate)
        losses.append(step(batch, rate))
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"fold {job.name}, epoch {epoch + 1}: the loss is {losses[-1]} for the batch of images "
                f"{listing(batch.ids, 64)}; check these images, lower --learning-rate, or use --precision float32"
            )
        advance(len(batch.ids))
    phase = "head" if head else "all"
    return {"epoch": epoch + 1, "phase": phase, "learning_rate": rate, "loss": float(np.mean(losses))}


def _validate(learner: Learner, job: FoldTraining, done: TrainingState, row: dict[str, Any]) -> None:
    """Compute the validation metrics, complete the row, and keep the weights if they are the best so far.

    Epochs of the head alone are not chosen, since their features are those of the initial weights; unless the recipe
    has no other epochs.
    """
    weights = learner.weights()
    if len(job.validation):
        raw = learner.raw_weights()
        learner.model.set_weights(weights)
        row["validation_loss"], row["validation_auc"] = validation_metrics(
            learner.predict(job.validation, job.workers), job.validation.targets
        )
        learner.model.set_weights(raw)
    else:
        row["validation_loss"] = row["validation_auc"] = None
    eligible = row["phase"] == "all" or not learner.recipe.epochs
    row["best"] = eligible and _better(row, done, learner.recipe.metric)
    done.epoch = row["epoch"]
    done.history.append(row)
    if row["best"]:
        done.best, done.best_epoch = weights, row["epoch"]


def _better(row: dict[str, Any], done: TrainingState, metric: str) -> bool:
    """Compare an epoch with the best so far by the metric, then by loss; without validation the later is better."""
    if not done.best_epoch or row["validation_loss"] is None:
        return True
    return _merit(row, metric) > _merit(done.history[done.best_epoch - 1], metric)


def _merit(row: dict[str, Any], metric: str) -> tuple[float, float]:
    auc = row["validation_auc"] if metric == "auc" and row["validation_auc"] is not None else 0.0
    return (auc, -row["validation_loss"])


def validation_metrics(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> tuple[float, float | None]:
    """Return mean cross-entropy in nats and AUC (macro average of one-vs-rest; None if a class is missing).

    Examples
    --------
    >>> loss, auc = validation_metrics(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([0, 1]))
    >>> round(loss, 3), auc
    (0.127, 1.0)
    """
    probabilities = _softmax(logits)
    loss = float(-np.mean(np.log(np.maximum(probabilities[np.arange(len(targets)), targets], 1e-30))))
    scores = logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else probabilities
    auc = fold_auc(targets, scores)
    return loss, None if math.isnan(auc) else float(auc)


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return probabilities


def _epoch_line(fold: str, row: dict[str, Any], epochs: int, speed: float, left: float) -> str:
    validation = ""
    if row["validation_loss"] is not None:
        auc = "undefined" if row["validation_auc"] is None else f"{row['validation_auc']:.3f}"
        best = " (best)" if row["best"] else ""
        validation = f", validation loss {row['validation_loss']:.3f}, validation AUC {auc}{best}"
    return (
        f"fold {fold}, epoch {row['epoch']}/{epochs} ({row['phase']}): learning rate {row['learning_rate']:.2g}, "
        f"loss {row['loss']:.3f}{validation}, {speed:.0f} images/s, {left:.0f} s left"
    )


class Trainer:
    """Trains folds one after the other with one compiled network.

    Parameters
    ----------
    compiled : CompiledNetwork
        A network compiled before, reused if it fits; and where the one compiled here is kept.
    """

    def __init__(
        self,
        plan: FinetunePlan,
        settings: FinetuneSettings,
        progress: Progress,
        compiled: CompiledNetwork,
    ) -> None:
        self._plan, self._settings, self._progress, self._compiled = plan, settings, progress, compiled
        self._recipe = plan.recipe
        self._open = ExitStack()

    @cached_property
    def _taken(self) -> TakenDevice:
        """The devices, which are waited for when a network is needed first, with the images read."""
        return self._open.enter_context(take_device(self._settings, self._progress, all_gpus=True))

    def close(self) -> None:
        """Let the next job that waits for a GPU go on."""
        self._open.close()

    def load(self, ids: Sequence[str]) -> _LoadedImages:
        """Prepare images."""
        plan, labelled = self._plan, self._plan.labelled
        wanted = sorted(set(ids))
        paths = dict(zip(labelled.ids, labelled.paths, strict=True))
        pixels = load_images(
            [paths[name] for name in wanted],
            plan.recipe.preparation,
            plan.image_size,
            keys=[plan.keys[name] for name in wanted],
            memory_gib=self._settings.memory_gib,
            workers=plan.workers,
            progress=self._progress,
        )
        return _LoadedImages(pixels, {name: row for row, name in enumerate(wanted)})

    def train(self, item: FoldPlan, images: _LoadedImages) -> Run:
        """Train a fold and write its run."""
        began = time.monotonic()
        job, counts = _job(self._plan, item, images)
        fitted, checkpoint = self._fit(item, job)
        learner = self._ready(item.weights)
        learner.model.set_weights(fitted.weights)
        run = write_finetuned(self._plan, item, learner, fitted, counts, time.monotonic() - began)
        checkpoint.discard()
        return run

    def scores(self, item: FoldPlan, run: Run, images: _LoadedImages) -> NDArray[np.float64]:
        """Score a fold's test set with the head of its trained network.

        Returns
        -------
        ndarray of float64, shape (n, classes)
            Log-odds of each class, test images in the fold's order.
        """
        learner = self._ready(item.weights)
        load_saved(learner.backbone, run.path / BACKBONE_FILE)
        load_saved(learner.head, run.path / HEAD_FILE)
        subset = _subset(self._plan.labelled, images, item.fold.test)
        logits = learner.predict(subset, self._plan.workers)
        self._taken.allocated()
        return _log_odds(logits)

    def _ready(self, weights: Weights) -> Learner:
        """Return the network with the given initial weights."""
        wanted = self._taken.device
        compiled, inputs = self._compiled, self._inputs()
        if compiled.inputs != inputs:
            compiled.clear()
        learner: Learner | None = compiled.learner
        if learner is not None and compiled.started_from == weights.digest:
            return learner
        if not make_deterministic():
            self._progress.say(
                "warning: this training is not bitwise reproducible, since TensorFlow was used before in this process; "
                "set TF_NUM_INTEROP_THREADS=1 before the process starts"
            )
        if learner is None and (slow := slow_training(wanted)):
            self._progress.say(f"warning: {slow}")
        devices = find_devices(self._recipe.micro_batch, wanted)
        with devices.scope(), precision(self._recipe.precision):
            model = build_backbone(self._plan.backbone, weights, self._plan.image_size)
        if learner is None:
            classes, steps = len(self._plan.classes), self._plan.steps
            learner = Learner(model, classes, self._recipe, steps, devices)
        else:
            learner.start_from(model.get_weights())
        compiled.inputs, compiled.learner, compiled.started_from = inputs, learner, weights.digest
        return learner

    def _inputs(self) -> str:
        """Return a digest of everything that a network is compiled for."""
        plan = self._plan
        networks = [plan.backbone.name, plan.image_size, len(plan.classes), plan.steps, self._recipe]
        return digest([*networks, str(self._taken.device)])

    def _log_folder(self, item: FoldPlan) -> Path | None:
        if self._settings.tensorboard is None:
            return None
        record = item.record
        return run_folder(self._settings.tensorboard, record.arm, record.task, record.protocol, record.fold)

    def _fit(self, item: FoldPlan, job: FoldTraining) -> tuple[FittedFold, Checkpoint]:
        """Train; where device memory runs out, halve the micro-batch and start again."""
        while True:
            checkpoint = Checkpoint(item.checkpoint_folder, digest([item.record.id, self._recipe.accumulate]))
            try:
                with open_log(self._log_folder(item)) as log:
                    learner, allocated = self._ready(item.weights), self._taken.allocated
                    return fit(learner, job, checkpoint, self._progress, log, allocated), checkpoint
            except Exception as error:
                if not memory_error(error) or self._recipe.micro_batch == 1:
                    raise
            self._compiled.clear()
            self._recipe = _halved(self._recipe)
            self._progress.say(
                f"out of memory: restarting with micro-batches of {self._recipe.micro_batch} images, "
                f"{self._recipe.accumulate} for each batch of {self._recipe.batch_size}"
            )


@dataclass(frozen=True)
class _LoadedImages:
    pixels: TrainingImages
    rows: Mapping[str, int]


def _halved(recipe: TrainingRecipe) -> TrainingRecipe:
    """Split batches into at least twice as many micro-batches of equal size."""
    numbers = range(2 * recipe.accumulate, recipe.batch_size + 1)
    accumulate = next(number for number in numbers if recipe.batch_size % number == 0)
    return dataclasses.replace(recipe, accumulate=accumulate)


def _job(plan: FinetunePlan, item: FoldPlan, images: _LoadedImages) -> tuple[FoldTraining, dict[str, Any]]:
    """Split a validation set off a fold's training set, by group; return also the counts for the record."""
    labelled, recipe, names = plan.labelled, plan.recipe, item.fold.train
    at = _positions(labelled, names)
    groups = merged_groups(labelled.groups[at], [plan.keys[name] for name in names])
    seed = int(digest({"seed": plan.seed, "fold": item.fold.name})[:7], 16)
    fitted, held = np.arange(len(at)), np.arange(0)
    if recipe.validation:
        fitted, held = validation_split(labelled.targets[at], groups, held_out=recipe.validation, seed=seed)
    train, validation = (_subset(labelled, images, [names[row] for row in rows]) for rows in (fitted, held))
    final = final_weights(recipe, labelled.task.name, labelled.task.classes)
    counts = {"train": _counts(labelled, train), "validation": _counts(labelled, validation)}
    job = FoldTraining(item.fold.name, train, validation, final, seed, plan.workers)
    return job, {**counts, "left_out": labelled.left_out, "groups": len(set(groups.tolist()))}


def _subset(labelled: Labelled, images: _LoadedImages, ids: Sequence[str]) -> ImageSubset:
    rows = np.array([images.rows[name] for name in ids], np.int64)
    targets = labelled.targets[_positions(labelled, ids)]
    return ImageSubset(images.pixels, rows, targets, tuple(ids), len(labelled.task.classes))


def _positions(labelled: Labelled, ids: Sequence[str]) -> NDArray[np.int64]:
    place = {name: index for index, name in enumerate(labelled.ids)}
    return np.array([place[name] for name in ids], np.int64)


def _counts(labelled: Labelled, subset: ImageSubset) -> dict[str, int]:
    numbers = np.bincount(subset.targets, minlength=subset.classes)
    return dict(zip(labelled.task.classes, numbers.tolist(), strict=True))


def _log_odds(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn logits into log(p / (1 - p)) of every class; in two classes, their difference."""
    columns = range(logits.shape[1])
    others = [np.logaddexp.reduce(np.delete(logits, column, axis=1), axis=1) for column in columns]
    odds: NDArray[np.float64] = logits - np.stack(others, axis=1)
    return odds
