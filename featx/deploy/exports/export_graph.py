"""The network and the SVMs of a run as one Keras model: from pixels to decision values and predicted probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.stats import Calibration, IsotonicCurve, Sigmoid

if TYPE_CHECKING:
    import keras

    from featx.svm import Decision, SvmModel
    from featx.zoo import Network

__all__ = ["INPUT", "PROBABILITY", "SCORE", "exported_graph"]

INPUT, SCORE, PROBABILITY = "pixels", "score", "probability"
"""Names of the input and the outputs of an exported model."""

Floats = npt.NDArray[np.float64]

# The head computes in double precision, as featx does: its rounding errors then do not add to those of the network.
_PRECISION = "float64"
# The smallest distance of two points of an isotonic curve; a jump is that wide.
_JUMP = 1e-12


def exported_graph(network: Network, svm: SvmModel, *, calibrated: bool) -> keras.Model:
    """Put the SVMs and their calibration on top of a network.

    Parameters
    ----------
    network : Network
        The network up to its feature layer.
    svm : SvmModel
        SVMs of its features.
    calibrated : bool
        Whether the model has predicted probabilities as its second output.

    Returns
    -------
    keras.Model
        From pixels (uint8, shape (n, image_size, image_size, 3), RGB) to the decision values (float32, shape (n, scored
        classes)), and of these to the predicted probabilities of the same shape.
    """
    import keras

    pixels = keras.Input((network.image_size, network.image_size, 3), dtype="uint8", name=INPUT)
    (feature,) = keras.tree.flatten(network.model(keras.ops.cast(pixels, "float32")))
    scores = _scores(feature, svm.decisions)
    outputs = {SCORE: _named(scores, SCORE)}
    if calibrated and svm.calibration is not None:
        # Of the decision value as it is given, rounded: at a jump of a curve the next one may have another probability.
        given = keras.ops.cast(outputs[SCORE], _PRECISION)
        outputs[PROBABILITY] = _named(_probabilities(given, svm.calibration), PROBABILITY)
    return keras.Model(pixels, outputs, name="featx")


def _named(value: Any, name: str) -> Any:
    import keras

    return keras.layers.Activation("linear", dtype="float32", name=name)(keras.ops.cast(value, "float32"))


def _scores(feature: Any, decisions: Sequence[Decision]) -> Any:
    """Add up a dense layer for each kind of input that SVMs have: features, those of unit length, or their roots."""
    import keras

    weights, intercepts = zip(*(_affine(one) for one in decisions), strict=True)
    kinds = np.array([one.scaler.name if one.scaler.name in ("l2", "root") else "" for one in decisions])
    parts = [
        _dense(_input(kind, feature), weights, intercepts, kinds == kind, name)
        for kind, name in (("l2", "svm_of_unit_length"), ("root", "svm_of_roots"), ("", "svm"))
        if (kinds == kind).any()
    ]
    return parts[0] if len(parts) == 1 else keras.layers.Add(dtype=_PRECISION, name="svms")(parts)


def _input(kind: str, feature: Any) -> Any:
    """Scale the features where nothing has to be fitted for it."""
    import keras

    if not kind:
        return feature
    if kind == "root":
        feature = keras.ops.sign(feature) * keras.ops.sqrt(keras.ops.abs(feature))
    return keras.layers.UnitNormalization(
        dtype=_PRECISION, name="unit_length" if kind == "l2" else "unit_length_of_roots"
    )(feature)


def _affine(decision: Decision) -> tuple[Floats, float]:
    """Join the scaling with the weights: the decision value is ``x @ weights + intercept``."""
    scaler = decision.scaler
    weights = scaler.components @ decision.weights if scaler.components.size else decision.weights
    weights = weights * scaler.factor if scaler.factor.size else weights
    shift = float(scaler.center @ weights) if scaler.center.size else 0.0
    return weights, decision.intercept - shift


def _dense(
    x: Any, weights: Sequence[Floats], intercepts: Sequence[float], used: npt.NDArray[np.bool_], name: str
) -> Any:
    """Apply the SVMs that are used; the others give 0."""
    import keras

    layer = keras.layers.Dense(len(weights), dtype=_PRECISION, name=name)
    values = layer(x)
    layer.set_weights([np.stack(weights, axis=1) * used, np.array(intercepts) * used])
    return values


def _probabilities(scores: Any, calibration: Calibration) -> Any:
    from keras import ops

    curves = calibration.curves
    found = [_curve(scores[:, place : place + 1], curve) for place, curve in enumerate(curves)]
    if len(found) == 1:
        return found[0]
    values = ops.concatenate(found, axis=1)
    total = ops.sum(values, axis=1, keepdims=True)
    return ops.where(total > 0, values / ops.where(total > 0, total, 1.0), 1 / len(curves))


def _curve(score: Any, curve: Sigmoid | IsotonicCurve) -> Any:
    from keras import ops

    if isinstance(curve, Sigmoid):
        return ops.sigmoid(score * curve.slope + curve.intercept)
    points, values = np.array(curve.scores), np.array(curve.probabilities)
    # Every step of the curve rises from 0 to 1 between its points.
    steps = ops.clip((score - points[:-1]) / np.maximum(np.diff(points), _JUMP), 0.0, 1.0)
    return ops.sum(steps * np.diff(values), axis=1, keepdims=True) + float(values[0])
