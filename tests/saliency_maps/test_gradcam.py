"""Maps against what can be computed otherwise: closed forms, and covering parts of the image."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from featx.errors import BackboneError
from featx.saliency_maps.gradcam import grad_cam, halve
from featx.zoo import Network, build_network, find_backbone, resolve_weights

SIDE, CELL = 64, 16


@pytest.fixture(scope="module")
def network() -> Network:
    backbone = find_backbone("tiny")
    return build_network(backbone, resolve_weights("random", backbone)[0], image_size=SIDE)


def picture(row: int | None = None, column: int = 0) -> np.ndarray:
    """Grey noise, in one of 4 x 4 cells a bright red patch."""
    pixels = np.random.default_rng(1).integers(90, 110, (SIDE, SIDE, 3), np.uint8)
    if row is not None:
        pixels[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = (250, 40, 40)
    return pixels


def features(network: Network, pixels: list[np.ndarray]) -> np.ndarray:
    return np.asarray(network.model(np.stack(pixels), training=False))


def linear(weights: np.ndarray):
    return lambda feature: (float(feature @ weights), weights)


def test_of_averages_the_map_is_the_weighted_sum_of_the_layer(network):
    """Under global average pooling Grad-CAM is CAM (Zhou et al. 2016)."""
    weights = np.random.default_rng(2).normal(size=network.widths[0])
    halves = halve(network)
    value, heat = grad_cam(halves, picture(0), linear(weights))
    (inner,) = np.asarray(halves.front(picture(0)[None], training=False))
    raised = np.maximum(inner @ weights, 0)
    assert halves.layer == "block6_relu"
    assert heat.shape == (8, 8)
    np.testing.assert_allclose(heat, raised / raised.max(), atol=1e-5)
    assert value == pytest.approx(float(features(network, [picture(0)])[0] @ weights), rel=1e-4)


@pytest.mark.parametrize(("row", "column"), [(0, 3), (2, 1)])
def test_planted_evidence_is_found_where_covering_it_tells_most(network, row, column):
    bare = picture()
    found = features(network, [bare, *(picture(r, c) for r in range(4) for c in range(4))])
    weights = (found[1:].mean(axis=0) - found[0]).astype(np.float64)  # what a patch anywhere changes
    patched = picture(row, column)
    _, heat = grad_cam(halve(network), patched, linear(weights))
    _, against = grad_cam(halve(network), patched, linear(-weights))
    covered = []
    for place in range(16):
        cell = np.s_[place // 4 * CELL : (place // 4 + 1) * CELL, place % 4 * CELL : (place % 4 + 1) * CELL]
        covered.append(patched.copy())
        covered[-1][cell] = bare[cell]
    drops = features(network, [patched])[0] @ weights - features(network, covered) @ weights
    cells, others = (item.reshape(4, 2, 4, 2).mean(axis=(1, 3)) for item in (heat, against))
    assert np.unravel_index(np.argmax(drops), (4, 4)) == (row, column)
    assert np.unravel_index(np.argmax(cells), (4, 4)) == (row, column)
    assert others[row, column] == 0


def test_an_empty_map_where_nothing_raises_the_value(network):
    _, heat = grad_cam(halve(network), picture(), linear(np.zeros(network.widths[0])))
    assert not heat.any()


def test_a_layer_can_be_chosen_and_a_wrong_one_is_told(network):
    halves = halve(network, "block2_relu")
    assert grad_cam(halves, picture(1), linear(np.ones(network.widths[0])))[1].shape == (16, 16)
    with pytest.raises(
        BackboneError, match=r"tiny has no layer 'block9' before its feature; `featx zoo show"
    ):
        halve(network, "block9")


def wrapped(network: Network, inputs, outputs) -> Network:
    import keras

    return replace(network, model=keras.Model(inputs, outputs))


def test_what_goes_around_a_layer_and_what_has_no_places(network):
    from keras import Input, layers

    inputs = Input((8, 8, 3))
    branch = layers.Conv2D(4, 3, padding="same", name="branch")(inputs)
    joined = layers.Concatenate(name="joined")([inputs, branch])
    skipped = wrapped(network, inputs, layers.GlobalAveragePooling2D()(joined))
    assert halve(skipped).layer == "joined"
    with pytest.raises(
        BackboneError, match="layer 'branch' of tiny is not a feature map that the whole feature"
    ):
        halve(skipped, "branch")
    flat = Input((12,))
    with pytest.raises(BackboneError, match="tiny has no layer with spatial positions before 'global pool'"):
        halve(wrapped(network, flat, layers.Dense(3)(flat)))


def test_of_a_transformer_the_patches_that_the_class_token_looks_at(network):
    from keras import Input, layers

    from featx.zoo.architectures import ClassToken

    inputs = Input((32, 32, 3))
    patches = layers.Conv2D(6, 8, 8, name="patches")(inputs)
    tokens = ClassToken(name="with_token")(layers.Reshape((16, 6))(patches))
    attended = layers.MultiHeadAttention(2, 3, name="attention")(tokens, tokens)
    mixed = layers.Add(name="mixed")([tokens, attended])
    small = wrapped(network, inputs, layers.LayerNormalization(name="last")(mixed)[:, 0])
    halves = halve(small)
    assert halves.layer == "with_token"  # behind the attention the class token is all that counts
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert grad_cam(halves, pixels, linear(np.arange(6.0)))[1].shape == (4, 4)


_CODE = """
import sys
import numpy as np
from featx.saliency_maps.gradcam import grad_cam, halve
from featx.zoo.backbones import find_backbone
from featx.zoo.network import build_network
from featx.zoo.weights import resolve_weights
row = find_backbone("tiny")
network = build_network(row, resolve_weights(sys.argv[1], row)[0], image_size=64)
weights = np.linspace(-1, 1, network.widths[0])
np.save(sys.argv[3], grad_cam(halve(network), np.load(sys.argv[2]), lambda x: (float(x @ weights), weights))[1])
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_backends_agree(backend, network, tmp_path):
    import keras

    from featx.zoo import save_backbone

    if backend == keras.backend.backend() or importlib.util.find_spec(backend) is None:
        pytest.skip(f"no second backend: {backend} is not installed, or is the one at work")
    file, pixels, out = tmp_path / "net.weights.h5", tmp_path / "pixels.npy", tmp_path / "heat.npy"
    save_backbone(network.model, file)
    np.save(pixels, picture(1, 2))
    subprocess.run(
        [sys.executable, "-c", _CODE, str(file), str(pixels), str(out)],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
    )
    weights = np.linspace(-1, 1, network.widths[0])
    np.testing.assert_allclose(
        np.load(out), grad_cam(halve(network), picture(1, 2), linear(weights))[1], atol=1e-4
    )
