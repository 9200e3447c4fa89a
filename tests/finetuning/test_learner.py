"""A network in training on its own: phases, batch normalisation, optimizers, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest

from featx.finetuning.learner import Learner, learning_rate, rate_factors
from featx.finetuning.sampling import ImageBatch, ImageSubset, training_batches
from featx.finetuning.training_recipe import TrainingRecipe

SIZE, STEPS = 8, 4
Make = Callable[..., Learner]
Batches = Callable[[], Iterator[ImageBatch]]


@pytest.fixture
def batches(recipe: TrainingRecipe, make_subset: Callable[[int, int], ImageSubset]) -> Batches:
    """Give the batches of an epoch of 32 images."""
    return lambda: training_batches(make_subset(32, 0), recipe, np.ones(2), 0, 0)


def test_head_epochs_do_not_change_the_backbone(
    learner: Learner, make_backbone: Callable[[], keras.Model], batches: Batches
) -> None:
    before = [np.array(value) for value in make_backbone().get_weights()]
    learner.reset(0)
    for batch in batches():
        learner.train_head(batch, 1e-2)
    assert all(map(np.array_equal, before, learner.backbone.get_weights()))


def test_batch_norm_is_frozen_and_earlier_layers_change_less(learner: Learner, batches: Batches) -> None:
    learner.reset(0)
    before = {layer.name: [np.array(v) for v in layer.get_weights()] for layer in learner.backbone.layers}
    for batch in batches():
        learner.train(batch, 1e-2)
    after = {layer.name: layer.get_weights() for layer in learner.backbone.layers}
    assert all(map(np.array_equal, before["norm"], after["norm"]))
    moved = {name: float(np.abs(after[name][0] - before[name][0]).mean()) for name in ("first", "second")}
    # AdamW's first steps are about as long as the rate: factors 0.1 and 0.1 ** 0.5.
    assert moved["first"] / moved["second"] == pytest.approx(10**-0.5, rel=0.3)


def test_batch_norm_is_updated_if_the_recipe_says_so(make_learner: Make, batches: Batches) -> None:
    learner = make_learner(batch_norm="train", first_layer_share=1.0, head_epochs=0, epochs=1)
    before = [np.array(value) for value in learner.backbone.get_layer("norm").get_weights()]
    learner.reset(0)
    for batch in batches():
        learner.train(batch, 1e-3)
    norm = learner.backbone.get_layer("norm")
    assert not any(map(np.array_equal, before, norm.get_weights()))
    assert norm.momentum == pytest.approx(math.exp(-1 / 10))


def test_batch_norm_statistics_converge_in_a_short_training(
    make_backbone: Callable[[], keras.Model], recipe: TrainingRecipe, batches: Batches
) -> None:
    """If all activations are 5, the mean with a published momentum of 0.999 would be 0.6 after 128 steps."""
    backbone = make_backbone()
    backbone.get_layer("norm").momentum = 0.999
    backbone.get_layer("first").set_weights([np.zeros((3, 3, 3, 6)), np.full(6, 5.0)])
    learner = Learner(backbone, 2, recipe.with_values({"batch_norm": "train"}), STEPS)
    learner.reset(0)
    batch = next(batches())
    for _ in range(40):
        learner.train(batch, 0.0)
    mean = learner.backbone.get_layer("norm").get_weights()[2]
    assert mean == pytest.approx(np.full(6, 5.0), rel=0.05)


def test_an_xla_step_has_the_loss_of_a_plain_step(
    learner: Learner, make_learner: Make, batches: Batches
) -> None:
    batch = next(batches())
    compiled = make_learner(jit=True)
    assert (learner.model.jit_compile, compiled.model.jit_compile) == (False, True)
    losses = []
    for one in (learner, compiled):
        one.reset(0)
        losses.append([one.train(batch, 5e-3) for _ in range(3)])
    # Dropout differs: each draws in its own way from the same seed.
    assert losses[0] == pytest.approx(losses[1], abs=0.2)
    assert losses[1][0] != losses[1][1]


def test_layers_inside_a_layer_have_learning_rates_of_their_own(recipe: TrainingRecipe) -> None:
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Reshape((SIZE * SIZE, 3))(pixels)
    x = keras.layers.MultiHeadAttention(1, 2, name="block")(x, x)
    backbone = keras.Model(pixels, keras.layers.GlobalAveragePooling1D()(x))
    learner = Learner(backbone, 2, recipe, STEPS)
    factors = rate_factors(backbone, learner.model, recipe)
    query, output = factors[0], factors[len(backbone.trainable_variables) - 1]
    assert (query, factors[-1]) == (recipe.first_layer_share, 1.0)
    assert query < output < 1.0


def test_gradients_of_micro_batches_add_up(make_learner: Make, batches: Batches) -> None:
    """Four micro-batches make the step of the whole batch."""
    results = []
    for accumulate in (1, 4):
        learner = make_learner(accumulate=accumulate, dropout=0.0)
        learner.reset(0)
        losses = [learner.train(batch, 5e-3) for batch in batches()]
        results.append((losses, learner.weights(), learner.model.get_weights()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4)
    for one, other in zip(results[0][2], results[1][2], strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_weights_are_an_average_and_training_goes_on_from_the_last_step(
    learner: Learner, batches: Batches
) -> None:
    learner.reset(0)
    for batch in batches():
        learner.train(batch, 1e-2)
    raw = [np.array(value) for value in learner.model.get_weights()]
    averaged = learner.weights()
    assert not all(map(np.array_equal, raw, averaged))
    assert all(map(np.array_equal, raw, learner.model.get_weights()))


def test_the_l2_penalty_is_that_of_the_paper(make_learner: Make, batches: Batches) -> None:
    """The penalty is 0.005 times the sum of squares of all kernels, without biases and scales."""
    learner = make_learner(l2=0.005, optimizer="sgd", ema_epochs=0.0, dropout=0.0, label_smoothing=0.0)
    plain = make_learner(optimizer="sgd", ema_epochs=0.0, dropout=0.0, label_smoothing=0.0)
    kernels = 0.0
    losses = []
    for one in (learner, plain):
        one.reset(0)
        kernels = sum(float(np.sum(np.square(value))) for value in one.model.get_weights() if value.ndim > 1)
        batch = next(batches())
        losses.append(one.train(batch, 0.0))
    assert losses[0] - losses[1] == pytest.approx(0.005 * kernels, rel=1e-4)


@pytest.mark.parametrize("warmup", [0.0, 1.0, 2.5])
def test_the_schedule_is_the_cosine_decay_of_keras(warmup: float) -> None:
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


def test_a_constant_schedule_after_warm_up() -> None:
    recipe = TrainingRecipe(schedule="constant", warmup_epochs=1)
    assert [learning_rate(recipe, step, 2, 3, 1.0) for step in range(4)] == pytest.approx(
        [1 / 3, 2 / 3, 1.0, 1.0]
    )


def test_warm_up_takes_at_most_half_of_the_training() -> None:
    recipe = TrainingRecipe(schedule="constant", warmup_epochs=100)
    assert [learning_rate(recipe, step, 4, 1, 1.0) for step in range(4)] == pytest.approx(
        [1 / 3, 2 / 3, 1.0, 1.0]
    )
