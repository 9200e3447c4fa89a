"""The training images that are nearest to new ones, by the cosine of the features that the SVM sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.data import TrainingImage
from featx.deploy.new_features import NewFeatures
from featx.deploy.run_model import RunModel
from featx.errors import MissingFeaturesError, RunError
from featx.machine import require_memory
from featx.svm import FusedModel, unit_rows

__all__ = ["Neighbour", "find_nearest", "require_one_row"]

_Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Neighbour:
    """A training image near a new image.

    Attributes
    ----------
    image : TrainingImage
        The training image.
    similarity : float
        Cosine of the scaled features, -1 to 1; the mean over the models that were trained on it.
    """

    image: TrainingImage
    similarity: float


def find_nearest(models: Sequence[RunModel], features: NewFeatures, count: int) -> list[list[Neighbour]]:
    """Find the nearest training images of each new image.

    Parameters
    ----------
    models : sequence of RunModel
        Folds of one arm; the training images of all of them are looked at.
    features : NewFeatures
        The new images, n of them.
    count : int
        Number of training images wanted.

    Returns
    -------
    list of list of Neighbour, length n
        The nearest first; fewer than wanted if there are fewer training images. An image that is itself in the training
        set finds itself.

    Raises
    ------
    RunError
        If the runs do not list their training sets.
    MissingFeaturesError
        If the store lacks features of training images.
    """
    images = sorted({image.id: image for model in models for image in _training(model)}.values(), key=_by_id)
    place = {image.id: number for number, image in enumerate(images)}
    what = f"similarities of {len(features.ids)} images to {len(images)} training images"
    require_memory(8 * len(features.ids) * len(images), what, "predict fewer images at a time")
    total = np.zeros((len(features.ids), len(images)))
    trained = np.zeros(len(images))
    for model in models:
        columns = np.array([place[image.id] for image in model.training])
        known = _unit_rows(model, _training_features(model, features))
        new = np.concatenate([_unit_rows(model, part) for part in features.read(model.digest)])
        total[:, columns] += new @ known.T
        trained[columns] += 1
    similar = np.clip(total / trained, -1.0, 1.0)
    order = np.argsort(-similar, axis=1, kind="stable")[:, :count]
    return [
        [Neighbour(images[column], float(row[column])) for column in nearest]
        for row, nearest in zip(similar, order, strict=True)
    ]


def require_one_row(models: Sequence[RunModel]) -> None:
    """Raise an error if a model has an SVM for each member, so that no single row of features decides."""
    for model in models:
        if isinstance(model.svm, FusedModel):
            raise RunError(
                f"{model.run.path}: the run fuses decision values ({model.recipe['fuse']}), and each of its SVMs sees other "
                "features, so that an image has no single row of features that --nearest could compare; predict with the "
                "run of a member, fuse with --fuse concat, or leave --nearest out"
            )


def _by_id(image: TrainingImage) -> str:
    return image.id


def _training(model: RunModel) -> tuple[TrainingImage, ...]:
    if not model.training:
        raise RunError(
            f"{model.run.path}: this run of an earlier version does not list its training images, which --nearest needs; "
            "train it again with --overwrite"
        )
    return model.training


def _training_features(model: RunModel, features: NewFeatures) -> _Matrix:
    store = features.stores[model.digest]
    keys = [image.key for image in model.training]
    lacking = len(set(store.missing(keys)))
    if lacking:
        raise MissingFeaturesError(
            f"{store.path}: {lacking} of {len(keys)} training images of {model.run.path} have no features here, which "
            "--nearest needs; give the cache of the training with --cache, or its store with --features"
        )
    return store.read(keys)


def _unit_rows(model: RunModel, features: _Matrix) -> _Matrix:
    """Scale features as the SVM sees them, averaged over views, to length 1; shape (n, k)."""
    return unit_rows(model.svm.scaled(features))
