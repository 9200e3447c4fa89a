"""Late fusion: how the decision values of several SVMs become one, fitted on inner out-of-fold scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from featx.svm.model import Fusion

__all__ = ["fit_fusion"]

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]

# Iterations of the logistic regression; it has as many weights as there are members.
_MAX_ITERATIONS = 10_000
_TOLERANCE = 1e-10


def fit_fusion(
    method: str, scores: _Floats, positive: npt.NDArray[np.bool_], parts: _Ints, class_weight: str
) -> tuple[Fusion, _Floats]:
    """Fit a fusion on the inner out-of-fold scores of a training set.

    Parameters
    ----------
    method : {"mean-score", "stack"}
        The mean of the standardised scores, or a logistic regression on them (L2 penalty with C = 1).
    scores : ndarray of float64, shape (members, images, classes)
        Inner out-of-fold scores.
    positive : ndarray of bool, shape (images, classes)
        Whether each image belongs to each scored class.
    parts : ndarray of int64, shape (images,)
        Inner fold of each image.
    class_weight : {"balanced", "none"}
        Weights of the classes in the logistic regression.

    Returns
    -------
    Fusion
        Fitted on all images.
    ndarray of float64, shape (images, classes)
        Fused scores of the same images. Those of an inner fold come from a regression on the other inner folds.
    """
    members, _, classes = scores.shape
    centers, scales = scores.mean(axis=1), scores.std(axis=1)
    scales[scales == 0.0] = 1.0
    if method == "mean-score":
        fusion = Fusion(centers, scales, np.full((members, classes), 1.0 / members), np.zeros(classes))
        return fusion, fusion.apply(scores)
    standard = (scores - centers[:, None]) / scales[:, None]
    weights, intercepts = np.empty((members, classes)), np.empty(classes)
    held_out = np.empty(scores.shape[1:])
    for column in range(classes):
        rows, labels = standard[:, :, column].T, positive[:, column]
        weights[:, column], intercepts[column] = _regress(rows, labels, class_weight)
        for part in range(int(parts.max()) + 1):
            inside = parts == part
            slopes, intercept = _regress(rows[~inside], labels[~inside], class_weight)
            held_out[inside, column] = rows[inside] @ slopes + intercept
    return Fusion(centers, scales, weights, intercepts), held_out


def _regress(rows: _Floats, labels: npt.NDArray[np.bool_], class_weight: str) -> tuple[_Floats, float]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=1.0,
        class_weight="balanced" if class_weight == "balanced" else None,
        tol=_TOLERANCE,
        max_iter=_MAX_ITERATIONS,
    ).fit(rows, labels)
    return np.asarray(model.coef_[0]), float(model.intercept_[0])
