from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import pytest

from featx.errors import ConfigError, DiskError
from featx.features import planning
from featx.features.device_choice import clear_device_memory
from featx.features.engines import deviation
from featx.features.extract_settings import FeatureOptions
from featx.features.planning import (
    LoadedNetwork,
    NetworkLoad,
    choose_engine,
    first_bad_layer,
    targets,
)
from featx.gpus import Device
from featx.progress import Silent
from featx.zoo import Weights, find_backbone, resolve_weights


def names(backbones, sources, tmp_path):
    return [
        (target.backbone.name, target.weights.source)
        for target in targets(backbones, sources, FeatureOptions(), tmp_path)
    ]


def test_one_backbone_takes_several_sources(tmp_path):
    assert names(["tiny"], ["random:0", "random:1"], tmp_path) == [("tiny", "random:0"), ("tiny", "random:1")]


def test_several_backbones_share_a_source_or_have_one_each(tmp_path):
    shared = [("tiny", "random:0"), ("vgg16", "random:0")]
    assert names(["tiny", "vgg16"], ["random"], tmp_path) == shared
    paired = [("tiny", "random:1"), ("vgg16", "random:2")]
    assert names(["tiny", "vgg16"], ["random:1", "random:2"], tmp_path) == paired
    with pytest.raises(ConfigError, match="2 backbones and 3 weights sources"):
        names(["tiny", "vgg16"], ["random", "random:1", "random:2"], tmp_path)


def test_a_network_named_twice_runs_once(tmp_path):
    assert len(names(["tiny"], ["random", "random:0"], tmp_path)) == 1


def test_each_layer_has_a_recipe_and_a_folder(tmp_path):
    settings = FeatureOptions(layers=("fc1", "fc2"), image_size=96, views=2)
    (target,) = targets(["vgg16"], ["random"], settings, tmp_path)
    assert [recipe.layer for recipe in target.recipes] == ["fc1", "fc2"]
    assert len(set(target.folders)) == 2
    assert all(folder.parent == tmp_path / "features" for folder in target.folders)
    assert target.recipes[0].image_size == 96
    assert target.recipes[0].views["count"] == 2


def test_the_penultimate_layer_is_one_store_named_or_not(tmp_path):
    (default,) = targets(["vgg16"], ["random"], FeatureOptions(), tmp_path)
    (named,) = targets(["vgg16"], ["random"], FeatureOptions(layers=("fc2",)), tmp_path)
    assert default.folders == named.folders


def test_batches_workers_and_devices_do_not_change_the_recipe(tmp_path):
    plain = targets(["tiny"], ["random"], FeatureOptions(), tmp_path)[0].folders
    other = FeatureOptions(batch_size=7, threads=1, device="cpu", engine="keras")
    assert targets(["tiny"], ["random"], other, tmp_path)[0].folders == plain


@pytest.fixture
def tuned(monkeypatch):
    """Weights that were fine-tuned at 128 px, on prepared images, in bfloat16."""
    facts = {"image_size": 128, "preparation": "retina", "precision": "bfloat16"}
    weights = Weights("run", "ab" * 32, ("imagenet", "run"), trained_with=facts, label="run")
    monkeypatch.setattr(planning, "resolve_weights", lambda source, backbone: (weights,))
    return weights


def test_fine_tuned_weights_see_images_as_in_training(tuned, tmp_path):
    (target,) = targets(["tiny"], ["run"], FeatureOptions(engine="keras"), tmp_path)
    assert (target.image_size, target.preparation, target.precision) == (128, "retina", "bfloat16")
    (recipe,) = target.recipes
    assert (recipe.image_size, recipe.preparation["name"], recipe.precision) == (128, "retina", "bfloat16")
    assert target.warnings == recipe.warnings == ()


