"""The training of one fold: epochs, validation, choice of the epoch, checkpoints."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import TrainingError, listing
from featx.finetuning.checkpoint import Checkpoint, Progressed
from featx.finetuning.learner import Learner, learning_rate
from featx.finetuning.sampling import Part, draw_epoch, training_batches
from featx.finetuning.tensorboard_log import Board
from featx.finetuning.training_recipe import TrainingRecipe
from featx.progress import Progress
from featx.stats import fold_auc

if TYPE_CHECKING:
    from featx.finetuning.learner import Learner

__all__ = ["Fitted", "FoldTraining", "Kept", "fit", "softmax", "validation_scores"]


@dataclass(frozen=True)
class FoldTraining:
    """What one fold trains on.

    Attributes
    ----------
    name : str
        Fold, for messages.
    train, validation : Part
        The parts; the validation part may be empty.
    final : ndarray of float64, shape (classes,)
        What `featx.finetuning.sampling.final_weights` returned.
    seed : int
        Seed of all chance in the fold.
    workers : int
        Threads that prepare batches.
    """

    name: str
    train: Part
    validation: Part
    final: NDArray[np.float64]
    seed: int
    workers: int


@dataclass(frozen=True)
class Fitted:
    """What came out of the training of one fold.

    Attributes
    ----------
    weights : list of ndarray
        The network's weights at the best epoch.
    best_epoch : int
        From 1, head epochs counted.
    history : tuple of dict
        A row for each epoch with the columns of `featx.finetuning.trainer.HISTORY`.
    images_per_second : tuple of float
        Training speed of each epoch that this process ran.
    resumed : int
        Epochs taken over from a checkpoint.
    """

    weights: list[NDArray[Any]]
    best_epoch: int
    history: tuple[dict[str, Any], ...]
    images_per_second: tuple[float, ...]
    resumed: int


def fit(
    learner: Learner,
    job: FoldTraining,
    checkpoint: Checkpoint,
    progress: Progress,
    board: Board | None = None,
) -> Fitted:
    """Train one fold.

    Parameters
    ----------
    learner : Learner
        The network; it is set back first.
    job : Job
        What to train on.
    checkpoint : Checkpoint
        Where the state is kept after every epoch, and taken up from.
    progress : Progress
        Receiver of progress; a line an epoch is said.
    board : Board, optional
        Receiver of every epoch's numbers.

    Returns
    -------
    Fitted
        The weights of the best epoch and the history.

    Raises
    ------
    TrainingError
        If the loss stops being a finite number; the message names the batch's images.
    """
    recipe = learner.recipe
    epochs = recipe.head_epochs + recipe.epochs
    learner.reset(job.seed)
    done = checkpoint.load() or Progressed()
    resumed, speeds = done.epoch, []
    if resumed:
        learner.restore(done.arrays)
        progress.say(f"{job.name}: going on after epoch {resumed}")
    images = len(draw_epoch(job.train, recipe, job.final, job.seed, 0))
    progress.start(f"fold {job.name}", (epochs - resumed) * images)
    try:
        while done.epoch < epochs and not _ended(done, recipe):
            began = time.monotonic()
            row = _epoch(learner, job, done.epoch, progress.advance)
            speeds.append(images / (time.monotonic() - began))
            _judge(learner, job, done, row)
            done.arrays = learner.state()
            checkpoint.save(done)
            if board:
                board.write(row, speeds[-1])
            left = (epochs - done.epoch) * (time.monotonic() - began)
            progress.say(_line(job.name, row, epochs, speeds[-1], left))
    finally:
        progress.finish()
    return Fitted(done.best, done.best_epoch, tuple(done.history), tuple(speeds), resumed)


def _ended(done: Progressed, recipe: TrainingRecipe) -> bool:
    """Tell whether the validation metric has not become better for too long."""
    return bool(recipe.patience and done.best_epoch and done.epoch - done.best_epoch >= recipe.patience)


def _epoch(learner: Learner, job: FoldTraining, epoch: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Train for an epoch; return the row of the history without the validation."""
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
                f"fold {job.name}, epoch {epoch + 1}: the loss became {losses[-1]} with the images "
                f"{listing(batch.ids, 64)}; look at these, lower --learning-rate, or use --precision float32"
            )
        advance(len(batch.ids))
    phase = "head" if head else "all"
    return {"epoch": epoch + 1, "phase": phase, "learning_rate": rate, "loss": float(np.mean(losses))}


