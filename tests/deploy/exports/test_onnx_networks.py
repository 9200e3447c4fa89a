"""Networks of every kind as ONNX: the written file computes what featx computes, on random weights."""

from __future__ import annotations

import numpy as np
import pytest

from featx.deploy.exports.export_check import CheckImages, compare, reference_scores
from featx.deploy.exports.export_formats import FORMATS
from featx.deploy.exports.export_graph import exported_graph
from featx.stats import Calibration, Sigmoid
from featx.svm import Decision, Scaler, SvmModel
from featx.zoo import build_network, find_backbone, resolve_weights

NOTHING = np.empty(0)
NETWORKS = [
    ("densenet121", 32),
    ("nasnet_mobile", 32),
    ("vit_ti16", 32),
    ("dinov2_small", 28),
    ("siglip_base", 32),
    ("mit_b0", 64),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), NETWORKS, ids=[name for name, _ in NETWORKS])
def test_a_network_gives_the_same_decision_values_as_onnx(name, size, tmp_path):
    backbone = find_backbone(name)
    if backbone.family.endswith("hub") or backbone.preset:
        pytest.importorskip("keras_hub")
    (weights,) = resolve_weights("random:1", backbone)
    network = build_network(backbone, weights, image_size=size)
    rng = np.random.default_rng(2)
    images = CheckImages("noise", tuple("abcde"), rng.integers(0, 256, (5, size, size, 3), np.uint8))
    features = network.model(images.pixels.astype(np.float32), training=False)
    spread = np.asarray(features[0] if isinstance(features, list) else features, np.float64)
    # Features of random weights differ little between images: centring and scaling them makes the test one of each image.
    scaler = Scaler("zscore", spread.mean(axis=0), 1 / np.maximum(spread.std(axis=0), 1e-3), np.empty((0, 0)))
    decision = Decision(scaler, rng.normal(size=spread.shape[1]) / 30, 0.1, 1.0, 0.0, 1)
    calibration = Calibration("sigmoid", (Sigmoid(1.5, -0.2),), 9, (4,))
    svm = SvmModel("r", ("no", "yes"), ("yes",), (decision,), calibration=calibration)
    wanted = reference_scores(network, svm, images.pixels)
    assert np.ptp(wanted) > 0.05
    path = tmp_path / "m.onnx"
    FORMATS["onnx"].write(exported_graph(network, svm, calibrated=True), path, {"use": "test"})
    found = compare(FORMATS["onnx"].load(path), images, wanted, svm, calibrated=True)
    assert found.scores <= 1e-4
