"""Scores of new images by the folds of an arm, combined to one row for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.deploy.nearest_images import find_nearest
from featx.deploy.new_features import NewFeatures
from featx.deploy.run_model import RunModel
from featx.errors import ConfigError, RunError
from featx.runs import Prediction
from featx.svm import pool_groups

__all__ = ["BOUNDARY", "Cut", "choose_cut", "prediction_rows"]

Floats = npt.NDArray[np.float64]

BOUNDARY = "0"
"""Rule of the decision boundary of the SVM; the others are the rules that runs record."""
_USUAL = "Youden"


@dataclass(frozen=True)
class Cut:
    """Threshold behind the predicted class of a two-class task.

    Attributes
    ----------
    rule : str
        Name of the rule, or `BOUNDARY`.
    values : tuple of float
        Threshold of each model: an image is of the positive class if its decision value is at least this.
    """

    rule: str
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the models; infinite if one of them calls no image positive."""
        return float(np.mean(self.values))


def choose_cut(models: Sequence[RunModel], rule: str | None) -> Cut | None:
    """Choose the threshold of each model; None for a task with several classes.

    Raises
    ------
    ConfigError
        If the runs do not record this rule, or the task has several classes.
    """
    scored = models[0].svm.scored
    if len(scored) > 1:
        if rule is not None:
            raise ConfigError(
                f"The 'threshold' parameter is for two-class tasks. Got {rule!r} for a task with the classes "
                f"{', '.join(scored)}, of which the one with the highest decision value is predicted; leave it out"
            )
        return None
    recorded = [model.thresholds.get(scored[0], {}) for model in models]
    known = [name for name in recorded[0] if all(name in rules for rules in recorded)]
    chosen = rule or (_USUAL if _USUAL in known else BOUNDARY)
    if chosen == BOUNDARY:
        return Cut(BOUNDARY, (0.0,) * len(models))
    if chosen not in known:
        raise ConfigError(
            f"{models[0].run.path}: the runs record no threshold of the rule {chosen!r}; "
            f"give one of {', '.join([*known, BOUNDARY])}"
        )
    return Cut(chosen, tuple(rules[chosen] for rules in recorded))


@dataclass(frozen=True, eq=False)
class _Scores:
    """Decision values and probabilities, shape (models, rows, scored classes); one row for each image or group."""

    ids: tuple[str, ...]
    values: Floats
    probabilities: Floats | None


def prediction_rows(
    models: Sequence[RunModel], features: NewFeatures, cut: Cut | None, nearest: int = 0
) -> list[dict[str, Any]]:
    """Score images.

    Parameters
    ----------
    models : sequence of RunModel
        Folds of one arm, or a final model.
    features : NewFeatures
        Features of the images.
    cut : Cut or None
        Thresholds from `choose_cut`.
    nearest : int
        Number of nearest training images of each image.

    Returns
    -------
    list of dict
        One for each image, or for each group if the models score groups. Columns: ``id``; for each scored class
        ``score:CLASS``, of several models the mean, with ``score_sd:CLASS``, ``score_min:CLASS`` and ``score_max:CLASS``;
        ``probability:CLASS`` if all models are calibrated; ``predicted``; of several models ``agreement``, the fraction
        of them that predict this class; ``rule`` and ``threshold`` of a two-class task (None if infinite);
        ``in_training``, the number of models that were trained on the image (None if unknown); and for each nearest
        training image ``nearest_K``, ``nearest_K_class`` and ``nearest_K_similarity``.

    Raises
    ------
    ConfigError
        If nearest images are wanted of models that score groups.
    StoreError, RunError
        If features do not fit the models, or training images are unknown.
    """
    pool = models[0].pooled_groups
    if nearest and pool != "none":
        raise ConfigError(
            "The 'nearest' parameter is for models that score images. Got a model that scores groups; leave it out"
        )
    scores = _scores(models, features, pool)
    columns: dict[str, Sequence[Any]] = {"id": scores.ids}
    columns |= _score_columns(models[0].svm.scored, scores)
    columns |= _class_columns(models[0], scores, cut)
    columns["in_training"] = _in_training(models, features, scores.ids, pool != "none")
    columns |= _nearest_columns(models, features, nearest)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _scores(models: Sequence[RunModel], features: NewFeatures, pool: str) -> _Scores:
    ids, values, probabilities = features.ids, list[Floats](), list[Floats]()
    for model in models:
        scored = np.concatenate(
            [model.svm.scores(part, model.digest) for part in features.read(model.digest)]
        )
        if pool != "none":
            ids, scored = _pooled(model, features, scored, pool)
        values.append(scored)
        if model.svm.calibration is not None:
            probabilities.append(model.svm.probabilities(scored))
    calibrated = len(probabilities) == len(models)
    return _Scores(ids, np.stack(values), np.stack(probabilities) if calibrated else None)


