"""Arrays of a file into a network: all or none, and equal to what Keras itself makes of them."""

from __future__ import annotations

import inspect

import h5py
import numpy as np
import pytest

from featx.errors import WeightsError
from featx.zoo.backbones import find_backbone
from featx.zoo.formats.contents import Contents, StoredLayer
from featx.zoo.formats.matching import fill, snake_case
from featx.zoo.network import build_backbone, build_network, save_backbone
from featx.zoo.weights import resolve_weights


def network_of(name, file, **options):
    backbone = find_backbone(name)
    return build_network(backbone, resolve_weights(file, backbone)[0], **options)


def scramble(model) -> None:
    """Give every weight, statistics included, a value of its own near a working one."""
    random = np.random.default_rng(3)
    for variable in model.weights:
        if variable.dtype == "float32":
            variable.assign(np.asarray(variable) + random.uniform(0.0, 0.02, variable.shape))


def feature(model, pixels: np.ndarray) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(model(pixels, training=False))


# Between them: statistics, layers with own and with numbered names, sequential parts, two layers on top.
@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("mobilenet_v3_small", "MobileNetV3Small"),
        pytest.param("convnext_tiny", "ConvNeXtTiny", marks=pytest.mark.slow),
    ],
)
def test_files_of_keras_give_the_features_of_keras(name, function, tmp_path, images, legacy):
    import keras

    build, pixels = getattr(keras.applications, function), images(32)
    topped = build(weights=None, input_shape=(32, 32, 3))
    scramble(topped)
    plain = build(include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3))
    both = zip(
        *([layer for layer in model.layers if layer.weights] for model in (plain, topped)), strict=False
    )
    for layer, source in both:
        layer.set_weights(source.get_weights())
    prepared = inspect.getmodule(build).preprocess_input(pixels.astype("float32"))
    wanted = feature(plain, prepared)
    plain.save_weights(tmp_path / "new.weights.h5")
    for file in (legacy(tmp_path / "top.h5", topped), tmp_path / "new.weights.h5"):
        found = feature(network_of(name, file, image_size=32).model, pixels)
        np.testing.assert_allclose(
            found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max(), err_msg=file.name
        )


@pytest.mark.parametrize("dense", [0, 3, 4])
def test_vgg_without_its_dense_layers_takes_files_with_all_three_of_them(tmp_path, dense):
    backbone = find_backbone("vgg16_conv")
    model = build_backbone(backbone, resolve_weights("random", backbone)[0], image_size=32)
    layers = [
        StoredLayer(layer.name, tuple(np.full(weight.shape, 0.5, "float32") for weight in layer.weights))
        for layer in model.layers
        if layer.weights
    ]
    top = [StoredLayer(f"fc{number}", (np.ones((2, 2)),)) for number in range(dense)]
    contents = Contents(tmp_path / "vgg16.h5", "legacy", (*layers, *top))
    if dense > 3:
        with pytest.raises(WeightsError, match="it has 4 more layers than vgg16_conv"):
            fill(model, model, contents, backbone)
    else:
        fill(model, model, contents, backbone)
        assert np.all(model.get_layer("block5_conv3").get_weights()[0] == 0.5)


@pytest.mark.slow
def test_efficientnet_by_path_is_efficientnet_by_name(tmp_path, images, legacy, monkeypatch):
    """The published files hold deviations for variances; Keras makes up for it only under `imagenet`."""
    import keras
    from keras.src.utils import file_utils

    plain = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    scramble(plain)
    (normal,) = [layer for layer in plain.layers if type(layer).__name__ == "Normalization"]
    normal.variables[0].assign([0.485, 0.456, 0.406])
    normal.variables[1].assign([0.229, 0.224, 0.225])
    file = legacy(tmp_path / "efficientnetb0_notop.h5", plain)
    monkeypatch.setattr(file_utils, "get_file", lambda *args, **kwargs: str(file))
    reference = keras.applications.EfficientNetB0(
        include_top=False, weights="imagenet", pooling="avg", input_shape=(32, 32, 3)
    )
    pixels = images(32)
    wanted = feature(reference, pixels.astype("float32"))
    first = network_of("efficientnet_b0", file, image_size=32)
    found = feature(first.model, pixels)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    backbone = find_backbone("efficientnet_b0")
    saved = tmp_path / "again.weights.h5"
    save_backbone(build_backbone(backbone, first.weights), saved)
    again = feature(network_of("efficientnet_b0", saved, image_size=32).model, pixels)
    np.testing.assert_array_equal(again, found)


