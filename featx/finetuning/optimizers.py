"""Optimizers of a recipe: layer-wise rates, what decays and what does not, moving averages.

Imported late, since it imports keras.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from .recipe import TrainingRecipe

__all__ = ["make_head_optimizer", "make_optimizer", "rate_shares", "vectors"]


def vectors(model: keras.Model) -> list[Any]:
    """Return biases and the scales and shifts of normalisation layers, which are never drawn to zero.

    Parameters
    ----------
    model : keras.Model
        A network.

    Returns
    -------
    list of keras.Variable
        Those that are trained and have one axis.
    """
    return [variable for variable in model.trainable_variables if len(variable.shape) < 2]


def rate_shares(backbone: keras.Model, model: keras.Model, recipe: TrainingRecipe) -> tuple[float, ...]:
    """Return each trainable variable's share of the learning rate: geometric from the first layer to the head.

    Layers inside of others, such as the blocks of a transformer, count for themselves.

    Parameters
    ----------
    backbone : keras.Model
        The part below the head.
    model : keras.Model
        The whole network.
    recipe : TrainingRecipe
        Says the first layer's share.

    Returns
    -------
    tuple of float
        In the order of the whole network's trainable variables.
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
    """Make the optimizer of a recipe.

    Parameters
    ----------
    recipe : TrainingRecipe
        Which one, and its settings.
    model : keras.Model
        What it trains.
    shares : tuple of float
        What `rate_shares` returned.
    steps : int
        Optimizer steps in an epoch, for the reach of the moving average.

    Returns
    -------
    keras.optimizers.Optimizer
        The optimizer; the learning rate is assigned before each step.
    """
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
    """Make the optimizer of the epochs in which only the head trains.

    Parameters
    ----------
    recipe : TrainingRecipe
        Its settings.
    head : keras.Model
        What it trains.

    Returns
    -------
    keras.optimizers.Optimizer
        AdamW.
    """
    optimizer = keras.optimizers.AdamW(
        learning_rate=float(recipe.head_learning_rate),
        weight_decay=recipe.weight_decay,
        name="head_optimizer",
    )
    optimizer.exclude_from_weight_decay(vectors(head))
    return optimizer
