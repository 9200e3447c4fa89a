"""A network in training: built and compiled once, reset for each fold; its optimizers and learning-rate schedule.

Any backend of Keras: Keras models, `train_on_batch` and `predict_on_batch`. Imported late, since it imports keras.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .devices import Devices
from .sampling import ImageBatch, ImageSubset, evaluation_batches
from .training_recipe import TrainingRecipe

__all__ = ["Learner", "learning_rate", "precision", "rate_factors"]

Array = NDArray[Any]
_SHORTEST_HORIZON = 10  # steps of the averages of batch normalisation, however short an epoch is
_HEAD, _TORCH = 3, 4  # random streams; 0 to 2 are in featx.finetuning.sampling


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build layers under a dtype policy, and restore the previous one."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class Learner:
    """A backbone with a linear head, its optimizers, and everything that training changes.

    While only the head is trained, it is a model of its own on the backbone's predictions, so that no gradient is
    computed in the backbone.

    Parameters
    ----------
    backbone : keras.Model
        From images to features of shape (n, width); holds the initial weights.
    steps : int
        Optimizer steps in an epoch, for the EMA horizon.
    devices : Devices, optional
        What to train on; the backbone has to be built in its scope.
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
            _limit_normalisation_horizon(backbone, steps * recipe.accumulate)
        if recipe.l2:
            _add_l2(self.model, recipe.l2)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
        factors = rate_factors(backbone, self.model, recipe)
        jit = "auto" if recipe.jit is None else recipe.jit
        self.model.compile(_make_optimizer(recipe, self.model, factors, steps), loss, jit_compile=jit)
        self.head.compile(_make_head_optimizer(recipe, self.head), loss, jit_compile=jit)
        # With mixed_float16 Keras has put a loss-scaling optimizer around each.
        self._optimizer, self._head_optimizer = self.model.optimizer, self.head.optimizer
        self._optimizer.build(self.model.trainable_variables)
        self._head_optimizer.build(self.head.trainable_variables)
        if self._devices.count > 1:
            self._prepare_losses(classes)

    def _prepare_losses(self, classes: int) -> None:
        """Let Keras build its losses on whole arrays, which it cannot do on arrays that are split over devices."""
        for model in (self.model, self.head):
            rows = np.zeros((self._devices.count, *model.input_shape[1:]), np.float32)
            model.test_on_batch(
                rows, np.ones((len(rows), classes), np.float32), np.ones(len(rows), np.float32)
            )

    def reset(self, seed: int) -> None:
        """Restore the initial weights and optimizers, and set the random states from a seed."""
        self.restore(self._start)
        kernel = self.head.get_layer("logits").kernel
        kernel.assign(_glorot(kernel.shape, seed))
        for number, variable in enumerate(self._random_states()):
            variable.assign(np.array([seed, number << 20]).astype(variable.dtype))

    def begin_epoch(self, seed: int, epoch: int) -> None:
        """Seed the random generators outside the network, so that an epoch depends on nothing before it."""
        if keras.backend.backend() == "torch":
            import torch

            # Dropout layers without a seed, as in published architectures, draw from this generator.
            torch.manual_seed(int(np.random.default_rng([seed, _TORCH, epoch]).integers(2**31)))

    def start_from(self, weights: Sequence[Array]) -> None:
        """Replace the initial weights of the backbone, given as its `get_weights` returns them."""
        self.restore(self._start)
        self.backbone.set_weights(list(weights))
        self._start = self.state()

    def state(self) -> list[Array]:
        """Return everything that training changes, as arrays."""
        # Copied, since under some backends an array shares its memory with the variable.
        return [np.array(keras.ops.convert_to_numpy(variable)) for variable in self._variables()]

    def restore(self, state: Sequence[Array]) -> None:
        """Restore what `state` returned."""
        for variable, value in zip(self._variables(), state, strict=True):
            variable.assign(value)

    def weights(self) -> list[Array]:
        """Return the weights that a run stores: the EMA of the weights, if the recipe has one."""
        raw = self.raw_weights()
        if not self.recipe.ema_epochs or not int(self._optimizer.iterations):
            return raw
        self._optimizer.finalize_variable_values(self.model.trainable_variables)
        averaged = self.raw_weights()
        self.model.set_weights(raw)
        return averaged

    def raw_weights(self) -> list[Array]:
        """Return the weights of the last step, without EMA."""
        return [np.array(value) for value in self.model.get_weights()]

    def train(self, batch: ImageBatch, rate: float) -> float:
        """Take one optimizer step with all layers."""
        self._optimizer.learning_rate = rate
        parts = _micro_batches(batch, self.recipe.micro_batch)
        with self._devices.scope():
            losses = [
                self.model.train_on_batch(*self._devices.split(part), return_dict=True)["loss"]
                for part in parts
            ]
        return float(np.mean(losses))

    def train_head(self, batch: ImageBatch, rate: float) -> float:
        """Take one optimizer step with the head alone; as `train`."""
        self._head_optimizer.learning_rate = rate
        parts = _micro_batches(batch, self.recipe.micro_batch)
        features = np.concatenate([self._run(self.backbone, part[0]) for part in parts])
        with self._devices.scope():
            arrays = self._devices.split((features, batch.labels, batch.weights))
            return float(self.head.train_on_batch(*arrays, return_dict=True)["loss"])

    def predict(self, subset: ImageSubset, workers: int) -> NDArray[np.float64]:
        """Return the logits of images, of shape (n, classes)."""
        batches = evaluation_batches(subset, self.recipe.micro_batch, workers=workers)
        logits = [self._run(self.model, batch.images) for batch in batches]
        return np.concatenate(logits)[: len(subset)].astype(np.float64)

    def _run(self, model: keras.Model, images: Array) -> Array:
        # With several replicas of the network, each predicts the whole batch; the first is used.
        with self._devices.scope():
            return np.asarray(model.predict_on_batch(images), np.float32)[: len(images)]

    def _variables(self) -> list[Any]:
        optimizers = [*self._optimizer.variables, *self._head_optimizer.variables]
        return [*self.model.weights, *self._random_states(), *optimizers]

    def _random_states(self) -> list[Any]:
        """Return the states of the network's random generators, such as those of dropout."""
        weights = {id(variable) for variable in self.model.weights}
        others = (variable for variable in self.model.non_trainable_variables if id(variable) not in weights)
        return [variable for variable in others if "seed_generator" in variable.path]


