"""How an SVM's decision value changes with an image's feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import ConfigError
from featx.svm import Scaler, SvmModel, row_lengths

__all__ = ["decision_gradient"]

Floats = npt.NDArray[np.float64]


def decision_gradient(
    model: SvmModel, feature: npt.NDArray[np.floating[Any]], towards: str
) -> tuple[float, Floats]:
    """Compute the decision value for a class, and its gradient with respect to the feature.

    Parameters
    ----------
    model : SvmModel
        The SVMs of a run.
    feature : ndarray of float, shape (d,)
        An image's feature, unscaled.
    towards : str
        A class of the task. In a two-class task the decision value for the negative class is that for the
        positive one with the sign turned.

    Returns
    -------
    value : float
        Decision value, higher for the class.
    gradient : ndarray of float64, shape (d,)
        Its derivative, through the scaling.

    Raises
    ------
    ConfigError
        If the task has no such class.
    """
    if towards not in model.classes:
        raise ConfigError(f"no class {towards!r} in this run; its classes: {', '.join(model.classes)}")
    sign = 1.0 if towards in model.scored else -1.0
    one = model.decisions[model.scored.index(towards) if towards in model.scored else 0]
    value = float(one.scaler.scores(feature[None], one.weights[:, None])[0, 0]) + one.intercept
    return sign * value, sign * _through_scaling(one.scaler, one.weights, feature.astype(np.float64))


def _through_scaling(scaler: Scaler, weights: Floats, feature: Floats) -> Floats:
    if scaler.name == "l2":
        # Of w . x / |x|: a longer feature changes nothing, so that the part of w along x is taken out.
        length = row_lengths(feature[None])[0]
        unit = feature / length
        return np.asarray((weights - (weights @ unit) * unit) / length)
    gradient = scaler.components @ weights if scaler.components.size else weights
    return np.asarray(gradient * scaler.factor if scaler.factor.size else gradient)
