"""The engine that a pass is worth, by counted work."""

from __future__ import annotations

import pytest

from featx.features.engines import Load, choose_engine
from featx.zoo import find_backbone


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
        # An export that stands costs nothing.
        ("tiny", 64, 1, True, 2, "openvino"),
    ],
)
def test_the_engine_follows_the_work(name, side, rows, exported, cores, engine):
    chosen, why = choose_engine([Load(find_backbone(name), side, rows, exported)], cores)
    assert chosen == engine
    assert why == "its exports stand" if exported else "takes about" in why


def test_exports_that_stand_lower_the_price_of_the_others():
    heavy, light = find_backbone("xception"), find_backbone("tiny")
    missing = [Load(heavy, 299, 150, True), Load(light, 64, 150, True), Load(light, 64, 150, False)]
    assert choose_engine(missing, 1)[0] == "openvino"
    assert (
        choose_engine([Load(load.backbone, load.image_size, 150, False) for load in missing], 1)[0] == "keras"
    )
