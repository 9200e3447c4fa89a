"""Reader of MatConvNet files, on files written in exactly that structure."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from featx.errors import WeightsError
from featx.zoo.backbones import find_backbone
from featx.zoo.formats.keras_files import read_weights
from featx.zoo.formats.matconvnet import guess_backbone, read_mat, read_matconvnet
from featx.zoo.network import build_network, convert_weights
from featx.zoo.weights import resolve_weights

# Layer, kernel (height, width, channels, number), stride, padding; pools and normalisation between.
VGG_M = (
    ("conv", "conv1", (7, 7, 3, 96), 2, 0),
    ("normalize", "norm1"),
    ("pool", "pool1", 3, 2, [0, 1, 0, 1]),
    ("conv", "conv2", (5, 5, 96, 256), 2, 1),
    ("normalize", "norm2"),
    ("pool", "pool2", 3, 2, [0, 1, 0, 1]),
    ("conv", "conv3", (3, 3, 256, 512), 1, 1),
    ("conv", "conv4", (3, 3, 512, 512), 1, 1),
    ("conv", "conv5", (3, 3, 512, 512), 1, 1),
    ("pool", "pool5", 3, 2, [0, 1, 0, 1]),
    ("conv", "fc6", (6, 6, 512, 4096), 1, 0),
    ("conv", "fc7", (1, 1, 4096, 4096), 1, 0),
    ("conv", "fc8", (1, 1, 4096, 10), 1, 0),
)


# An eighth of its filters: the same arithmetic without the minutes.
NARROW = {"filters": (12, 32, 64, 64, 64), "units": 512}


def layer_struct(layer: tuple, weights: tuple[np.ndarray, np.ndarray] | None, newer: bool) -> dict:
    kind, name, *rest = layer
    if kind == "normalize":
        return {"type": "lrn" if newer else kind, "name": name, "param": np.array([5, 2, 1e-4, 0.75])}
    if kind == "pool":
        window, stride, pad = rest
        return {
            "type": kind,
            "name": name,
            "method": "max",
            "pool": np.array([window, window]),
            "stride": stride,
            "pad": np.array(pad),
        }
    assert weights is not None
    facts = {"type": kind, "name": name, "stride": rest[1], "pad": rest[2]}
    if newer:
        cell = np.empty((1, 2), object)
        cell[0, 0], cell[0, 1] = weights
        return {**facts, "weights": cell}
    return {**facts, "filters": weights[0], "biases": weights[1][None]}


def write(path: Path, layers, tensors: dict, mean: np.ndarray, newer: bool = False) -> Path:
    """Write a network as MatConvNet publishes it; a ReLU follows each convolution but the last."""
    cells = []
    for layer in layers:
        cells.append(layer_struct(layer, tensors.get(layer[1]), newer))
        if layer[0] == "conv" and layer is not layers[-1]:
            cells.append({"type": "relu", "name": f"relu_{layer[1]}"})
    cell = np.empty((1, len(cells)), object)
    cell[0, :] = cells
    names = np.empty((1, 10), object)
    names[0, :] = [f"class {number}" for number in range(10)]
    facts = {"normalization": {"averageImage": mean}, "classes": {"description": names}}
    savemat(path, {"layers": cell, **({"meta": facts} if newer else facts)})
    return path


def tensors_of(layers, random: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Known tensors, scaled so that activations neither die nor grow."""
    found = {}
    for kind, name, shape, *_ in (layer for layer in layers if layer[0] == "conv"):
        assert kind == "conv"
        scale = np.float32(np.sqrt(2 / np.prod(shape[:3])))
        kernel = random.standard_normal(shape, np.float32) * scale
        found[name] = kernel, random.standard_normal(shape[-1], np.float32) * np.float32(0.1)
    return found


def conv(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray, stride: int, pad: int) -> np.ndarray:
    """Correlate (h, w, c) with (k, k, c, filters), written out."""
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    side = kernel.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(0, 1))[::stride, ::stride]
    return np.einsum("hwcij,ijcf->hwf", windows, kernel, optimize=True) + bias


