"""Random weights: the values depend on the seed alone, and follow the rules of Keras' initialisers."""

from __future__ import annotations

import dataclasses
import hashlib
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from featx.errors import BackboneError
from featx.zoo.backbones import find_backbone
from featx.zoo.initial import draw_weights
from featx.zoo.network import build_backbone, build_network
from featx.zoo.weights import resolve_weights


def weights_of(name: str, seed: int = 3, side: int | None = None) -> list[np.ndarray]:
    row = find_backbone(name)
    return build_backbone(row, resolve_weights(f"random:{seed}", row)[0], side).get_weights()


def digest_of(values: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(np.asarray(value).tobytes() for value in values)).hexdigest()


def test_no_other_thread_has_a_say():
    wanted, stop = digest_of(weights_of("tiny", side=16)), threading.Event()

    def noise() -> None:
        while not stop.is_set():
            random.random()
            random.seed(5)
            time.sleep(1e-4)

    makers = [threading.Thread(target=noise) for _ in range(2)]
    for maker in makers:
        maker.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: digest_of(weights_of("tiny", side=16)), range(4)))
    finally:
        stop.set()
        for maker in makers:
            maker.join()
    assert set(found) == {wanted}


def test_seeds_differ():
    assert digest_of(weights_of("tiny", 3, 16)) != digest_of(weights_of("tiny", 4, 16))


def test_the_values_do_not_depend_on_the_part_that_is_used():
    row = find_backbone("tiny")
    source = resolve_weights("random:3", row)[0]
    part = build_network(row, source, layers=["block2_relu"], image_size=16).model.get_weights()
    whole = weights_of("tiny", side=16)
    assert any(np.array_equal(part[0], value) for value in whole)


LAYERS = {
    "conv": (20, 20, 150),
    "dense": (150,),
    "depthwise": (20, 20, 150),
    "einsum": (5, 150),
    "separable": (20, 20, 150),
}
INITIALIZERS = [
    "he_normal",
    "lecun_uniform",
    {"class_name": "RandomNormal", "config": {"mean": 1.0, "stddev": 0.2}},
    {"class_name": "TruncatedNormal", "config": {"mean": -1.0, "stddev": 0.2}},
    {
        "class_name": "VarianceScaling",
        "config": {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"},
    },
]


@pytest.mark.parametrize(
    ("kind", "given"),
    [*((kind, "glorot_uniform") for kind in LAYERS), *(("dense", given) for given in INITIALIZERS)],
    ids=str,
)
def test_the_distribution_is_that_of_keras(kind, given):
    """Mean, deviation and largest value of 20,000 numbers and more, drawn by Keras and here."""
    import keras

    names = {
        "separable": ("depthwise_initializer", "pointwise_initializer"),
        "depthwise": ("depthwise_initializer",),
    }
    options = dict.fromkeys(names.get(kind, ("kernel_initializer",)), given)
    layer = {
        "dense": lambda: keras.layers.Dense(150, **options),
        "conv": lambda: keras.layers.Conv2D(64, 3, **options),
        "einsum": lambda: keras.layers.EinsumDense("abc,cde->abde", (None, 10, 20), **options),
        "separable": lambda: keras.layers.SeparableConv2D(150, 7, depth_multiplier=2, **options),
        "depthwise": lambda: keras.layers.DepthwiseConv2D(15, depth_multiplier=2, **options),
    }[kind]()
    inputs = keras.Input(LAYERS[kind])
    model = keras.Model(inputs, layer(inputs))
    wanted = [np.array(value) for value in model.get_weights()]
    draw_weights(model, model, 0)
    for found, value in zip(model.get_weights(), wanted, strict=True):
        assert found.shape == value.shape
        assert found.dtype == value.dtype
        if value.any():
            error = value.std() / np.sqrt(value.size)
            assert abs(found.mean() - value.mean()) < 6 * error
            assert abs(found.std() / value.std() - 1) < 6 / np.sqrt(value.size)
            assert np.abs(found - found.mean()).max() < 1.3 * np.abs(value - value.mean()).max()
            assert not np.array_equal(found, value)
        else:
            np.testing.assert_array_equal(found, value)


def test_what_cannot_be_drawn_is_told():
    import keras

    inputs = keras.Input((4,))
    odd = keras.layers.Dense(4, kernel_initializer="orthogonal", name="odd")(inputs)
    model = keras.Model(inputs, odd)
    with pytest.raises(
        BackboneError, match=r"'kernel' of layer 'odd' \(Dense\).*Orthogonal is not supported"
    ):
        draw_weights(model, model, 0)

    class Bare(keras.layers.Layer):
        def build(self, shape):
            self.inner = self.add_weight(shape=(4,), initializer="random_normal", name="inner")

        def call(self, x):
            return x + self.inner

    model = keras.Model(inputs, Bare(name="bare")(inputs))
    with pytest.raises(BackboneError, match=r"'inner' of layer 'bare' \(Bare\).*has no initialiser"):
        draw_weights(model, model, 0)


def test_only_random_weights_are_drawn():
    import keras

    row = find_backbone("tiny")
    trained = dataclasses.replace(resolve_weights("random:3", row)[0], seed=None)
    network = build_network(row, trained, image_size=16)
    keras.backend.clear_session()
    assert digest_of(network.model.get_weights()) != digest_of(weights_of("tiny", 3, 16))
