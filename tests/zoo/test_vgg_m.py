"""VGG-M: its layers, and its forward pass against NumPy alone."""

from __future__ import annotations

import numpy as np
import pytest

from featx.zoo.backbones import find_backbone
from featx.zoo.network import build_backbone
from featx.zoo.weights import resolve_weights


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


@pytest.fixture(scope="module")
def model():
    backbone = find_backbone("vgg_m")
    return build_backbone(backbone, resolve_weights("random:0", backbone)[0])


def test_shapes_are_those_of_the_paper(model):
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    assert shapes["conv1"] == (109, 109, 96)
    assert shapes["pool1"] == (54, 54, 96)
    assert shapes["conv2"] == (26, 26, 256)
    assert shapes["pool2"] == (13, 13, 256)
    assert shapes["conv5"] == (13, 13, 512)
    assert shapes["pool5"] == (6, 6, 512)
    assert shapes["fc2"] == (4096,)


def test_forward_pass_agrees_with_numpy(model):
    """With weights of published size (biases, a mean image with structure), to 1e-4 of the largest value."""
    random = np.random.default_rng(1)
    for layer in model.layers:
        for variable in layer.weights:
            if variable.name == "bias":
                variable.assign(random.normal(0, 0.1, variable.shape))
            if variable.name == "mean":
                variable.assign(random.uniform(90, 140, variable.shape))
    tensors = {layer.name: tuple(map(np.asarray, layer.get_weights())) for layer in model.layers}
    image = random.uniform(0, 255, (224, 224, 3)).astype("float32")
    found = np.asarray(model(image[None], training=False))[0]
    wanted = forward(image, tensors)
    assert (wanted > 0).sum() > 500
    np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.max())


def test_response_normalisation_is_not_divided_by_its_size():
    from featx.zoo.vgg_m import LocalResponseNormalization

    x = np.random.default_rng(0).normal(0, 100, (2, 3, 3, 7)).astype("float32")
    layer = LocalResponseNormalization()
    np.testing.assert_allclose(np.asarray(layer(x)), lrn(x), rtol=1e-5)
    again = LocalResponseNormalization.from_config(layer.get_config())
    assert (again.size, again.k, again.alpha, again.beta) == (5, 2.0, 1e-4, 0.75)


def test_mean_image_begins_as_the_mean_colour_and_is_not_trained(model):
    layer = model.get_layer("mean_image")
    assert not layer.trainable_weights
    assert layer.mean.shape == (224, 224, 3)