def _head(width: int, classes: int, dropout: float) -> keras.Model:
    features = keras.Input((width,), name="features")
    # With a seed, the layer has a generator of its own under torch too; `reset` sets its state.
    kept = keras.layers.Dropout(dropout, seed=0, name="dropout")(features)
    # float32 whatever the policy: a softmax in 16 bits is too coarse.
    dense = keras.layers.Dense(classes, dtype="float32", name="logits")
    return keras.Model(features, dense(kept), name="head")


def _glorot(shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """Draw a kernel by the scheme of Glorot & Bengio 2010, the same under every backend."""
    limit = math.sqrt(6 / sum(shape))
    return np.random.default_rng([seed, _HEAD]).uniform(-limit, limit, shape).astype(np.float32)


def _layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _freeze_normalisation(backbone: keras.Model) -> None:
    """Freeze batch-norm statistics; in Keras, `trainable = False` sets the layer to inference mode."""
    for layer in _layers(backbone):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _limit_normalisation_horizon(backbone: keras.Model, steps: int) -> None:
    """Limit the horizon of batch-norm's moving averages to an epoch.

    Published networks average over a thousand steps, which is longer than a training on a small data set: inference
    would still use the initial statistics.
    """
    shortest = math.exp(-1 / max(steps, _SHORTEST_HORIZON))
    for layer in _layers(backbone):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = min(layer.momentum, shortest)


def _add_l2(model: keras.Model, strength: float) -> None:
    exempt = {id(variable) for variable in _vectors(model)}
    for variable in model.trainable_variables:
        if id(variable) not in exempt:
            variable.regularizer = keras.regularizers.L2(strength)


def _micro_batches(batch: ImageBatch, size: int) -> list[tuple[Array, Array, Array]]:
    places = range(0, len(batch.images), size)
    return [
        (batch.images[at : at + size], batch.labels[at : at + size], batch.weights[at : at + size])
        for at in places
    ]


def _vectors(model: keras.Model) -> list[Any]:
    """Return biases and the scales and shifts of normalisation layers, which are not regularised."""
    return [variable for variable in model.trainable_variables if len(variable.shape) < 2]


def rate_factors(backbone: keras.Model, model: keras.Model, recipe: TrainingRecipe) -> tuple[float, ...]:
    """Return the factor of the learning rate of each trainable variable: geometric from the first layer to the head.

    Layers inside of others, such as the blocks of a transformer, count as layers.
    """
    owners: dict[str, int] = {}
    depth = {}
    for variable in backbone.trainable_variables:
        depth[id(variable)] = owners.setdefault(variable.path.rpartition("/")[0], len(owners))
    exponents = [1 - depth.get(id(v), len(owners)) / max(len(owners), 1) for v in model.trainable_variables]
    return tuple(recipe.first_layer_share**exponent for exponent in exponents)


def _make_optimizer(
    recipe: TrainingRecipe, model: keras.Model, factors: tuple[float, ...], steps: int
) -> keras.optimizers.Optimizer:
    bases = {"adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}
    specific: dict[str, dict[str, Any]] = {
        "adamw": {"weight_decay": recipe.weight_decay},
        "sgd": {"momentum": recipe.momentum, "nesterov": recipe.nesterov},
    }
    base = bases[recipe.optimizer]
    maker = base if set(factors) == {1.0} else _layerwise(base, factors)
    optimizer = maker(
        learning_rate=float(recipe.learning_rate),
        global_clipnorm=recipe.clip_norm or None,
        gradient_accumulation_steps=recipe.accumulate if recipe.accumulate > 1 else None,
        use_ema=recipe.ema_epochs > 0,
        ema_momentum=_ema_momentum(recipe, steps),
        name="optimizer",
        **specific[recipe.optimizer],
    )
    optimizer.exclude_from_weight_decay(_vectors(model))
    return optimizer


def _ema_momentum(recipe: TrainingRecipe, steps: int) -> float:
    """Return the momentum of the EMA; Keras averages after every micro-batch."""
    horizon = recipe.ema_epochs * steps * recipe.accumulate
    return math.exp(-1 / horizon) if horizon else 0.0


def _layerwise(base: type[Any], factors: tuple[float, ...]) -> type[Any]:
    """Derive an optimizer with a factor of the learning rate for each variable."""

    class Layerwise(base):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            factor = factors[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * factor)

    return Layerwise


def _make_head_optimizer(recipe: TrainingRecipe, head: keras.Model) -> keras.optimizers.Optimizer:
    """Make the optimizer of the epochs in which only the head is trained."""
    optimizer = keras.optimizers.AdamW(
        learning_rate=float(recipe.head_learning_rate),
        weight_decay=recipe.weight_decay,
        name="head_optimizer",
    )
    optimizer.exclude_from_weight_decay(_vectors(head))
    return optimizer


def learning_rate(recipe: TrainingRecipe, step: int, steps: int, epochs: int, highest: float) -> float:
    """Return the learning rate of one optimizer step.

    Linear warm-up, whose first step is above 0, then constant or half a cosine (Loshchilov & Hutter 2017,
    without restarts); equal to `keras.optimizers.schedules.CosineDecay` with a warm-up.

    Examples
    --------
    >>> recipe = TrainingRecipe(warmup_epochs=1, final_share=0)
    >>> [round(learning_rate(recipe, step, 2, 3, 1.0), 2) for step in range(6)]
    [0.33, 0.67, 1.0, 0.85, 0.5, 0.15]
    """
    total = steps * epochs
    # At most half of the training is warm-up.
    warmup = min(recipe.warmup_epochs * steps, total / 2)
    if step < warmup:
        return highest * (step + 1) / (warmup + 1)
    if recipe.schedule == "constant":
        return highest
    progress = min((step - warmup) / (total - warmup), 1.0)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return highest * ((1 - recipe.final_share) * cosine + recipe.final_share)
