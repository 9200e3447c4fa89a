"""Which images an epoch shows, views, mixing, batches: the same for any number of workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featx.data import read_task
from featx.digest import digest_file
from featx.errors import ConfigError, ImageError
from featx.finetuning.sampling import (
    PAPER_WEIGHTS,
    ImageBatch,
    Part,
    draw_epoch,
    evaluation_batches,
    final_weights,
    image_weights,
    training_batches,
)
from featx.finetuning.training_images import TrainingImages, load_pixels
from featx.finetuning.training_recipe import RECIPES, TrainingRecipe

SIZE = 12


def make_part(counts: list[int], seed: int = 0) -> Part:
    targets = np.repeat(np.arange(len(counts)), counts).astype(np.int64)
    images = np.random.default_rng(seed).integers(0, 256, (len(targets), SIZE, SIZE, 3), dtype=np.uint8)
    pixels = TrainingImages([""] * len(targets), "resize", SIZE, images)
    ids = [f"i{row}" for row in range(len(targets))]
    return Part(pixels, np.arange(len(targets)), targets, ids, len(counts))


def batches(
    part: Part, recipe: TrainingRecipe, seed: int = 0, epoch: int = 0, workers: int = 1
) -> list[ImageBatch]:
    return list(training_batches(part, recipe, np.ones(part.classes), seed, epoch, workers=workers))


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    batch_size=st.integers(1, 16),
    balance=st.sampled_from(["none", "resample", "decay", "weight"]),
    epoch=st.integers(0, 3),
)
def test_an_epoch_gives_each_class_its_share(
    counts: list[int], batch_size: int, balance: str, epoch: int
) -> None:
    part = make_part(counts)
    recipe = TrainingRecipe(batch_size=batch_size, balance=balance)
    drawn = draw_epoch(part, recipe, np.ones(len(counts)), 7, epoch)
    total = -(-len(part) // batch_size) * batch_size
    assert len(drawn) == total
    shares = image_weights(np.array(counts), recipe, np.ones(len(counts)), epoch) * counts
    places = np.bincount(part.targets[drawn], minlength=len(counts))
    assert np.all(np.abs(places - shares / shares.sum() * total) < 1)
    times = np.bincount(drawn, minlength=len(part))
    for target in range(len(counts)):
        of_class = times[part.targets == target]
        assert of_class.max() - of_class.min() <= 1
    if balance in {"none", "weight"}:
        assert times.min() >= 1


def test_the_balance_decays_as_in_the_paper() -> None:
    recipe, counts, final = RECIPES["paper"], np.array([668, 307]), np.array([1.0, 3.0])
    balanced = 975 / counts
    for epoch in (0, 1, 40):
        share = 0.975**epoch
        wanted = share * balanced + (1 - share) * final
        assert image_weights(counts, recipe, final, epoch) == pytest.approx(wanted)


@pytest.mark.parametrize("task", sorted(PAPER_WEIGHTS))
def test_the_papers_weights_name_the_classes_of_its_tasks(task: str) -> None:
    classes = read_task(task).classes
    assert set(PAPER_WEIGHTS[task]) == set(classes)
    assert final_weights(RECIPES["paper"], task, classes).max() > 1


def test_final_weights_must_fit_the_classes() -> None:
    with pytest.raises(ConfigError, match="one number for each class"):
        final_weights(TrainingRecipe(final_weights=(1.0,)), "labels", ["a", "b"])
    assert final_weights(TrainingRecipe(final_weights=(1.0, 2.0)), "x", ["a", "b"]).tolist() == [1, 2]
    assert final_weights(TrainingRecipe(), "labels", ["a", "b"]).tolist() == [1, 1]


@pytest.mark.parametrize(
    "fields", [{}, {"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}, {"rand_augment": 0.5}]
)
def test_batches_do_not_depend_on_workers(fields: dict[str, float]) -> None:
    part, recipe = make_part([20, 9]), TrainingRecipe(batch_size=8).with_values(fields)
    for one, many in zip(batches(part, recipe), batches(part, recipe, workers=5), strict=True):
        assert one.ids == many.ids
        assert np.array_equal(one.images, many.images)
        assert np.array_equal(one.labels, many.labels)


def test_chance_changes_with_seed_and_epoch() -> None:
    part, recipe = make_part([8, 8]), TrainingRecipe(batch_size=8)
    first = batches(part, recipe)[0].images
    assert not np.array_equal(first, batches(part, recipe, seed=1)[0].images)
    assert not np.array_equal(first, batches(part, recipe, epoch=1)[0].images)


def test_an_image_drawn_twice_is_shown_in_two_views() -> None:
    part, recipe = make_part([6, 1]), TrainingRecipe(batch_size=8)
    (batch,) = batches(part, recipe)
    twice = [row for row, name in enumerate(batch.ids) if name == "i6"]
    assert len(twice) == 4
    assert not np.array_equal(batch.images[twice[0]], batch.images[twice[1]])


def test_without_augmentation_images_are_left_alone() -> None:
    plain = {"zoom": 1, "rotation": 0, "shear": 0, "translation": 0, "flip": False, "balance": "none"}
    part, recipe = make_part([5, 3]), TrainingRecipe(batch_size=4).with_values(plain)
    for batch in batches(part, recipe):
        for image, name in zip(batch.images, batch.ids, strict=True):
            assert np.array_equal(image, part.pixels[int(name[1:])])


@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_mixed_labels_say_how_much_of_each_image_is_there(way: str) -> None:
    """Class 0 is black and class 1 white, so the mean brightness is the share of class 1."""
    images = np.repeat(np.array([0, 255], np.uint8), 8)[:, None, None, None] * np.ones(
        (1, SIZE, SIZE, 3), np.uint8
    )
    part = Part(
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
        (batch,) = batches(part, recipe, epoch=epoch)
        assert batch.labels.sum(axis=1) == pytest.approx(np.ones(16))
        assert batch.images.mean(axis=(1, 2, 3)) / 255 == pytest.approx(batch.labels[:, 1], abs=1e-5)
        mixed += int(np.sum((batch.labels[:, 1] > 0.05) & (batch.labels[:, 1] < 0.95)))
    assert mixed > 0


def test_weights_in_the_loss_even_the_classes_out() -> None:
    recipe = TrainingRecipe(batch_size=8, balance="weight")
    (batch,) = batches(make_part([6, 2]), recipe)
    assert batch.weights @ batch.labels == pytest.approx([4.0, 4.0])


def test_evaluation_shows_everything_once_in_order() -> None:
    part = make_part([5, 4])
    shown = list(evaluation_batches(part, 4, workers=3))
    assert [len(batch.images) for batch in shown] == [4, 4, 4]
    counted = [
        name for batch in shown for name, weight in zip(batch.ids, batch.weights, strict=True) if weight
    ]
    assert counted == list(part.ids)
    assert np.array_equal(shown[2].images[0], part.pixels[8])


def write_images(folder: Path, number: int) -> list[str]:
    rng = np.random.default_rng(0)
    paths = []
    for row in range(number):
        path = folder / f"{row}.png"
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
        paths.append(str(path))
    return paths


def test_streamed_and_kept_images_are_equal(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 3)
    kept = load_pixels(paths, "resize", SIZE, memory_gib=1)
    streamed = load_pixels(paths, "resize", SIZE, memory_gib=0)
    assert (kept.in_memory, streamed.in_memory) == (True, False)
    for row in range(3):
        assert np.array_equal(kept[row], streamed[row])


@pytest.mark.parametrize("memory_gib", [0, 1])
def test_an_image_that_is_written_anew_is_not_taken_for_the_one_that_was_keyed(
    memory_gib: float, tmp_path: Path
) -> None:
    paths = write_images(tmp_path, 2)
    keys = [digest_file(Path(path)) for path in paths]
    load_pixels(paths, "resize", SIZE, keys=keys, memory_gib=memory_gib)
    Path(paths[1]).write_bytes(Path(paths[0]).read_bytes())
    with pytest.raises(ImageError, match=r"1\.png: changed after this training began"):
        load_pixels(paths, "resize", SIZE, keys=keys, memory_gib=memory_gib)[1]


def test_unreadable_images_are_all_named(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 3)
    for broken in (paths[0], paths[2]):
        Path(broken).write_bytes(b"no image")
    with pytest.raises(ImageError, match="2 of 3 images") as caught:
        load_pixels(paths, "resize", SIZE)
    assert paths[0] in str(caught.value)
    assert paths[2] in str(caught.value)
