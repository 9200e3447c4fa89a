"""The nearest training images of scored images, and how many of them have the same label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.deploy import RunModel
from featx.reporting import NearImage
from featx.runs import Prediction

__all__ = ["ScoredImage", "find_neighbours", "label_value"]

_Rows = npt.NDArray[np.float32]

# Scored images whose similarities are in memory at a time.
_CHUNK = 1024


@dataclass(frozen=True)
class ScoredImage:
    """An image that a fold scored without having been trained on it.

    Attributes
    ----------
    fold : str
        Name of the fold.
    row : Prediction
        Its label, group and decision values.
    near : tuple of NearImage
        The nearest images of the fold's training set, the nearest first; images of its own group are left out.
    expected : float
        Fraction of the training set that has its label.
    """

    fold: str
    row: Prediction
    near: tuple[NearImage, ...]
    expected: float

    @property
    def agreeing(self) -> float:
        """Fraction of the nearest training images that have its label; NaN if there are none."""
        return (
            float(np.mean([one.actual == self.row.actual for one in self.near]))
            if self.near
            else float("nan")
        )


def label_value(scores: Mapping[str, float], label: str) -> float:
    """Compute the decision value for a label: negative if another class is predicted.

    Of two classes it is the decision value, or its negative for the class without a score; of several classes the score of
    the label minus the highest other one.

    Examples
    --------
    >>> label_value({"melanoma": 0.5}, "nevus"), label_value({"a": 1.0, "b": 0.25, "c": -1.0}, "a")
    (-0.5, 0.75)
    """
    if len(scores) == 1:
        (value,) = scores.values()
        return value if label in scores else -value
    return scores[label] - max(value for name, value in scores.items() if name != label)


def find_neighbours(
    model: RunModel,
    scored: Sequence[Prediction],
    rows: _Rows,
    place: Mapping[str, int],
    names: Mapping[str, str],
    count: int,
) -> list[ScoredImage]:
    """Find the nearest training images of the images that a fold scored.

    Parameters
    ----------
    model : RunModel
        The fold's SVM with its training set.
    scored : sequence of Prediction
        Images that the fold was not trained on, or that its inner cross-validation scored.
    rows : ndarray of float32, shape (n, k)
        Scaled features of all images, of length 1.
    place : mapping of str to int
        Image id to its row.
    names : mapping of str to str
        Classes as the run's files call them, to their names in reports, where they differ.
    count : int
        Number of neighbours.
    """
    training = model.training
    known = rows[[place[image.id] for image in training]]
    codes = {name: code for code, name in enumerate(sorted({image.group for image in training}))}
    groups = np.array([codes[image.group] for image in training])
    labels = [names.get(image.actual, image.actual) for image in training]
    frequency = Counter(labels)
    made = []
    for start in range(0, len(scored), _CHUNK):
        part = scored[start : start + _CHUNK]
        similar = rows[[place[row.id] for row in part]] @ known.T
        for row, line in zip(part, similar, strict=True):
            line = np.where(groups == codes.get(row.group, -1), -np.inf, line)
            nearest = np.argsort(-line, kind="stable")[:count]
            near = tuple(
                NearImage(training[column].id, labels[column], round(float(line[column]), 4))
                for column in nearest.tolist()
                if np.isfinite(line[column])
            )
            made.append(ScoredImage(model.fold, row, near, frequency[row.actual] / len(labels)))
    return made