def test_another_way_to_see_images_is_asked_for_and_warned_of(tuned, tmp_path):
    asked = FeatureOptions(engine="keras", image_size=224, preparation="resize", precision="float32")
    (target,) = targets(["tiny"], ["run"], asked, tmp_path)
    assert (target.image_size, target.preparation, target.precision) == (224, "resize", "float32")
    assert target.warnings == (
        "the weights were fine-tuned with image size 128, their features are extracted with 224",
        "the weights were fine-tuned with preparation retina, their features are extracted with resize",
        "the weights were fine-tuned with precision bfloat16, their features are extracted with float32",
    )
    # Told, without a say in which store it is.
    assert target.recipes[0].digest == dataclasses.replace(target.recipes[0], warnings=()).digest


def test_tf32_is_a_recipe_of_its_own_and_of_keras_alone(tmp_path):
    (plain,), (coarse,) = (
        targets(["tiny"], ["random"], FeatureOptions(precision=precision), tmp_path)
        for precision in (None, "tf32")
    )
    assert (plain.recipes[0].precision, coarse.recipes[0].precision) == ("float32", "tf32")
    assert coarse.recipes[0].engine == "keras"
    assert plain.folders != coarse.folders
    with pytest.raises(ConfigError, match="no tf32 arithmetic"):
        targets(
            ["tiny"], ["random"], FeatureOptions(precision="tf32", engine="openvino", device="cpu"), tmp_path
        )


@pytest.mark.parametrize(
    ("name", "side", "rows", "exported", "cores", "engine"),
    [
        # Heavy networks are worth an export for few images, light ones only for many.
        ("xception", 299, 1011, False, 2, "openvino"),
        ("xception", 299, 100, False, 2, "keras"),
        ("vgg16", 224, 1011, False, 2, "openvino"),
        ("mobilenet_0.25", 224, 2000, False, 2, "keras"),
        ("mobilenet_0.25", 224, 50_000, False, 2, "openvino"),
        ("tiny", 64, 10_000, False, 2, "keras"),
        # The same images are less work at a smaller size, and take less time on more cores.
        ("xception", 96, 1011, False, 2, "keras"),
        ("xception", 299, 1011, False, 16, "keras"),
        # A transformer whose multiply-adds are estimated.
        ("vit_b16_torchvision", 224, 1011, False, 2, "openvino"),
        # An existing export costs nothing.
        ("tiny", 64, 1, True, 2, "openvino"),
    ],
)
def test_the_engine_follows_the_work(name, side, rows, exported, cores, engine):
    chosen, why = choose_engine([NetworkLoad(find_backbone(name), side, rows, exported)], cores)
    assert chosen == engine
    assert why == "its exports exist" if exported else "takes about" in why


def test_existing_exports_lower_the_price_of_the_others():
    heavy, light = find_backbone("xception"), find_backbone("tiny")
    missing = [
        NetworkLoad(heavy, 299, 150, True),
        NetworkLoad(light, 64, 150, True),
        NetworkLoad(light, 64, 150, False),
    ]
    assert choose_engine(missing, 1)[0] == "openvino"
    assert (
        choose_engine([NetworkLoad(load.backbone, load.image_size, 150, False) for load in missing], 1)[0]
        == "keras"
    )


@pytest.fixture(scope="module")
def network():
    from featx.zoo import build_network

    backbone = find_backbone("tiny")
    return build_network(
        backbone, resolve_weights("random", backbone)[0], layers=("global pool", "block3_relu")
    )


def draw(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), np.uint8)


def test_the_first_bad_layer_is_named(network):
    import keras

    from featx.zoo import build_network

    broken = build_network(network.backbone, network.weights)
    assert first_bad_layer(broken.model, draw(1)) == ""
    layer = next(layer for layer in broken.model.layers if layer.name == "block3_conv")
    kernel = keras.ops.convert_to_numpy(layer.kernel).copy()
    kernel[0, 0, 0, 0] = np.inf
    layer.kernel.assign(kernel)
    assert first_bad_layer(broken.model, draw(1)) == "block3_conv"