def lrn(x: np.ndarray) -> np.ndarray:
    """Normalise across five channels, k = 2, alpha = 1e-4 undivided, beta = .75."""
    result = np.empty_like(x)
    for channel in range(x.shape[-1]):
        near = x[..., max(0, channel - 2) : channel + 3]
        result[..., channel] = x[..., channel] / (2 + 1e-4 * (near**2).sum(-1)) ** 0.75
    return result


def pool(x: np.ndarray, pad: int = 0) -> np.ndarray:
    """Maximum of 3x3 with stride 2; `pad` rows and columns below and to the right."""
    x = np.pad(x, ((0, pad), (0, pad), (0, 0)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))[::2, ::2]
    return windows.max((-2, -1))


def forward(image: np.ndarray, tensors: dict[str, tuple[np.ndarray, ...]]) -> np.ndarray:
    """Compute fc2 of VGG-M for one image (224, 224, 3), in double precision."""
    relu = lambda x: np.maximum(x, 0)  # noqa: E731
    x = image - tensors["mean_image"][0].astype(float)
    x = pool(lrn(relu(conv(x, *tensors["conv1"], 2, 0))))
    x = pool(lrn(relu(conv(x, *tensors["conv2"], 2, 1))), pad=1)
    for name in ("conv3", "conv4", "conv5"):
        x = relu(conv(x, *tensors[name], 1, 1))
    x = pool(x).reshape(-1)
    for name in ("fc1", "fc2"):
        kernel, bias = tensors[name]
        x = relu(x @ kernel + bias)
    return x


