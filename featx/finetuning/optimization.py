"""Optimizers of a training recipe: learning rates over time and by layer."""

from __future__ import annotations

import math
from typing import Any

import keras

from featx.finetuning.training_recipe import TrainingRecipe

__all__ = ["learning_rate", "make_head_optimizer", "make_optimizer", "rate_shares", "vectors"]


def vectors(model: keras.Model) -> list[Any]:
    """Return biases and the scales and shifts of normalisation layers, which are never drawn to zero."""
    return [variable for variable in model.trainable_variables if len(variable.shape) < 2]


def rate_shares(backbone: keras.Model, model: keras.Model, recipe: TrainingRecipe) -> tuple[float, ...]:
    """Return each trainable variable's share of the learning rate: geometric from the first layer to the head.

    Layers inside of others, such as the blocks of a transformer, count for themselves.
    """
    owners: dict[str, int] = {}
    depth = {}
    for variable in backbone.trainable_variables:
        depth[id(variable)] = owners.setdefault(variable.path.rpartition("/")[0], len(owners))
    exponents = [1 - depth.get(id(v), len(owners)) / max(len(owners), 1) for v in model.trainable_variables]
    return tuple(recipe.first_layer_share**exponent for exponent in exponents)


def make_optimizer(
    recipe: TrainingRecipe, model: keras.Model, shares: tuple[float, ...], steps: int
) -> keras.optimizers.Optimizer:
    """Make the optimizer of a recipe."""
    bases = {"adamw": keras.optimizers.AdamW, "sgd": keras.optimizers.SGD}
    specific: dict[str, dict[str, Any]] = {
        "adamw": {"weight_decay": recipe.weight_decay},
        "sgd": {"momentum": recipe.momentum, "nesterov": recipe.nesterov},
    }
    base = bases[recipe.optimizer]
    maker = base if set(shares) == {1.0} else _layerwise(base, shares)
    optimizer = maker(
        learning_rate=float(recipe.learning_rate),
        global_clipnorm=recipe.clip_norm or None,
        gradient_accumulation_steps=recipe.accumulate if recipe.accumulate > 1 else None,
        use_ema=recipe.ema_epochs > 0,
        ema_momentum=_momentum(recipe, steps),
        name="optimizer",
        **specific[recipe.optimizer],
    )
    optimizer.exclude_from_weight_decay(vectors(model))
    return optimizer


def _momentum(recipe: TrainingRecipe, steps: int) -> float:
    """Return the moving average's momentum; Keras averages after every part of a batch."""
    reach = recipe.ema_epochs * steps * recipe.accumulate
    return math.exp(-1 / reach) if reach else 0.0


def _layerwise(base: type[Any], shares: tuple[float, ...]) -> type[Any]:
    """Derive an optimizer in which every variable has its own share of the learning rate."""

    class Layerwise(base):  # type: ignore[misc]
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            share = shares[self._get_variable_index(variable)]
            super().update_step(gradient, variable, learning_rate * share)

    return Layerwise


def make_head_optimizer(recipe: TrainingRecipe, head: keras.Model) -> keras.optimizers.Optimizer:
    """Make the optimizer of the epochs in which only the head trains."""
    optimizer = keras.optimizers.AdamW(
        learning_rate=float(recipe.head_learning_rate),
        weight_decay=recipe.weight_decay,
        name="head_optimizer",
    )
    optimizer.exclude_from_weight_decay(vectors(head))
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
    # A warm-up longer than half the training would leave nothing to warm up for.
    warmup = min(recipe.warmup_epochs * steps, total / 2)
    if step < warmup:
        return highest * (step + 1) / (warmup + 1)
    if recipe.schedule == "constant":
        return highest
    progress = min((step - warmup) / (total - warmup), 1.0)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return highest * ((1 - recipe.final_share) * cosine + recipe.final_share)
