"""Learning rates over the steps of a training.

The rate is computed here and assigned to the optimizer before each step, rather than built into it as a Keras
schedule: one compiled training step then serves folds of different lengths.
"""

from __future__ import annotations

import math

from .recipe import TrainingRecipe

__all__ = ["learning_rate"]


def learning_rate(recipe: TrainingRecipe, step: int, steps: int, epochs: int, highest: float) -> float:
    """Return the learning rate of one optimizer step.

    Linear warm-up, whose first step is above 0, then constant or half a cosine (Loshchilov & Hutter 2017,
    without restarts); equal to `keras.optimizers.schedules.CosineDecay` with a warm-up.

    Parameters
    ----------
    recipe : TrainingRecipe
        Its `schedule`, `warmup_epochs` and `final_share` are used.
    step : int
        Optimizer step, from 0.
    steps : int
        Optimizer steps in an epoch.
    epochs : int
        Epochs that the schedule lasts.
    highest : float
        Rate at the end of the warm-up.

    Returns
    -------
    float
        The rate.

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
