"""Learning rates over the steps."""

from __future__ import annotations

import pytest

from featx.finetuning.optimization import learning_rate
from featx.finetuning.training_recipe import TrainingRecipe


@pytest.mark.parametrize("warmup", [0.0, 1.0, 2.5])
def test_it_is_the_cosine_of_keras(warmup: float) -> None:
    import keras

    recipe = TrainingRecipe(warmup_epochs=warmup, final_share=0.1)
    steps, epochs, highest = 4, 6, 3e-3
    warm = int(warmup * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        highest / (warm + 1),
        decay_steps=steps * epochs - warm,
        alpha=0.1,
        warmup_target=highest if warm else None,
        warmup_steps=warm,
    )
    for step in range(steps * epochs):
        assert learning_rate(recipe, step, steps, epochs, highest) == pytest.approx(
            float(schedule(step)), rel=1e-4
        )


def test_constant_stays_after_the_warm_up() -> None:
    recipe = TrainingRecipe(schedule="constant", warmup_epochs=1)
    assert [learning_rate(recipe, step, 2, 3, 1.0) for step in range(4)] == pytest.approx(
        [1 / 3, 2 / 3, 1.0, 1.0]
    )


def test_a_long_warm_up_ends_by_half_time() -> None:
    recipe = TrainingRecipe(schedule="constant", warmup_epochs=100)
    assert [learning_rate(recipe, step, 4, 1, 1.0) for step in range(4)] == pytest.approx(
        [1 / 3, 2 / 3, 1.0, 1.0]
    )
