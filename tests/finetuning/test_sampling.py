"""Sampling of images, augmentation, mixing and batches: the same for any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data import read_task
from featx.errors import ConfigError
from featx.finetuning.sampling import (
    PAPER_WEIGHTS,
    ImageBatch,
    ImageSubset,
    draw_epoch,
    evaluation_batches,
    final_weights,
    image_weights,
    training_batches,
)
from featx.finetuning.training_images import TrainingImages
from featx.finetuning.training_recipe import RECIPES, TrainingRecipe

SIZE = 12


def make_set(counts: list[int], seed: int = 0) -> ImageSubset:
    targets = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    images = np.random.default_rng(seed).integers(0, 256, (len(targets), SIZE, SIZE, 3), dtype=np.uint8)
    pixels = TrainingImages([""] * len(targets), "resize", SIZE, images)
    ids = [f"i{row}" for row in range(len(targets))]
    return ImageSubset(pixels, np.arange(len(targets)), targets, ids, len(counts))


def batches(
    subset: ImageSubset, recipe: TrainingRecipe, seed: int = 0, epoch: int = 0, workers: int = 1
) -> list[ImageBatch]:
    return list(training_batches(subset, recipe, np.ones(subset.classes), seed, epoch, workers=workers))


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    batch_size=st.integers(1, 16),
    balance=st.sampled_from(["none", "resample", "decay", "weight"]),
    epoch=st.integers(0, 3),
)
def test_an_epoch_shows_each_class_in_proportion_to_its_weight(
    counts: list[int], batch_size: int, balance: str, epoch: int
) -> None:
    subset = make_set(counts)
    recipe = TrainingRecipe(batch_size=batch_size, balance=balance)
    drawn = draw_epoch(subset, recipe, np.ones(len(counts)), 7, epoch)
    total = -(-len(subset) // batch_size) * batch_size
    assert len(drawn) == total
    weights = image_weights(np.array(counts), recipe, np.ones(len(counts)), epoch) * counts
    places = np.bincount(subset.targets[drawn], minlength=len(counts))
    assert np.all(np.abs(places - weights / weights.sum() * total) < 1)
    times = np.bincount(drawn, minlength=len(subset))
    for target in range(len(counts)):
        of_class = times[subset.targets == target]
        assert of_class.max() - of_class.min() <= 1
    if balance in {"none", "weight"}:
        assert times.min() >= 1


def test_balanced_sampling_is_annealed_as_in_the_paper() -> None:
    recipe, counts, final = RECIPES["paper"], np.array([668, 307]), np.array([1.0, 3.0])
    balanced = 975 / counts
    for epoch in (0, 1, 40):
        decay = 0.975**epoch
        wanted = decay * balanced + (1 - decay) * final
        assert image_weights(counts, recipe, final, epoch) == pytest.approx(wanted)


@pytest.mark.parametrize("task", sorted(PAPER_WEIGHTS))
def test_the_final_weights_of_the_paper_name_the_classes_of_its_tasks(task: str) -> None:
    classes = read_task(task).classes
    assert set(PAPER_WEIGHTS[task]) == set(classes)
    assert final_weights(RECIPES["paper"], task, classes).max() > 1


def test_final_weights_are_one_for_each_class() -> None:
    with pytest.raises(ConfigError, match="one number for each class"):
        final_weights(TrainingRecipe(final_weights=(1.0,)), "labels", ["a", "b"])
    assert final_weights(TrainingRecipe(final_weights=(1.0, 2.0)), "x", ["a", "b"]).tolist() == [1, 2]
    assert final_weights(TrainingRecipe(), "labels", ["a", "b"]).tolist() == [1, 1]


@pytest.mark.parametrize(
    "fields", [{}, {"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}, {"rand_augment": 0.5}]
)
def test_batches_do_not_depend_on_workers(fields: dict[str, float]) -> None:
    subset, recipe = make_set([20, 9]), TrainingRecipe(batch_size=8).with_values(fields)
    for one, many in zip(batches(subset, recipe), batches(subset, recipe, workers=5), strict=True):
        assert one.ids == many.ids
        assert np.array_equal(one.images, many.images)
        assert np.array_equal(one.labels, many.labels)


def test_augmentation_differs_with_seed_and_epoch() -> None:
    subset, recipe = make_set([8, 8]), TrainingRecipe(batch_size=8)
    first = batches(subset, recipe)[0].images
    assert not np.array_equal(first, batches(subset, recipe, seed=1)[0].images)
    assert not np.array_equal(first, batches(subset, recipe, epoch=1)[0].images)


def test_an_image_drawn_twice_is_augmented_in_two_ways() -> None:
    subset, recipe = make_set([6, 1]), TrainingRecipe(batch_size=8)
    (batch,) = batches(subset, recipe)
    twice = [row for row, name in enumerate(batch.ids) if name == "i6"]
    assert len(twice) == 4
    assert not np.array_equal(batch.images[twice[0]], batch.images[twice[1]])


def test_without_augmentation_images_do_not_change() -> None:
    plain = {"zoom": 1, "rotation": 0, "shear": 0, "translation": 0, "flip": False, "balance": "none"}
    subset, recipe = make_set([5, 3]), TrainingRecipe(batch_size=4).with_values(plain)
    for batch in batches(subset, recipe):
        for image, name in zip(batch.images, batch.ids, strict=True):
            assert np.array_equal(image, subset.pixels[int(name[1:])])


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_mixed_labels_are_the_fractions_of_the_images(way: str) -> None:
    """Class 0 is black and class 1 white, so the mean brightness is the fraction of class 1."""
    images = np.repeat(np.array([0, 255], np.uint8), 8)[:, None, None, None] * np.ones(
        (1, SIZE, SIZE, 3), np.uint8
    )
    subset = ImageSubset(
        TrainingImages([""] * 16, "resize", SIZE, images),
        np.arange(16),
        np.repeat([0, 1], 8),
        [str(row) for row in range(16)],
        2,
    )
    plain = {"zoom": 1, "rotation": 0, "shear": 0, "translation": 0, "flip": False}
    recipe = TrainingRecipe(batch_size=16).with_values({**plain, way: 1.0})
    mixed = 0
    for epoch in range(6):
        (batch,) = batches(subset, recipe, epoch=epoch)
        assert batch.labels.sum(axis=1) == pytest.approx(np.ones(16))
        assert batch.images.mean(axis=(1, 2, 3)) / 255 == pytest.approx(batch.labels[:, 1], abs=1e-5)
        mixed += int(np.sum((batch.labels[:, 1] > 0.05) & (batch.labels[:, 1] < 0.95)))
    assert mixed > 0


def test_class_weights_in_the_loss_balance_the_classes() -> None:
    recipe = TrainingRecipe(batch_size=8, balance="weight")
    (batch,) = batches(make_set([6, 2]), recipe)
    assert batch.weights @ batch.labels == pytest.approx([4.0, 4.0])


def test_evaluation_shows_every_image_once_in_order() -> None:
    subset = make_set([5, 4])
    shown = list(evaluation_batches(subset, 4, workers=3))
    assert [len(batch.images) for batch in shown] == [4, 4, 4]
    counted = [
        name for batch in shown for name, weight in zip(batch.ids, batch.weights, strict=True) if weight
    ]
    assert counted == list(subset.ids)
    assert np.array_equal(shown[2].images[0], subset.pixels[8])