def test_a_network_inside_a_saved_model_is_found(tmp_path, images):
    import keras

    inside = keras.applications.MobileNet(
        include_top=False, weights=None, alpha=0.25, pooling="avg", input_shape=(32, 32, 3)
    )
    scramble(inside)
    keras.Sequential([keras.Input((32, 32, 3)), inside, keras.layers.Dense(2)]).save(tmp_path / "own.keras")
    pixels = images(32)
    wanted = feature(inside, pixels / np.float32(127.5) - 1)
    found = feature(network_of("mobilenet_0.25", tmp_path / "own.keras", image_size=32).model, pixels)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * np.abs(wanted).max())


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """A file of MobileNet .25 in each layout."""
    import keras

    folder = tmp_path_factory.mktemp("files")
    backbone = find_backbone("mobilenet_0.25")
    model = build_backbone(backbone, resolve_weights("random:0", backbone)[0], 32)
    save_backbone(model, folder / "new.weights.h5")
    with h5py.File(folder / "old.h5", "w") as file:
        file.attrs["layer_names"] = [layer.name for layer in model.layers]
        for layer in model.layers:
            names = [f"{number}" for number in range(len(layer.weights))]
            file.create_group(layer.name).attrs["weight_names"] = names
            variables = [*layer.trainable_weights, *layer.non_trainable_weights]
            for name, variable in zip(names, variables, strict=True):
                file[layer.name][name] = np.asarray(variable)
    keras.backend.clear_session()
    return folder


@pytest.mark.parametrize("name", ["old.h5", "new.weights.h5"])
def test_another_width_names_the_first_layer_that_differs(mobilenet, name):
    with pytest.raises(WeightsError) as caught:
        network_of("mobilenet_0.50", mobilenet / name, image_size=32)
    text = str(caught.value)
    assert "(as many as mobilenet_0.25)" in text
    assert "the first layer that differs is 'conv1'" in text
    assert "3x3x3x8, expected 3x3x3x16" in text
    assert "give a file of mobilenet_0.50, or another --backbone" in text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["old.h5", "new.weights.h5"])
def test_another_architecture_is_refused(mobilenet, name):
    with pytest.raises(WeightsError, match="not the weights of tiny"):
        network_of("tiny", mobilenet / name)


def test_a_shortened_file_is_refused(mobilenet, tmp_path):
    path = tmp_path / "short.h5"
    path.write_bytes((mobilenet / "old.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = list(file.attrs["layer_names"])[:-4]
    with pytest.raises(WeightsError, match=r"it ends before layer 'conv_pw_13"):
        network_of("mobilenet_0.25", path, image_size=32)


def test_a_lengthened_file_is_refused(mobilenet, tmp_path):
    path = tmp_path / "long.h5"
    path.write_bytes((mobilenet / "old.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        more = [f"more{number}" for number in range(3)]
        for name in more:
            file.create_group(name).attrs["weight_names"] = ["w"]
            file[name]["w"] = np.zeros(1)
        file.attrs["layer_names"] = [*file.attrs["layer_names"], *more]
    with pytest.raises(WeightsError, match=r"it has 3 more layers than mobilenet_0\.25"):
        network_of("mobilenet_0.25", path, image_size=32)


def test_weights_that_are_no_numbers_are_refused(mobilenet, tmp_path):
    path = tmp_path / "nan.h5"
    path.write_bytes((mobilenet / "old.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["conv1"]["0"][0, 0, 0, 0] = np.nan
    with pytest.raises(WeightsError, match="layer 'conv1' contains NaN"):
        network_of("mobilenet_0.25", path, image_size=32)


def test_layers_that_are_not_used_need_not_be_in_the_file(mobilenet, tmp_path, images):
    """An early layer of a cut file, as of VGG without its dense layers."""
    path = tmp_path / "short.h5"
    path.write_bytes((mobilenet / "old.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = list(file.attrs["layer_names"])[:-4]
    found, wanted = (
        feature(
            network_of("mobilenet_0.25", file, layers=["conv_pw_6_relu"], image_size=32).model, images(32)
        )
        for file in (path, mobilenet / "old.h5")
    )
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", ["Conv2D", "SeparableConv2D", "BatchNormalization", "ReLU", "LayerScale"])
def test_snake_case_is_that_of_keras(name):
    from keras.src.utils.naming import to_snake_case

    assert snake_case(name) == to_snake_case(name)


def test_another_image_size_is_named_as_the_reason_where_it_may_be(tmp_path):
    """Mean image and dense layers of VGG-M are as large as the image makes them."""
    backbone = find_backbone("vgg_m")
    model = build_backbone(backbone, resolve_weights("random", backbone)[0], 51)
    save_backbone(model, tmp_path / "small.weights.h5")
    with pytest.raises(
        WeightsError, match=r"'mean_image'.* at 83 px its shapes differ from those at its default of 224 px"
    ):
        network_of("vgg_m", tmp_path / "small.weights.h5", image_size=83)
