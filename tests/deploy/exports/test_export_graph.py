"""The graph of a run computes what its SVMs and calibrations compute."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from featx.deploy.exports.export_graph import PROBABILITY, SCORE, _curve, exported_graph
from featx.stats import Calibration, IsotonicCurve, Sigmoid, calibrate
from featx.svm import Decision, Scaler, SvmModel
from featx.zoo import build_network, find_backbone, resolve_weights

NOTHING = np.empty(0)
CURVE = IsotonicCurve((-1.0, 0.0, 0.5, 0.5, 2.0), (0.1, 0.3, 0.3, 0.6, 0.9))


@pytest.fixture(scope="module")
def network():
    backbone = find_backbone("tiny")
    (weights,) = resolve_weights("random:0", backbone)
    return build_network(backbone, weights, image_size=32)


def scaler(name: str, width: int, rng: np.random.Generator) -> Scaler:
    center = rng.normal(size=width)
    if name == "zscore":
        return Scaler(name, center, rng.random(width) * 3, np.empty((0, 0)))
    if name == "whiten":
        return Scaler(name, center, NOTHING, rng.normal(size=(width, 9)))
    return Scaler(name, NOTHING, NOTHING, np.empty((0, 0)))


def svm(scalings: tuple[str, ...], width: int, calibration: Calibration | None = None) -> SvmModel:
    rng = np.random.default_rng(0)
    scalers = [scaler(name, width, rng) for name in scalings]
    sizes = [one.components.shape[1] or width for one in scalers]
    decisions = [
        Decision(one, rng.normal(size=size), 0.3, 1.0, 0.0, 1)
        for one, size in zip(scalers, sizes, strict=True)
    ]
    names = ("a", "b", "c")[: max(2, len(scalings))]
    return SvmModel("r", names, names[-len(scalings) :], tuple(decisions), calibration=calibration)


@pytest.mark.parametrize(
    "scalings",
    [
        ("l2",),
        ("root",),
        ("none",),
        ("zscore",),
        ("whiten",),
        ("l2", "root", "zscore", "whiten"),
        ("l2", "l2", "l2"),
    ],
)
def test_every_scaling_is_in_the_graph(network, scalings):
    model = svm(scalings, network.widths[0])
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    features = np.asarray(network.model(pixels.astype(np.float32)))
    outputs = exported_graph(network, model, calibrated=False)(pixels)
    assert list(outputs) == [SCORE]
    assert np.abs(np.asarray(outputs[SCORE]) - model.scores(features, "r")).max() < 1e-5


def test_an_image_whose_feature_is_zero_has_the_intercept(network):
    pixels = keras.Input((32, 32, 3))
    silent = keras.Model(pixels, [keras.ops.zeros_like(pixels)[:, 0, :, 0]])
    outputs = exported_graph(replace(network, model=silent), svm(("l2",), 32), calibrated=False)
    assert np.asarray(outputs(np.zeros((1, 32, 32, 3), np.uint8))[SCORE]) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "curves",
    [(Sigmoid(-1.7, 0.2),), (CURVE,), (Sigmoid(1.0, 0.0), CURVE, Sigmoid(-0.5, 1.0))],
    ids=["sigmoid", "isotonic", "three classes"],
)
def test_every_calibration_is_in_the_graph(network, curves):
    calibration = Calibration("any", curves, 9, (4,) * len(curves))
    model = svm(("none",) * len(curves), network.widths[0], calibration)
    pixels = np.random.default_rng(2).integers(0, 256, (4, 32, 32, 3), np.uint8)
    outputs = exported_graph(network, model, calibrated=True)(pixels)
    scores, found = (np.asarray(outputs[name], np.float64) for name in (SCORE, PROBABILITY))
    assert np.abs(found - calibrate(calibration, scores).reshape(scores.shape)).max() < 1e-6
    assert np.ptp(scores) > 0.1  # the images differ


def test_an_isotonic_curve_is_read_at_and_between_and_outside_its_points():
    scores = np.array([-9, -1, -0.5, 0, 0.25, 0.49, 0.51, 1.25, 2, 9.0])
    found = np.asarray(_curve(scores[:, None], CURVE))[:, 0]
    assert found == pytest.approx(np.interp(scores, CURVE.scores, CURVE.probabilities), abs=1e-9)


def test_the_probability_is_of_the_decision_value_that_the_model_gives(network):
    """A curve jumps between a decision value in double precision and the same one in the output, in single precision."""
    pixels = np.random.default_rng(3).integers(0, 256, (1, 32, 32, 3), np.uint8)
    plain = svm(("none",), network.widths[0])
    exact = plain.scores(np.asarray(network.model(pixels.astype(np.float32))), "r").item()
    given = float(np.float32(exact))
    assert given != exact
    jump = (given + exact) / 2
    curve = IsotonicCurve((jump - 1, jump, jump, jump + 1), (0.0, 0.0, 1.0, 1.0))
    calibration = Calibration("isotonic", (curve,), 9, (4,))
    outputs = exported_graph(network, replace(plain, calibration=calibration), calibrated=True)(pixels)
    assert np.asarray(outputs[PROBABILITY]).item() == (given > exact)