def _judge(learner: Learner, job: FoldTraining, done: Progressed, row: dict[str, Any]) -> None:
    """Validate, complete the row, and keep the weights if they are the best so far.

    Epochs of the head alone are shown but not chosen, since their features are the ones that training set out
    from; unless there are no others.
    """
    weights = learner.weights()
    if len(job.validation):
        raw = learner.raw_weights()
        learner.model.set_weights(weights)
        row["validation_loss"], row["validation_auc"] = validation_scores(
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


def _better(row: dict[str, Any], done: Progressed, metric: str) -> bool:
    """Compare an epoch with the best so far: by the metric, then by loss; without validation the later wins."""
    if not done.best_epoch or row["validation_loss"] is None:
        return True
    return _merit(row, metric) > _merit(done.history[done.best_epoch - 1], metric)


def _merit(row: dict[str, Any], metric: str) -> tuple[float, float]:
    auc = row["validation_auc"] if metric == "auc" and row["validation_auc"] is not None else 0.0
    return (auc, -row["validation_loss"])


def validation_scores(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> tuple[float, float | None]:
    """Score predictions.

    Parameters
    ----------
    logits : ndarray of float64, shape (n, classes)
        The head's outputs.
    targets : ndarray of int64, shape (n,)
        Classes.

    Returns
    -------
    loss : float
        Mean cross-entropy in nats.
    auc : float or None
        Area under the ROC curve, macro average of one-vs-rest for more than two classes; None if a class is
        missing.

    Examples
    --------
    >>> loss, auc = validation_scores(np.array([[2.0, 0.0], [0.0, 2.0]]), np.array([0, 1]))
    >>> round(loss, 3), auc
    (0.127, 1.0)
    """
    chances = softmax(logits)
    loss = float(-np.mean(np.log(np.maximum(chances[np.arange(len(targets)), targets], 1e-30))))
    scores = logits[:, 1] - logits[:, 0] if logits.shape[1] == 2 else chances
    auc = fold_auc(targets, scores)
    return loss, None if math.isnan(auc) else float(auc)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn the head's outputs into shares that sum to one.

    Parameters
    ----------
    logits : ndarray of float64, shape (n, classes)
        The head's outputs.

    Returns
    -------
    ndarray of float64, shape (n, classes)
        Shares.

    Examples
    --------
    >>> softmax(np.zeros((1, 2))).tolist()
    [[0.5, 0.5]]
    """
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = raised / raised.sum(axis=1, keepdims=True)
    return shares


def _line(fold: str, row: dict[str, Any], epochs: int, speed: float, left: float) -> str:
    validation = ""
    if row["validation_loss"] is not None:
        auc = "-" if row["validation_auc"] is None else f"{row['validation_auc']:.3f}"
        validation = (
            f", validation loss {row['validation_loss']:.3f} AUC {auc}{' (best)' if row['best'] else ''}"
        )
    return (
        f"fold {fold} epoch {row['epoch']}/{epochs} ({row['phase']}): rate {row['learning_rate']:.2g}, "
        f"loss {row['loss']:.3f}{validation}, {speed:.0f} images/s, {left:.0f} s left"
    )


@dataclass
class Kept:
    """The network compiled last.

    Compiling takes seconds and tracing more, so the folds of a protocol, and arms of equal recipe, share one
    network; weights, optimizers and chance are set anew for each.

    Attributes
    ----------
    needs : str
        Digest of what the network was compiled for; empty if there is none.
    learner : Learner or None
        The network.
    started_from : str
        Digest of the weights that it starts from.
    """

    needs: str = ""
    learner: Learner | None = None
    started_from: str = ""

    def clear(self) -> None:
        """Let the network go."""
        if self.learner is None:
            return
        self.needs, self.learner, self.started_from = "", None, ""
        # Keras' models are full of cycles: without this, several networks of one process pile up.
        gc.collect()