def test_rows_are_rescued_in_float32_or_their_layer_is_named(network, tmp_path, monkeypatch):
    import keras

    from featx.zoo import build_network

    given = {"layers": ("block3_relu",), "batch_size": 4, "engine": "keras"}
    (target,) = targets(["tiny"], ["random"], FeatureOptions(**given), tmp_path)
    loaded = LoadedNetwork(target, FeatureOptions(**given), Device("cpu"), "keras", tmp_path, Silent())
    pixels = draw(4)
    sound, layers = loaded.rescue(pixels, [1, 3])
    assert layers == ["", ""]
    assert np.array_equal(sound[0], loaded.engine.start(pixels)()[0][[1, 3]])

    broken = build_network(network.backbone, network.weights, layers=("block3_relu",))
    layer = next(layer for layer in broken.model.layers if layer.name == "block2_norm")
    layer.gamma.assign(keras.ops.full(layer.gamma.shape, np.nan))
    monkeypatch.setattr(LoadedNetwork, "_build", lambda self, policy: broken)
    loaded = LoadedNetwork(target, FeatureOptions(**given), Device("cpu"), "keras", tmp_path, Silent())
    bad, layers = loaded.rescue(pixels, [2])
    assert layers == ["block2_norm"]
    assert not np.isfinite(bad[0]).all()


def test_auto_falls_back_to_keras_where_an_export_fails(tmp_path, monkeypatch):
    pytest.importorskip("openvino")

    def refused(*given):
        raise ConfigError("tiny cannot be exported")

    monkeypatch.setattr(planning, "export_network", refused)
    monkeypatch.setattr(planning, "export_apart", refused)
    said = []
    progress = type("Notes", (Silent,), {"say": lambda self, text: said.append(text)})()
    for engine in ("auto", "openvino"):
        settings = FeatureOptions(batch_size=2, image_size=16, engine=engine, device="cpu")
        (target,) = targets(["tiny"], ["random"], settings, tmp_path)
        loaded = LoadedNetwork(target, settings, Device("cpu"), "openvino", tmp_path, progress)
        if engine == "auto":
            assert loaded.engine.name == "keras"
            assert "tiny (random0): tiny cannot be exported; using keras instead" in said
        else:
            with pytest.raises(ConfigError, match="cannot be exported"):
                _ = loaded.engine


@pytest.mark.parametrize(
    "error", [DiskError("full"), PermissionError(13, "Permission denied"), MemoryError("no room")]
)
def test_auto_does_not_fall_back_where_an_export_fails_by_the_machine(tmp_path, monkeypatch, error):
    pytest.importorskip("openvino")

    def failing(*given):
        raise error

    monkeypatch.setattr(planning, "export_network", failing)
    monkeypatch.setattr(planning, "export_apart", failing)
    settings = FeatureOptions(batch_size=2, image_size=16, engine="auto", device="cpu")
    (target,) = targets(["tiny"], ["random"], settings, tmp_path)
    loaded = LoadedNetwork(target, settings, Device("cpu"), "openvino", tmp_path, Silent())
    with pytest.raises(type(error)) as raised:
        _ = loaded.engine
    assert raised.value is error


def test_a_folder_that_is_no_store_is_not_used_for_a_recipe(tmp_path):
    (target,) = targets(["tiny"], ["random"], FeatureOptions(), tmp_path)
    other = target.folders[0].with_name(target.folders[0].name.replace("random0", "other"))
    other.mkdir(parents=True)
    assert targets(["tiny"], ["random"], FeatureOptions(), tmp_path)[0].folders == target.folders


def test_a_network_that_is_dropped_is_built_for_the_new_batch_size(tmp_path):
    given = {"batch_size": 4, "engine": "keras", "image_size": 32}
    (target,) = targets(["tiny"], ["random"], FeatureOptions(**given), tmp_path)
    loaded = LoadedNetwork(target, FeatureOptions(**given), Device("cpu"), "keras", tmp_path, Silent())
    pixels = draw(4)[:, :32, :32]
    (whole,) = loaded.engine.start(pixels)()
    engine, network = weakref.ref(loaded.engine), weakref.ref(loaded.network)
    loaded.drop(2)
    clear_device_memory()
    assert (engine(), network()) == (None, None), "its memory is free"
    halves = [loaded.engine.start(half)()[0] for half in (pixels[:2], pixels[2:])]
    assert deviation(np.concatenate(halves), whole).worst < 1e-5
