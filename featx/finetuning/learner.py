"""A network under training: built and compiled once, then set back for each fold.

Backend agnostic: Keras models, `train_on_batch` and `predict_on_batch`. Imported late, since it imports keras.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from featx.errors import TrainingError, listing
from featx.finetuning.checkpoint import Checkpoint, Progressed
from featx.finetuning.devices import Devices
from featx.finetuning.optimization import (
    learning_rate,
    make_head_optimizer,
    make_optimizer,
    rate_shares,
    vectors,
)
from featx.finetuning.sampling import ImageBatch, Part, draw_epoch, evaluation_batches, training_batches
from featx.finetuning.tensorboard_log import Board
from featx.finetuning.training_recipe import TrainingRecipe
from featx.progress import Progress
from featx.stats import fold_auc

__all__ = ["Fitted", "FoldTraining", "Kept", "Learner", "fit", "precision", "softmax", "validation_scores"]


Array = NDArray[Any]


_SETTLING = 10  # steps over which statistics are averaged at least, whatever the epoch


_HEAD, _TORCH = 3, 4  # streams of chance, behind those of sampling and batches


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build layers under a dtype policy, and put the old one back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Learner:
    """A backbone with a linear head, its optimizers, and everything that training changes.

    Parameters
    ----------
    backbone : keras.Model
        From images to features of shape (n, width); holds the weights to start from.
    steps : int
        Optimizer steps in an epoch, for the reach of the moving average.
    devices : Devices, optional
        What to train on; the backbone has to be built in its scope.

    Notes
    -----
    While only the head trains, it learns as a model of its own from the backbone's predictions: no gradient is
    computed below.
    """

    def __init__(
        self,
        backbone: keras.Model,
        classes: int,
        recipe: TrainingRecipe,
        steps: int,
        devices: Devices | None = None,
    ) -> None:
        self.backbone, self.recipe, self._devices = backbone, recipe, devices or Devices()
        with self._devices.scope():
            self._build(classes, steps)
        self._start = self.state()

    def _build(self, classes: int, steps: int) -> None:
        backbone, recipe = self.backbone, self.recipe
        width = int(backbone.output_shape[-1])
        with precision(recipe.precision):
            self.head = _head(width, classes, recipe.dropout)
            images = keras.Input(backbone.input_shape[1:], dtype="float32", name="images")
            self.model = keras.Model(images, self.head(backbone(images)), name="classifier")
        if recipe.batch_norm == "frozen":
            _freeze_normalisation(backbone)
        else:
            _hasten_normalisation(backbone, steps * recipe.accumulate)
        if recipe.l2:
            _penalise(self.model, recipe.l2)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
        shares = rate_shares(backbone, self.model, recipe)
        jit = "auto" if recipe.jit is None else recipe.jit
        self.model.compile(make_optimizer(recipe, self.model, shares, steps), loss, jit_compile=jit)
        self.head.compile(make_head_optimizer(recipe, self.head), loss, jit_compile=jit)
        # With mixed_float16 Keras has put a loss-scaling optimizer around each.
        self._optimizer, self._head_optimizer = self.model.optimizer, self.head.optimizer
        self._optimizer.build(self.model.trainable_variables)
        self._head_optimizer.build(self.head.trainable_variables)
        if self._devices.count > 1:
            self._prepare_losses(classes)

    def _prepare_losses(self, classes: int) -> None:
        """Let Keras build its losses on whole arrays, which it cannot do on shares of several devices."""
        for model in (self.model, self.head):
            rows = np.zeros((self._devices.count, *model.input_shape[1:]), np.float32)
            model.test_on_batch(
                rows, np.ones((len(rows), classes), np.float32), np.ones(len(rows), np.float32)
            )

    def reset(self, seed: int) -> None:
        """Go back to the weights to start from, fresh optimizers, and the chance of a seed."""
        self.restore(self._start)
        kernel = self.head.get_layer("logits").kernel
        kernel.assign(_glorot(kernel.shape, seed))
        for number, variable in enumerate(self._chance()):
            variable.assign(np.array([seed, number << 20]).astype(variable.dtype))

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Seed what no state of the network decides, so that an epoch depends on nothing before it."""
        if keras.backend.backend() == "torch":
            import torch

            # Dropout that was built without a seed, as in published architectures, draws from this generator.
            torch.manual_seed(int(np.random.default_rng([seed, _TORCH, epoch]).integers(2**31)))

    def start_from(self, weights: Sequence[Array]) -> None:
        """Take other weights of the backbone to start from.

        Parameters
        ----------
        weights : sequence of ndarray
            As the backbone's `get_weights` returns them.
        """
        self.restore(self._start)
        self.backbone.set_weights(list(weights))
        self._start = self.state()

    def state(self) -> list[Array]:
        """Return everything that training changes, as arrays."""
        # Copied, since under some backends an array shares its memory with the variable.
        return [np.array(keras.ops.convert_to_numpy(variable)) for variable in self._variables()]

    def restore(self, state: Sequence[Array]) -> None:
        """Put back what `state` returned."""
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def weights(self) -> list[Array]:
        """Return the network's weights as a run keeps them: averaged, if the recipe says so."""
        raw = self.raw_weights()
        if not self.recipe.ema_epochs or not int(self._optimizer.iterations):
            return raw
        self._optimizer.finalize_variable_values(self.model.trainable_variables)
        averaged = self.raw_weights()
        self.model.set_weights(raw)
        return averaged

    def raw_weights(self) -> list[Array]:
        """Return the network's weights as they are at this step."""
        return [np.array(value) for value in self.model.get_weights()]

    def train(self, batch: ImageBatch, rate: float) -> float:
        """Take one optimizer step with all layers."""
        self._optimizer.learning_rate = rate
        parts = _cut(batch, self.recipe.micro_batch)
        with self._devices.scope():
            losses = [
                self.model.train_on_batch(*self._devices.spread(part), return_dict=True)["loss"]
                for part in parts
            ]
        return float(np.mean(losses))

    def train_head(self, batch: ImageBatch, rate: float) -> float:
        """Take one optimizer step with the head alone; as `train`."""
        self._head_optimizer.learning_rate = rate
        parts = _cut(batch, self.recipe.micro_batch)
        features = np.concatenate([self._run(self.backbone, part[0]) for part in parts])
        with self._devices.scope():
            shares = self._devices.spread((features, batch.labels, batch.weights))
            return float(self.head.train_on_batch(*shares, return_dict=True)["loss"])

    def predict(self, part: Part, workers: int) -> NDArray[np.float64]:
        """Run the network over a part.

        Returns
        -------
        ndarray of float64, shape (n, classes)
            The head's outputs before the softmax.
        """
        batches = evaluation_batches(part, self.recipe.micro_batch, workers=workers)
        logits = [self._run(self.model, batch.images) for batch in batches]
        return np.concatenate(logits)[: len(part)].astype(np.float64)

    def _run(self, model: keras.Model, images: Array) -> Array:
        # With several copies of the network each predicts the whole batch; the first will do.
        with self._devices.scope():
            return np.asarray(model.predict_on_batch(images), np.float32)[: len(images)]

    def _variables(self) -> list[Any]:
        optimizers = [*self._optimizer.variables, *self._head_optimizer.variables]
        return [*self.model.weights, *self._chance(), *optimizers]

    def _chance(self) -> list[Any]:
        """Return the states of the network's random generators."""
        weights = {id(variable) for variable in self.model.weights}
        others = (variable for variable in self.model.non_trainable_variables if id(variable) not in weights)
        return [variable for variable in others if "seed_generator" in variable.path]


