"""Predictions: decision values joined with what the manifest says of the images, pooled by group."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from featx.data import Labelled
from featx.runs import Prediction
from featx.svm.problems import pool_groups
from featx.svm.settings import SvmSettings

__all__ = ["inner_predictions", "plain_predictions", "pooled_predictions"]


_Ints = npt.NDArray[np.int64]


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


def inner_predictions(
    labelled: Labelled, settings: SvmSettings, images: _Ints, parts: _Ints, scores: npt.NDArray[np.float64]
) -> list[Prediction]:
    """Join the inner out-of-fold scores of training images with the inner folds that these were in."""
    rows = [
        dataclasses.replace(row, fold=str(part), strata={})
        for row, part in zip(plain_predictions(labelled, "", images, scores), parts, strict=True)
    ]
    return pooled_predictions(rows, settings, labelled.task.positive)
