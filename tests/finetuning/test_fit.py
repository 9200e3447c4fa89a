"""The training loop on a network of a few hundred weights, compiled once."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from featx.errors import ConfigError, TrainingError
from featx.finetuning import learner as fitting
from featx.finetuning.checkpoint import Checkpoint, Progressed
from featx.finetuning.learner import Fitted, FoldTraining, Learner, fit, precision
from featx.finetuning.optimization import rate_shares
from featx.finetuning.sampling import Part
from featx.finetuning.tensorboard_log import check_board, open_board
from featx.finetuning.training_images import TrainingImages
from featx.finetuning.training_recipe import TrainingRecipe
from featx.progress import Silent

SIZE, STEPS = 8, 4
RECIPE = TrainingRecipe(
    epochs=3, head_epochs=1, batch_size=8, learning_rate=5e-3, patience=0, fill="black", dropout=0.3
)


def make_backbone() -> keras.Model:
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    x = keras.layers.Conv2D(6, 3, kernel_initializer=keras.initializers.GlorotUniform(1), name="first")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(8, 3, kernel_initializer=keras.initializers.GlorotUniform(2), name="second")(x)
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x))


def make_learner(**fields: Any) -> Learner:
    recipe = RECIPE.with_values(fields)
    with precision(recipe.precision):
        return Learner(make_backbone(), 2, recipe, STEPS)


@pytest.fixture(scope="module")
def learner() -> Learner:
    return make_learner()


def make_part(images: int, seed: int) -> Part:
    """Images of which the second class is brighter."""
    targets = np.arange(images) % 2
    noise = np.random.default_rng(seed).integers(0, 120, (images, SIZE, SIZE, 3))
    pixels = TrainingImages(
        [""] * images, "resize", SIZE, (noise + 90 * targets[:, None, None, None]).astype(np.uint8)
    )
    return Part(pixels, np.arange(images), targets, [f"i{row}" for row in range(images)], 2)


def make_job(seed: int = 5, validation: int = 16) -> FoldTraining:
    return FoldTraining("1", make_part(32, 0), make_part(validation, 1), np.ones(2), seed, 2)


def run(learner: Learner, folder: Path, job: FoldTraining | None = None) -> Fitted:
    return fit(learner, job or make_job(), Checkpoint(folder, "inputs"), Silent())


def same(left: Fitted, right: Fitted) -> bool:
    pairs = zip(left.weights, right.weights, strict=True)
    return left.history == right.history and all(np.array_equal(one, other) for one, other in pairs)


def test_it_learns(learner: Learner, tmp_path: Path) -> None:
    done = run(learner, tmp_path)
    assert [row["phase"] for row in done.history] == ["head", "all", "all", "all"]
    assert done.history[-1]["validation_auc"] > 0.9
    assert done.history[-1]["validation_loss"] < done.history[0]["validation_loss"]
    assert done.best_epoch > 1


def test_a_fold_does_not_depend_on_what_was_trained_before(learner: Learner, tmp_path: Path) -> None:
    fresh = run(make_learner(), tmp_path / "1")
    assert same(fresh, run(learner, tmp_path / "2"))
    other = run(learner, tmp_path / "3", make_job(seed=6))
    assert not same(fresh, other)
    assert same(fresh, run(learner, tmp_path / "4"))


@pytest.mark.parametrize("after", [1, 2, 4])
def test_it_goes_on_from_a_checkpoint(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    whole = run(learner, tmp_path / "whole")

    class Stop(Exception):
        pass

    real: Callable[[Checkpoint, Progressed], None] = Checkpoint.save

    def save(self: Checkpoint, done: Progressed) -> None:
        real(self, done)
        if done.epoch == after:
            raise Stop

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", save)
        with pytest.raises(Stop):
            run(learner, tmp_path / "cut")
    resumed = run(learner, tmp_path / "cut")
    assert resumed.resumed == after
    assert same(whole, resumed)


@pytest.mark.parametrize("damage", ["other inputs", "cut off", "no best"])
def test_a_checkpoint_that_does_not_serve_is_not_taken_up(
    learner: Learner, tmp_path: Path, damage: str
) -> None:
    whole = run(learner, tmp_path)
    state, inputs = tmp_path / "state.npz", "inputs"
    if damage == "other inputs":
        inputs = "others"
    elif damage == "cut off":
        state.write_bytes(state.read_bytes()[:1000])
    else:
        (tmp_path / f"best-{whole.best_epoch}.npz").unlink()
    assert Checkpoint(tmp_path, inputs).load() is None


def test_only_the_best_weights_are_kept_on_the_disk(learner: Learner, tmp_path: Path) -> None:
    done = run(learner, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"best-{done.best_epoch}.npz", "state.npz"]


def test_the_head_phase_leaves_the_backbone_alone(learner: Learner, tmp_path: Path) -> None:
    before = [np.array(value) for value in make_backbone().get_weights()]
    learner.reset(0)
    part = make_part(32, 0)
    for batch in fitting.training_batches(part, RECIPE, np.ones(2), 0, 0):
        learner.train_head(batch, 1e-2)
    assert all(map(np.array_equal, before, learner.backbone.get_weights()))


def test_frozen_normalisation_stays_and_earlier_layers_move_less(learner: Learner) -> None:
    learner.reset(0)
    before = {layer.name: [np.array(v) for v in layer.get_weights()] for layer in learner.backbone.layers}
    for batch in fitting.training_batches(make_part(32, 0), RECIPE, np.ones(2), 0, 0):
        learner.train(batch, 1e-2)
    after = {layer.name: layer.get_weights() for layer in learner.backbone.layers}
    assert all(map(np.array_equal, before["norm"], after["norm"]))
    moved = {name: float(np.abs(after[name][0] - before[name][0]).mean()) for name in ("first", "second")}
    # AdamW's first steps are about as long as the rate: shares .1 and .1 ** .5.
    assert moved["first"] / moved["second"] == pytest.approx(10**-0.5, rel=0.3)


def test_normalisation_learns_on_if_told_to(tmp_path: Path) -> None:
    learner = make_learner(batch_norm="train", first_layer_share=1.0, head_epochs=0, epochs=1)
    before = [np.array(value) for value in learner.backbone.get_layer("norm").get_weights()]
    run(learner, tmp_path)
    norm = learner.backbone.get_layer("norm")
    assert not any(map(np.array_equal, before, norm.get_weights()))
    assert norm.momentum == pytest.approx(math.exp(-1 / 10))


def test_statistics_settle_within_a_short_training() -> None:
    """Of activations that all are 5, a published momentum of .999 would still say 0.6 after 128 steps."""
    backbone = make_backbone()
    backbone.get_layer("norm").momentum = 0.999
    backbone.get_layer("first").set_weights([np.zeros((3, 3, 3, 6)), np.full(6, 5.0)])
    learner = Learner(backbone, 2, RECIPE.with_values({"batch_norm": "train"}), STEPS)
    learner.reset(0)
    batch = next(fitting.training_batches(make_part(32, 0), RECIPE, np.ones(2), 0, 0))
    for _ in range(40):
        learner.train(batch, 0.0)
    mean = learner.backbone.get_layer("norm").get_weights()[2]
    assert mean == pytest.approx(np.full(6, 5.0), rel=0.05)


def test_a_compiled_step_is_the_same_step(learner: Learner) -> None:
    batch = next(fitting.training_batches(make_part(32, 0), RECIPE, np.ones(2), 0, 0))
    compiled = make_learner(jit=True)
    assert (learner.model.jit_compile, compiled.model.jit_compile) == (False, True)
    losses = []
    for one in (learner, compiled):
        one.reset(0)
        losses.append([one.train(batch, 5e-3) for _ in range(3)])
    # Dropout differs: each draws its own way from the same seed.
    assert losses[0] == pytest.approx(losses[1], abs=0.2)
    assert losses[1][0] != losses[1][1]


def test_blocks_inside_a_layer_have_rates_of_their_own() -> None:
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Reshape((SIZE * SIZE, 3))(pixels)
    x = keras.layers.MultiHeadAttention(1, 2, name="block")(x, x)
    backbone = keras.Model(pixels, keras.layers.GlobalAveragePooling1D()(x))
    learner = Learner(backbone, 2, RECIPE, STEPS)
    shares = rate_shares(backbone, learner.model, RECIPE)
    query, output = shares[0], shares[len(backbone.trainable_variables) - 1]
    assert (query, shares[-1]) == (RECIPE.first_layer_share, 1.0)
    assert query < output < 1.0


def test_every_epoch_goes_to_tensorboard(tmp_path: Path) -> None:
    proto = pytest.importorskip("tensorboardX.proto.event_pb2", reason="tensorboardX is not installed")
    row = {"epoch": 1, "loss": 0.5, "validation_loss": 0.25, "validation_auc": None, "learning_rate": 0.125}
    with open_board(tmp_path) as board:
        assert board
        board.write(row, 30.0)
        board.write({**row, "epoch": 2, "validation_auc": 0.75}, 32.0)
    (file,) = tmp_path.iterdir()
    data, shown = file.read_bytes(), {}
    while data:  # length, its checksum, the event, its checksum
        length = int.from_bytes(data[:8], "little")
        event = proto.Event.FromString(data[12 : 12 + length])
        for value in event.summary.value:
            shown.setdefault(value.tag, []).append((event.step, value.simple_value))
        data = data[16 + length :]
    assert shown == {
        "loss/training": [(1, 0.5), (2, 0.5)],
        "loss/validation": [(1, 0.25), (2, 0.25)],
        "auc/validation": [(2, 0.75)],
        "learning_rate": [(1, 0.125), (2, 0.125)],
        "images_per_second": [(1, 30.0), (2, 32.0)],
    }


def test_a_missing_writer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match=r"pip install 'featx\[tensorboard\]'$"):
        check_board()


def test_parts_of_a_batch_add_up() -> None:
    """Gradients of four parts make the step that the whole batch makes."""
    results = []
    for accumulate in (1, 4):
        learner = make_learner(accumulate=accumulate, dropout=0.0)
        learner.reset(0)
        losses = [
            learner.train(batch, 5e-3)
            for batch in fitting.training_batches(make_part(32, 0), RECIPE, np.ones(2), 0, 0)
        ]
        results.append((losses, learner.weights(), learner.model.get_weights()))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4)
    for one, other in zip(results[0][2], results[1][2], strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_the_average_lags_behind_the_weights(learner: Learner) -> None:
    learner.reset(0)
    for batch in fitting.training_batches(make_part(32, 0), RECIPE, np.ones(2), 0, 0):
        learner.train(batch, 1e-2)
    raw = [np.array(value) for value in learner.model.get_weights()]
    averaged = learner.weights()
    assert not all(map(np.array_equal, raw, averaged))
    assert all(map(np.array_equal, raw, learner.model.get_weights()))


def test_the_penalty_is_the_one_of_the_paper() -> None:
    """L2 adds strength times the sum of squares of all kernels, biases and scales left out."""
    learner = make_learner(l2=0.005, optimizer="sgd", ema_epochs=0.0, dropout=0.0, label_smoothing=0.0)
    plain = make_learner(optimizer="sgd", ema_epochs=0.0, dropout=0.0, label_smoothing=0.0)
    kernels = 0.0
    losses = []
    for one in (learner, plain):
        one.reset(0)
        kernels = sum(float(np.sum(np.square(value))) for value in one.model.get_weights() if value.ndim > 1)
        batch = next(fitting.training_batches(make_part(32, 0), RECIPE, np.ones(2), 0, 0))
        losses.append(one.train(batch, 0.0))
    assert losses[0] - losses[1] == pytest.approx(0.005 * kernels, rel=1e-4)


def test_training_stops_early_and_without_validation_keeps_the_last(learner: Learner, tmp_path: Path) -> None:
    learner.recipe = dataclasses.replace(RECIPE, patience=1, epochs=6, learning_rate=0.0)
    try:
        stopped = run(learner, tmp_path / "1")
        assert (len(stopped.history), stopped.best_epoch) == (3, 2)
        learner.recipe = dataclasses.replace(RECIPE, epochs=2)
        blind = run(learner, tmp_path / "2", make_job(validation=0))
        assert blind.best_epoch == 3
        assert blind.history[0]["validation_loss"] is None
        learner.recipe = dataclasses.replace(RECIPE, epochs=0, head_epochs=2)
        head_only = run(learner, tmp_path / "3")
        assert head_only.best_epoch in {1, 2}
    finally:
        learner.recipe = RECIPE


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_no_number_names_the_images(
    learner: Learner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    real = fitting.training_batches
    shown: list[tuple[str, ...]] = []

    def poisoned(*given: Any, **options: Any) -> Any:
        for batch in real(*given, **options):
            shown.append(batch.ids)
            batch.images[0] = value if len(shown) == 6 else batch.images[0]
            yield batch

    monkeypatch.setattr(fitting, "training_batches", poisoned)
    with pytest.raises(TrainingError, match="fold 1, epoch 2: the loss became") as caught:
        run(learner, tmp_path)
    assert ", ".join(shown[5]) in str(caught.value)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_float32_weights(tmp_path: Path, policy: str) -> None:
    before = keras.config.dtype_policy().name
    learner = make_learner(precision=policy, epochs=2)
    assert learner.backbone.compute_dtype == policy.removeprefix("mixed_")
    done = run(learner, tmp_path)
    assert {value.dtype for value in done.weights} == {np.dtype("float32")}
    assert done.history[-1]["validation_loss"] < done.history[0]["validation_loss"]
    assert keras.config.dtype_policy().name == before