def _pooled(
    model: RunModel, features: NewFeatures, scores: Floats, pool: str
) -> tuple[tuple[str, ...], Floats]:
    """Pool the decision values of each group, as training does."""
    names = model.svm.scored
    images = [
        Prediction(name, "", group, "", dict(zip(names, line.tolist(), strict=True)))
        for name, group, line in zip(features.ids, features.groups, scores, strict=True)
    ]
    rows = pool_groups(images, pool)
    return tuple(row.id for row in rows), np.array([[row.scores[name] for name in names] for row in rows])


def _score_columns(names: Sequence[str], scores: _Scores) -> dict[str, list[float]]:
    columns = {}
    several = len(scores.values) > 1
    for place, name in enumerate(names):
        values = scores.values[:, :, place]
        columns[f"score:{name}"] = values.mean(axis=0).tolist()
        if several:
            columns[f"score_sd:{name}"] = values.std(axis=0, ddof=1).tolist()
            columns[f"score_min:{name}"] = values.min(axis=0).tolist()
            columns[f"score_max:{name}"] = values.max(axis=0).tolist()
    if scores.probabilities is not None:
        means = scores.probabilities.mean(axis=0)
        columns |= {f"probability:{name}": means[:, place].tolist() for place, name in enumerate(names)}
    return columns


def _class_columns(model: RunModel, scores: _Scores, cut: Cut | None) -> dict[str, list[Any]]:
    """Predict the class of each row from the means over the models, and count the models that agree."""
    means = scores.values.mean(axis=0)
    if cut is None:
        names = model.svm.scored
        chosen, votes = means.argmax(axis=1), scores.values.argmax(axis=2)
    else:
        positive = model.svm.scored[0]
        negative = next(name for name in model.svm.classes if name != positive)
        names = (negative, positive)
        chosen = (means[:, 0] >= cut.mean).astype(np.int64)
        votes = (scores.values[:, :, 0] >= np.array(cut.values)[:, None]).astype(np.int64)
    columns: dict[str, list[Any]] = {"predicted": [names[index] for index in chosen]}
    if len(votes) > 1:
        columns["agreement"] = (votes == chosen).mean(axis=0).tolist()
    if cut is not None:
        finite = cut.mean if np.isfinite(cut.mean) else None
        columns |= {"rule": [cut.rule] * len(chosen), "threshold": [finite] * len(chosen)}
    return columns


def _in_training(
    models: Sequence[RunModel], features: NewFeatures, ids: Sequence[str], grouped: bool
) -> list[int | None]:
    """Count the models that were trained on each image, or on an image of each group."""
    if not all(model.training for model in models):
        return [None] * len(ids)
    rows: dict[str, set[str]] = {}
    for name, key in zip(features.groups if grouped else features.ids, features.keys, strict=True):
        rows.setdefault(name, set()).add(key)
    trained = [{image.key for image in model.training} for model in models]
    return [sum(not keys.isdisjoint(rows[name]) for keys in trained) for name in ids]


def _nearest_columns(
    models: Sequence[RunModel], features: NewFeatures, count: int
) -> Mapping[str, list[Any]]:
    found = find_nearest(models, features, count) if count else []
    columns: dict[str, list[Any]] = {}
    for rank in range(len(found[0]) if found else 0):
        here = [row[rank] for row in found]
        columns[f"nearest_{rank + 1}"] = [one.image.id for one in here]
        columns[f"nearest_{rank + 1}_class"] = [one.image.actual for one in here]
        columns[f"nearest_{rank + 1}_similarity"] = [one.similarity for one in here]
    return columns


def require_calibration(models: Sequence[RunModel]) -> None:
    """Raise an error if a model has no calibration."""
    for model in models:
        if model.svm.calibration is None:
            raise RunError(
                f"{model.run.path}: the run has no calibration, so that it gives no predicted probabilities; train it with "
                "--calibrate sigmoid or --calibrate isotonic, or leave --probability out"
            )
