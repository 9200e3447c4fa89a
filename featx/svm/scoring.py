"""Scores of images by a trained SVM, as predictions: of a fold's test set, of its training set, and of external images."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from featx.data import Labelled
from featx.features import FeatureStore
from featx.runs import Prediction
from featx.svm.inputs import Images, read_rows
from featx.svm.model import SvmModel
from featx.svm.problems import pool_groups
from featx.svm.settings import SvmSettings

__all__ = ["plain_predictions", "pooled_predictions", "score_images"]


_Ints = npt.NDArray[np.int64]


def score_images(
    images: Images, settings: SvmSettings, fold: str, store: FeatureStore, model: SvmModel, rows: _Ints
) -> list[Prediction]:
    """Score images by a model, pooled over groups and calibrated as the model was trained.

    Parameters
    ----------
    rows : ndarray of int64, shape (m,)
        Indices of the images.

    Returns
    -------
    list of Prediction
        One for each image, or for each group where groups are scored.
    """
    if not len(rows):
        return []
    scores = model.scores(read_rows(store, images, rows, settings.views), store.digest)
    predictions = pooled_predictions(
        plain_predictions(images.labelled, fold, rows, scores), settings, images.labelled.task.positive
    )
    if model.calibration is None:
        return predictions
    pooled = np.array([[row.scores[name] for name in model.scored] for row in predictions])
    chances = model.probabilities(pooled)
    return [
        dataclasses.replace(row, probabilities=dict(zip(model.scored, line.tolist(), strict=True)))
        for row, line in zip(predictions, chances, strict=True)
    ]


def plain_predictions(
    labelled: Labelled, fold: str, rows: _Ints, scores: npt.NDArray[np.float64]
) -> list[Prediction]:
    """Join the decision values of images, shape (m, scored classes), with what the manifest says of them."""
    return [
        Prediction(
            id=labelled.ids[row],
            fold=fold,
            group=str(labelled.groups[row]),
            actual=str(labelled.classes[row]),
            scores=dict(zip(labelled.task.scored, line.tolist(), strict=True)),
            strata={name: values[row] for name, values in labelled.strata.items()},
        )
        for row, line in zip(rows, scores, strict=True)
    ]


def pooled_predictions(
    predictions: list[Prediction], settings: SvmSettings, positive: str | None
) -> list[Prediction]:
    """Pool the decision values of each group where groups are scored."""
    pool = settings.group_scores
    return predictions if pool == "none" else pool_groups(predictions, pool, positive)
