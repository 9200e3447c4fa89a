"""VGG-M: its layers. Its forward pass is compared with NumPy in test_matconvnet.py."""

from __future__ import annotations

import numpy as np
import pytest

from featx.zoo.backbones import find_backbone
from featx.zoo.network import build_backbone
from featx.zoo.weights import resolve_weights


@pytest.fixture(scope="module")
def model():
    """The network of the paper, without the seconds that drawing its weights would take."""
    import keras

    backbone = find_backbone("vgg_m")
    with keras.StatelessScope(initialize_variables=False):
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
    assert model.get_layer("fc1").kernel.shape == (6 * 6 * 512, 4096)


def test_response_normalisation_is_not_divided_by_its_size():
    from featx.zoo.vgg_m import LocalResponseNormalization

    x = np.random.default_rng(0).normal(0, 100, (2, 3, 3, 7)).astype("float32")
    layer = LocalResponseNormalization()
    wanted = np.empty_like(x)
    for channel in range(7):
        near = x[..., max(0, channel - 2) : channel + 3]
        wanted[..., channel] = x[..., channel] / (2 + 1e-4 * (near**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(np.asarray(layer(x)), wanted, rtol=1e-5)
    again = LocalResponseNormalization.from_config(layer.get_config())
    assert (again.size, again.k, again.alpha, again.beta) == (5, 2.0, 1e-4, 0.75)


def test_mean_image_begins_as_the_mean_colour_and_is_not_trained(model):
    layer = model.get_layer("mean_image")
    assert not layer.trainable_weights
    assert layer.mean.shape == (224, 224, 3)
