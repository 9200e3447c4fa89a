"""Networks up to their feature layers: one contract for every row, then what each function promises."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import BackboneError
from featx.zoo import initial
from featx.zoo.backbones import POOLED, Backbone, find_backbone, list_backbones
from featx.zoo.network import POOLS, build_backbone, build_network, layer_names, load_saved, save_backbone
from featx.zoo.weights import Weights, resolve_weights

# Those of KerasHub have tests of their own.
ROWS = [row for row in list_backbones() if row.preset is None]


def random_weights(backbone: Backbone, seed: int = 0) -> Weights:
    return resolve_weights(f"random:{seed}", backbone)[0]


def outputs(model, pixels: np.ndarray) -> list[np.ndarray]:
    """Run a network eagerly: for two images that is faster than compiling it."""
    import keras

    found = model(pixels, training=False)
    found = found if isinstance(found, list) else [found]
    return [keras.ops.convert_to_numpy(item) for item in found]


def reference_preprocessing(backbone: Backbone, pixels: np.ndarray) -> np.ndarray:
    """What the literature's code does to the pixels."""
    module, function = backbone.builder.split(":")
    if backbone.family == "efficientnet_lite":
        return (pixels - 127.0) / 128.0
    if backbone.name == "vgg_m":
        return pixels.astype("float32")
    if backbone.name.endswith(("_torch", "_torchvision")):  # timm, torchvision: ToTensor, then Normalize
        return (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    if module != "keras.applications":
        module, function = "keras.applications", "MobileNet"
    home = inspect.getmodule(getattr(import_module(module), function))
    assert home is not None
    return np.asarray(home.preprocess_input(pixels.astype("float32")))


def smallest_of_each_family() -> list[Backbone]:
    smallest: dict[str, Backbone] = {}
    for row in ROWS:
        if row.family not in smallest or row.parameters < smallest[row.family].parameters:
            smallest[row.family] = row
    return list(smallest.values())


def rows_of_the_table() -> list[Any]:
    """Every row; those that are not the smallest of their family are slow together."""
    quick = smallest_of_each_family()
    return [row if row in quick else pytest.param(row, marks=pytest.mark.slow) for row in ROWS]


# Of the smallest of each family these take most of the time.
_HEAVY = {"nasnet_mobile", "inception_resnet_v2", "inception_v3", "xception"}


def families() -> list[Any]:
    return [
        pytest.param(row, marks=pytest.mark.slow) if row.name in _HEAVY else row
        for row in smallest_of_each_family()
    ]


@pytest.mark.parametrize("backbone", rows_of_the_table(), ids=lambda row: row.name)
def test_every_row(backbone, images):
    """Its graph, without numbers: width, weights, preprocessing as the reference."""
    import keras

    # Dense layers and tokens fix the size; the others have their width and weights at any.
    side = max(backbone.min_size, 64) if backbone.layer == POOLED else backbone.image_size
    with keras.StatelessScope(initialize_variables=False):
        # Without a seed no values are drawn.
        unseeded = dataclasses.replace(random_weights(backbone), seed=None)
        network = build_network(backbone, unseeded, image_size=side)
    assert network.widths == (backbone.width,)
    assert network.model.count_params() == backbone.parameters
    # Every weight has a rule to be drawn by, or is known to be a constant.
    owners = initial._owners(network.model)
    rules = [initial._rule(owners[id(weight)], weight) for weight in network.model.weights]
    assert sum(rule is not None for rule in rules) >= len(rules) // 10
    first, pixels = network.model.layers[1], images(side)
    (entry,) = outputs(keras.Model(network.model.inputs[0], first.input), pixels)
    np.testing.assert_allclose(entry, reference_preprocessing(backbone, pixels), rtol=1e-5, atol=1e-4)
    if backbone.preprocessing == "none":
        assert type(first).__name__ in {"Rescaling", "Normalization"}


@pytest.mark.parametrize("backbone", families(), ids=lambda row: row.name)
def test_every_family_runs(backbone, images):
    """Two images through it at the least size: finite features that tell them apart."""
    side = max(backbone.min_size, 32)
    network = build_network(backbone, random_weights(backbone), image_size=side)
    (feature,) = outputs(network.model, images(side))
    assert feature.shape == (2, backbone.width)
    assert feature.dtype == np.float32
    assert np.isfinite(feature).all()
    assert np.abs(feature[0] - feature[1]).max() > 0


def test_native_and_least_sizes_are_keras_own():
    """Keras refuses what is below its least size; ours are the same numbers."""
    import keras

    for name, function in (
        ("inception_v3", keras.applications.InceptionV3),
        ("xception", keras.applications.Xception),
    ):
        backbone = find_backbone(name)
        with pytest.raises(ValueError, match="Input size must be at least"):
            function(weights=None, include_top=False, input_shape=(backbone.min_size - 1, 299, 3))
        assert build_network(backbone, random_weights(backbone), image_size=backbone.min_size).widths == (
            2048,
        )


def test_uint8_and_float_images_give_equal_features(images):
    backbone = find_backbone("tiny")
    model = build_network(backbone, random_weights(backbone)).model
    whole, decimal = (model.predict(images(64).astype(kind), verbose=0)[0] for kind in ("uint8", "float32"))
    np.testing.assert_array_equal(whole, decimal)


def test_mixed_precision_still_gives_float32(images):
    import keras

    backbone = find_backbone("tiny")
    single = outputs(build_network(backbone, random_weights(backbone)).model, images(64))[0]
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = outputs(build_network(backbone, random_weights(backbone)).model, images(64))[0]
    finally:
        keras.config.set_dtype_policy("float32")
    assert mixed.dtype == np.float32
    assert 0 < np.abs(mixed - single).max() < 0.1 * np.abs(single).max()


def test_several_layers_at_once_and_every_pooling(images):
    backbone = find_backbone("tiny")
    network = build_network(backbone, random_weights(backbone), layers=["block2_relu", POOLED, "avg_pool"])
    early, last, named = outputs(network.model, images(64))
    assert network.widths == (32, 128, 128)
    assert early.shape == (2, 32)
    np.testing.assert_array_equal(last, named)


@pytest.mark.parametrize("pool", ["avg", "max", "gem", "flatten"])
def test_pooling_is_what_numpy_makes_of_the_map(pool, images):
    import keras

    backbone = find_backbone("tiny")
    model = build_backbone(backbone, random_weights(backbone))
    (block,) = outputs(keras.Model(model.inputs[0], model.get_layer("block6_relu").output), images(64))
    wanted = {
        "avg": block.mean((1, 2)),
        "max": block.max((1, 2)),
        "gem": (np.maximum(block, 1e-6) ** 3).mean((1, 2)) ** (1 / 3),
        "flatten": block.reshape(2, -1),
    }[pool]
    for layer in ("block6_relu", POOLED):
        network = build_network(backbone, random_weights(backbone), layers=[layer], pool=pool)
        (found,) = outputs(network.model, images(64))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_what_stands_behind_the_pooling_stays(images):
    """ConvNeXt normalises after its pooling; so it does after another pooling."""
    backbone = find_backbone("convnext_tiny")
    network = build_network(backbone, random_weights(backbone), pool="max", image_size=32)
    (found,) = outputs(network.model, images(32))
    np.testing.assert_allclose(found.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(1), 1, atol=1e-2)


def test_cls_takes_the_first_token():
    tokens = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(POOLS["cls"](tokens, (1,)), tokens[:, 0])


def test_wrong_layer_pool_and_size_are_told():
    backbone = find_backbone("tiny")
    weights = random_weights(backbone)
    with pytest.raises(BackboneError, match=r"tiny has no layer 'block2_rel'; similar names: block2_relu"):
        build_network(backbone, weights, layers=["block2_rel"])
    with pytest.raises(BackboneError, match=r"'pool' parameter must be one of avg, max.* Got 'mean' instead"):
        build_network(backbone, weights, pool="mean")
    with pytest.raises(BackboneError, match=r"image size 15 is too small for tiny; the minimum is 16 px"):
        build_network(backbone, weights, image_size=15)
    with pytest.raises(
        BackboneError, match=r"pool 'cls' cannot be applied to the output of layer 'block2_relu'"
    ):
        build_network(backbone, weights, layers=["block2_relu"], pool="cls")


def test_layer_names_begin_anew_for_each_network():
    backbone = find_backbone("mobilenet_0.25")
    first, second = (list(layer_names(build_backbone(backbone, random_weights(backbone)))) for _ in range(2))
    assert first == second
    assert "global_average_pooling2d" in first
    assert "conv_pw_13_relu" in first


def test_extraction_networks_are_frozen_and_backbones_trainable():
    backbone = find_backbone("tiny")
    assert not build_network(backbone, random_weights(backbone)).model.trainable_weights
    model = build_backbone(backbone, random_weights(backbone))
    assert all(layer.trainable for layer in model.layers)
    assert "block1_conv" in [layer.name for layer in model.layers]


def test_a_saved_backbone_gives_the_same_features(tmp_path, images):
    backbone = find_backbone("tiny")
    model = build_backbone(backbone, random_weights(backbone, 3))
    file = tmp_path / "backbone.weights.h5"
    save_backbone(model, file)
    network = build_network(backbone, resolve_weights(file, backbone)[0])
    np.testing.assert_array_equal(outputs(network.model, images(64))[0], outputs(model, images(64))[0])
    first = file.read_bytes()
    save_backbone(model, file)
    assert file.read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["backbone.weights.h5"]


def test_hdf5_opens_no_file_beside_the_target_nor_the_target_itself(tmp_path, monkeypatch):
    """HDF5 locks what it opens, which some shared disks cannot."""
    import h5py

    backbone = find_backbone("tiny")
    model, other = (build_backbone(backbone, random_weights(backbone, seed)) for seed in (3, 4))
    opened, made = [], h5py.File.__init__
    monkeypatch.setattr(
        h5py.File,
        "__init__",
        lambda self, name, *given, **more: opened.append(name) or made(self, name, *given, **more),
    )
    save_backbone(model, tmp_path / "backbone.weights.h5")
    load_saved(other, tmp_path / "backbone.weights.h5")
    names = [Path(name) for name in opened if isinstance(name, str | Path)]
    assert len(names) == 2
    assert not any(name.is_relative_to(tmp_path) for name in names)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_tiny_learns_from_scratch():
    """Stripes of four frequencies under noise, a few seconds of training."""
    import keras

    random = np.random.default_rng(0)
    targets = random.integers(0, 4, 256)
    across = np.linspace(0, 2 * np.pi, 64)
    phase = random.uniform(0, 6, 256)
    stripes = 40 * np.sin(2 * (1 + targets[:, None]) * across + phase[:, None])
    pixels = np.clip(128 + stripes[:, None, :, None] + random.normal(0, 30, (256, 64, 64, 3)), 0, 255)
    backbone = find_backbone("tiny")
    model = build_backbone(backbone, random_weights(backbone))
    head = keras.layers.Dense(4, kernel_initializer="zeros")(model.output)
    whole = keras.Model(model.input, head)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    whole.compile(keras.optimizers.AdamW(3e-3), loss, metrics=["accuracy"])
    whole.fit(pixels[:192], targets[:192], batch_size=32, epochs=6, shuffle=False, verbose=0)
    assert whole.evaluate(pixels[192:], targets[192:], verbose=0, return_dict=True)["accuracy"] > 0.9


def test_layers_behind_the_features_are_let_go(monkeypatch):
    import gc
    import weakref

    from featx.zoo import network as module

    backbone, kept = find_backbone("tiny"), []
    whole = module._whole

    def remembered(*given):
        model = whole(*given)
        kept.append(weakref.ref(model.get_layer("block6_conv").kernel))
        return model

    monkeypatch.setattr(module, "_whole", remembered)
    network = build_network(backbone, random_weights(backbone), layers=["block2_relu"], image_size=16)
    gc.collect()
    assert kept[0]() is None
    assert layer_names(network.model)["block2_relu"].output.shape[-1] == 32


@pytest.mark.slow
def test_blocks_of_vgg_are_built_without_its_dense_layers(monkeypatch, images):
    from featx.zoo import network as module

    backbone, pixels = find_backbone("vgg16"), images(32)
    names: list[str] = []
    whole = module._whole

    def remembered(*given):
        model = whole(*given)
        names.extend(layer.name for layer in model.layers)
        return model

    monkeypatch.setattr(module, "_whole", remembered)
    found = build_network(backbone, random_weights(backbone), layers=["block5_pool"], image_size=32)
    assert "block5_pool" in names
    assert not {"flatten", "fc1", "fc2"}.intersection(names)
    both = build_network(backbone, random_weights(backbone), layers=["block5_pool", "fc1"], image_size=32)
    assert {"fc1", "fc2"} <= set(names)
    np.testing.assert_array_equal(outputs(found.model, pixels)[0], outputs(both.model, pixels)[0])