def _head(width: int, classes: int, dropout: float) -> keras.Model:
    features = keras.Input((width,), name="features")
    # Without a seed of its own, torch draws from its global generator; `reset` sets the state of this one.
    kept = keras.layers.Dropout(dropout, seed=0, name="dropout")(features)
    # float32 whatever the policy: the softmax of sixteen bits is too coarse.
    dense = keras.layers.Dense(classes, dtype="float32", name="logits")
    return keras.Model(features, dense(kept), name="head")


def _glorot(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Draw a kernel as Glorot & Bengio 2010, the same under every backend."""
    limit = math.sqrt(6 / sum(shape))
    return np.random.default_rng([seed, _HEAD]).uniform(-limit, limit, shape).astype(np.float32)


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _freeze_normalisation(backbone: keras.Model) -> None:
    """Keep batch normalisation in inference mode, which `trainable = False` means for it in Keras."""
    for layer in _layers(backbone):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _hasten_normalisation(backbone: keras.Model, steps: int) -> None:
    """Let the statistics of batch normalisation reach back an epoch at most.

    Published networks average them over a thousand steps, which on small data is longer than the training: what
    is applied to new images would still be what the statistics began with.
    """
    shortest = math.exp(-1 / max(steps, _SETTLING))
    for layer in _layers(backbone):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, shortest)


def _penalise(model: keras.Model, strength: float) -> None:
    spared = {id(variable) for variable in vectors(model)}
    for variable in model.trainable_variables:
        if id(variable) not in spared:
            variable.regularizer = keras.regularizers.L2(strength)


def _cut(batch: ImageBatch, size: int) -> list[tuple[Array, Array, Array]]:
    places = range(0, len(batch.images), size)
    return [
        (batch.images[at : at + size], batch.labels[at : at + size], batch.weights[at : at + size])
        for at in places
    ]


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
    """Train one fold."""
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