def narrowed(layers, by: int = 8):
    """The same layers with the filters of `NARROW`, and fewer in the last layer."""
    result, channels = [], 3
    for layer in layers:
        if layer[0] == "conv":
            kind, name, (height, across, _, filters), *rest = layer
            layer = (kind, name, (height, across, channels, filters // by), *rest)
            channels = filters // by
        result.append(layer)
    return tuple(result)


def test_vgg_m_from_its_file_agrees_with_numpy(tmp_path, monkeypatch):
    """File as published but narrower, network of featx, forward pass by NumPy alone from the same tensors."""
    import keras

    random = np.random.default_rng(2)
    layers = narrowed(VGG_M)
    tensors = tensors_of(layers, random)
    mean = random.uniform(90, 140, (224, 224, 3)).astype(np.float32)
    path = write(tmp_path / "imagenet-vgg-m.mat", layers, tensors, mean)
    backbone = replace(find_backbone("vgg_m"), arguments=NARROW, width=512)
    monkeypatch.setattr("featx.zoo.network.find_backbone", lambda name: {"vgg_m": backbone}[name])
    network = build_network(backbone, resolve_weights(path, backbone)[0])
    image = random.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    found = keras.ops.convert_to_numpy(network.model(image[None], training=False))[0]
    named = {name: tensors[name] for name in ("conv1", "conv2", "conv3", "conv4", "conv5")}
    for ours, theirs in (("fc1", "fc6"), ("fc2", "fc7")):
        kernel, bias = tensors[theirs]
        named[ours] = kernel.reshape(-1, 512), bias
    wanted = forward(image.astype(float), {"mean_image": (mean,), **named})
    assert (wanted > 0).mean() > 0.2
    np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.max())
    converted = convert_weights(path)
    assert converted == tmp_path / "imagenet-vgg-m.weights.h5"
    written = sorted(float(array.sum()) for layer in read_weights(converted).layers for array in layer.arrays)
    kept = [mean, *(array for pair in named.values() for array in pair)]
    np.testing.assert_array_equal(written, sorted(float(array.sum()) for array in kept))


def small(layers, width: int = 4):
    """The same layers with few filters: what a reader sees is all there, and nothing heavy."""
    result, channels = [], 3
    for layer in layers:
        if layer[0] != "conv":
            result.append(layer)
            continue
        kind, name, (height, across, _, _), stride, pad = layer
        result.append((kind, name, (height, across, channels, width), stride, pad))
        channels = width
    return tuple(result)


@pytest.mark.parametrize("newer", [False, True])
def test_older_and_newer_files_are_read(tmp_path, newer):
    layers = small(VGG_M)
    tensors = tensors_of(layers, np.random.default_rng(0))
    mean = np.full((1, 1, 3), 100.0)
    path = write(tmp_path / "net.mat", layers, tensors, mean, newer)
    contents = read_matconvnet(path, "vgg_m")
    assert [layer.name for layer in contents.layers] == [
        "mean_image", "conv1", "conv2", "conv3", "conv4", "conv5", "fc1", "fc2", "predictions",
    ]  # fmt: skip
    assert contents.classes[:2] == ("class 0", "class 1")
    np.testing.assert_array_equal(contents.layers[1].arrays[0], tensors["conv1"][0])
    np.testing.assert_array_equal(contents.layers[6].arrays[0], tensors["fc6"][0].reshape(-1, 4))
    assert contents.layers[0].arrays[0].shape == (224, 224, 3)
    assert guess_backbone(path) == "vgg_m"


def vgg16_layers():
    layers, channels = [], 3
    for block, (filters, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for number in range(1, count + 1):
            layers.append(("conv", f"conv{block}_{number}", (3, 3, channels, filters), 1, 1))
            channels = filters
        layers.append(("pool", f"pool{block}", 2, 2, [0, 0, 0, 0]))
    layers += [("conv", "fc6", (7, 7, 512, 4096), 1, 0), ("conv", "fc7", (1, 1, 4096, 4096), 1, 0)]
    return (*layers, ("conv", "fc8", (1, 1, 4096, 10), 1, 0))


def test_vgg16_gets_its_colours_in_the_order_of_keras(tmp_path):
    layers = small(vgg16_layers())
    tensors = tensors_of(layers, np.random.default_rng(0))
    mean = np.array([123.68, 116.779, 103.939]).reshape(1, 1, 3)
    path = write(tmp_path / "vgg16.mat", layers, tensors, mean)
    contents = read_matconvnet(path, guess_backbone(path))
    first, second = contents.layers[:2]
    assert (first.name, contents.layers[-2].name) == ("block1_conv1", "fc2")
    np.testing.assert_array_equal(first.arrays[0], tensors["conv1_1"][0][:, :, ::-1])
    np.testing.assert_array_equal(second.arrays[0], tensors["conv1_2"][0])
    other = write(tmp_path / "other.mat", layers, tensors, mean + 1)
    with pytest.raises(WeightsError, match="its mean image is not the mean colour"):
        read_matconvnet(other, "vgg16")


def test_other_networks_are_told(tmp_path):
    layers = small(VGG_M)
    tensors = tensors_of(layers, np.random.default_rng(0))
    mean = np.full((1, 1, 3), 100.0)
    path = write(tmp_path / "net.mat", layers, tensors, mean)
    backbone = replace(find_backbone("vgg_m"), arguments=NARROW, width=512)
    with pytest.raises(
        WeightsError, match=r"first layer that differs is 'conv1': found 'conv1' 7x7x3x4 4, expected"
    ):
        build_network(backbone, resolve_weights(path, backbone)[0])
    with pytest.raises(
        WeightsError, match=r"a MatConvNet file, .* vgg_m, vgg16, vgg19; give .* got 'resnet50'"
    ):
        read_matconvnet(path, "resnet50")
    strided = tuple((*layer[:3], 1, *layer[4:]) if layer[1] == "conv2" else layer for layer in layers)
    with pytest.raises(WeightsError, match="its strides, padding or pooling differ"):
        read_matconvnet(write(tmp_path / "s.mat", strided, tensors, mean), "vgg_m")
    with pytest.raises(WeightsError, match="has no averageImage"):
        read_matconvnet(write(tmp_path / "m.mat", layers, tensors, np.zeros(7)), "vgg_m")
    savemat(tmp_path / "data.mat", {"x": np.zeros(3)})
    with pytest.raises(WeightsError, match="without a cell array `layers`"):
        read_matconvnet(tmp_path / "data.mat", "vgg_m")
    (tmp_path / "cut.mat").write_bytes(path.read_bytes()[:900])
    with pytest.raises(WeightsError, match="damaged MATLAB file"):
        read_matconvnet(tmp_path / "cut.mat", "vgg_m")


def test_convert_tells_what_it_needs(tmp_path):
    file = tmp_path / "a.weights.h5"
    file.write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(WeightsError, match="give --backbone"):
        convert_weights(file)
    with pytest.raises(WeightsError, match=r"must end in \.weights\.h5"):
        convert_weights(file, backbone="tiny", output=tmp_path / "b.h5")
    with pytest.raises(WeightsError, match="the output would overwrite the input"):
        convert_weights(file, backbone="tiny")
    assert file.read_bytes() == b"\x89HDF\r\n\x1a\n"


NUMBERS = st.one_of(
    st.sampled_from([np.float32, np.float64, np.uint8, np.int32]).flatmap(
        lambda kind: st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(1, 2)).map(
            lambda shape: np.arange(np.prod(shape), dtype=kind).reshape(shape)
        )
    ),
    st.floats(allow_nan=False),
    st.integers(-1000, 1000),
    st.text(alphabet="abcé", max_size=5),
)


def cell(values: list) -> np.ndarray:
    made = np.empty((1, len(values)), object)
    made[0, :] = values
    return made


NAMES = st.sampled_from(["a", "weights", "long_name_of_a_field"])


VALUES = st.recursive(
    NUMBERS,
    lambda inner: st.lists(inner, max_size=3).map(cell) | st.dictionaries(NAMES, inner, min_size=1),
    max_leaves=8,
)


def same(one, other) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.shape != other.shape or one.dtype.names != other.dtype.names:
            return False
        if one.dtype.names:
            return all(same(one[name], other[name]) for name in one.dtype.names)
        if one.dtype == object:
            return all(same(a, b) for a, b in zip(one.ravel(), other.ravel(), strict=True))
        return one.dtype.kind == other.dtype.kind and np.array_equal(one, other)
    return False


@given(st.dictionaries(NAMES, VALUES, min_size=1), st.booleans())
def test_variables_are_read_as_scipy_reads_them(tmp_path_factory, variables, compressed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, variables, do_compression=compressed, long_field_names=True)
    wanted = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    found = read_mat(path)
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert same(value, wanted[name]), (value, wanted[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:200], "longer than its container"),
        (lambda data: data[:126] + b"XX" + data[128:], "does not state the byte order"),
        (
            lambda data: data[:128] + struct.pack("<2I", 3, 8) + bytes(8),
            "expected a variable, got an element of type 3",
        ),
        (lambda data: data[:128] + struct.pack("<2I", 14, 1 << 31) + bytes(8), "longer than its container"),
        (lambda data: data.replace(struct.pack("<2i", 1, 3), struct.pack("<2i", 1, 1 << 30)), "members in"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, message):
    path = tmp_path / "a.mat"
    savemat(path, {"a": cell([1.0, 2.0, 3.0])})
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        read_mat(path)


def test_no_file_unpacks_to_much_more_than_itself(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"a": 1.0})
    bomb = zlib.compress(bytes(80 << 20))
    path.write_bytes(path.read_bytes()[:128] + struct.pack("<2I", 15, len(bomb)) + bomb)
    with pytest.raises(ValueError, match="unpacks to more than 67 MB"):
        read_mat(path)


def test_cells_in_cells_in_cells_are_refused(tmp_path):
    value = 1.0
    for _ in range(40):
        value = cell([value])
    path = tmp_path / "a.mat"
    savemat(path, {"a": value})
    with pytest.raises(ValueError, match="nested deeper"):
        read_mat(path)
