"""Counted costs against sums by hand and against published figures."""

from __future__ import annotations

import pytest

from featx.zoo.backbones import find_backbone, list_backbones
from featx.zoo.cost import MULTIPLY_ADDS, Cost, count_costs
from featx.zoo.network import build_network
from featx.zoo.weights import resolve_weights


def test_layers_by_hand():
    from keras import Input, Model, layers

    inputs = Input((8, 8, 3))
    conv = layers.Conv2D(4, 3, strides=2, padding="same")(inputs)  # 4x4 places, kernel 3x3x3x4
    depthwise = layers.DepthwiseConv2D(3, padding="same")(conv)  # 4x4 places, kernel 3x3x4
    grouped = layers.Conv2D(6, 1, groups=2)(depthwise)  # each filter sees half of the 4 channels
    separable = layers.SeparableConv2D(5, 3)(layers.BatchNormalization()(grouped))  # 2x2 places
    dense = layers.Dense(7)(separable)  # on each of 2x2 places
    model = Model(inputs, [layers.GlobalAveragePooling2D()(conv), layers.Flatten()(dense)])
    first = 16 * 3 * 3 * 3 * 4
    whole = first + 16 * 3 * 3 * 4 + 16 * 2 * 6 + 4 * (3 * 3 * 6 + 6 * 5) + 4 * 5 * 7
    assert count_costs(model) == (Cost(3 * 3 * 3 * 4 + 4, first), Cost(model.count_params(), whole))


def test_attention_by_hand():
    from keras import Input, Model, layers, ops

    tokens, others = Input((5, 6)), Input((3, 6))
    attention = layers.MultiHeadAttention(num_heads=2, key_dim=4, value_dim=3)
    projections = 5 * 6 * 8 + 3 * 6 * 8 + 3 * 6 * 6 + 5 * 6 * 6  # queries, keys, values, output
    products = 2 * 5 * 3 * (4 + 3)
    (cost,) = count_costs(Model([tokens, others], attention(tokens, others)))
    assert cost.multiply_adds == projections + products
    einsum = layers.EinsumDense("abc,cde->abde", (5, 2, 4))(tokens)
    product = ops.matmul(einsum, ops.transpose(einsum, (0, 1, 3, 2)))
    (cost,) = count_costs(Model(tokens, product))
    assert cost.multiply_adds == 5 * 6 * 8 + 5 * 2 * 2 * 4


def test_an_unknown_layer_is_not_passed_over():
    from keras import Input, Model, layers

    inputs = Input((8, 3))
    assert count_costs(Model(inputs, layers.LSTM(2)(inputs)))[0].multiply_adds is None


@pytest.mark.parametrize("name", ["tiny", "mobilenet_v2", "vit_b16"])
def test_the_table_holds_what_is_counted(name):
    backbone = find_backbone(name)
    network = build_network(backbone, resolve_weights("random", backbone)[0])
    assert count_costs(network.model) == (Cost(backbone.parameters, MULTIPLY_ADDS[name]),)


# Billions. Tables of the papers; torchvision's for its own arithmetic, ViT as of Touvron et al. 2021.
_PUBLISHED = {
    "mobilenet": 0.569,
    "mobilenet_v2": 0.300,
    "resnet50": 3.86,
    "resnet50_torch": 4.09,
    "vgg16": 15.47,
    "efficientnet_b0": 0.39,
    "convnext_tiny": 4.46,
    "densenet121": 2.83,
    "vit_b16": 17.6,
}


@pytest.mark.parametrize(("name", "billions"), _PUBLISHED.items())
def test_published_figures(name, billions):
    assert MULTIPLY_ADDS[name] / 1e9 == pytest.approx(billions, rel=0.02)


def test_the_table_names_backbones():
    assert set(MULTIPLY_ADDS) <= {row.name for row in list_backbones()}
