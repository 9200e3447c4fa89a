"""Trained SVMs: decision values, predicted probabilities, and model files.

Reading a model file runs no code from it. A model accepts only features of the recipe that it was trained on.
"""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.digest import short
from featx.errors import RunError, StaleStoreError
from featx.files import read_regular
from featx.runs import COMPLETE, checked_digest
from featx.stats import Calibration, calibrate
from featx.svm.calibration_records import calibration_from, calibration_record
from featx.svm.inputs import arrange_views
from featx.svm.problems import Decision, pool_scores
from featx.svm.scaling import Scaler

__all__ = ["FusedModel", "Fusion", "SvmModel", "load_model", "model_bytes"]


Floats = npt.NDArray[np.float64]


MODEL = "model.skops"


_FORMAT = 2


# Of models with members.
_FUSED_FORMAT = 3


# Largest size of a model file in bytes: 1,000 classes with 1,000 components of 20,000 features need less.
_LIMIT = 2**28


# A model file holds a dict of texts, numbers and arrays. A file with another type is refused before it is loaded.
_ARRAYS = ("center", "factor", "components", "weights")


_FUSION = ("centers", "scales", "weights", "intercepts")


_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class SvmModel:
    """The SVMs of one run, one for each scored class.

    Attributes
    ----------
    recipe_digest : str
        Digest of the recipe of the features that the model was trained on.
    classes, scored : tuple of str
        All classes of the task, and the classes that have a score.
    decisions : tuple of Decision
        One for each scored class.
    views : str
        ``"mean"``: features are averaged over views; ``"rows"``: scores are pooled over views.
    pool : str
        How scores are pooled.
    calibration : Calibration or None
        Curves from decision values to predicted probabilities, if they were fitted.
    """

    recipe_digest: str
    classes: tuple[str, ...]
    scored: tuple[str, ...]
    decisions: tuple[Decision, ...]
    views: str = "mean"
    pool: str = "mean"
    calibration: Calibration | None = None

    def scores(self, features: npt.NDArray[np.floating[Any]], recipe_digest: str) -> Floats:
        """Compute decision values of images.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d) or (n, views, d)
            Features of images.
        recipe_digest : str
            Digest of the recipe of these features, such as `FeatureStore.digest`.

        Returns
        -------
        ndarray of float64, shape (n, scored classes)
            Decision values; a higher value means the class is more likely.

        Raises
        ------
        StaleStoreError
            If the recipe or the width of the features differs from that of the training set.
        """
        self._check_recipe(recipe_digest)
        images = arrange_views(features, self.views)
        rows = images.reshape(-1, images.shape[2])
        width = _width(self.decisions[0])
        if width is not None and rows.shape[1] != width:
            raise StaleStoreError(
                f"the model needs features of width {width}, got {rows.shape[1]}; extract the features with the recipe of "
                "the model"
            )
        columns = [one.scaler.scores(rows, one.weights[:, None]) + one.intercept for one in self.decisions]
        scores = np.concatenate(columns, axis=1)
        return pool_scores(scores.reshape(*images.shape[:2], len(columns)), self.pool)

    def _check_recipe(self, recipe_digest: str) -> None:
        if recipe_digest != self.recipe_digest:
            raise StaleStoreError(
                f"the model was trained on features of recipe {short(self.recipe_digest)}, got features of recipe "
                f"{short(recipe_digest)}; extract the features with the recipe of the model"
            )

    def scaled(self, features: npt.NDArray[np.floating[Any]]) -> Floats:
        """Scale features as the SVMs see them, averaged over views.

        Parameters
        ----------
        features : ndarray of float32, shape (n, d) or (n, views, d)
            Features of images, by the recipe of the model.

        Returns
        -------
        ndarray of float64, shape (n, k)
            Scaled features; all SVMs of a model have one scaling, because they have one training set.
        """
        images = arrange_views(features, self.views)
        rows = self.decisions[0].scaler.apply(images.reshape(-1, images.shape[2]))
        return np.asarray(rows.reshape(*images.shape[:2], -1).mean(axis=1))

    def probabilities(self, scores: Floats) -> Floats:
        """Convert decision values to predicted probabilities.

        Parameters
        ----------
        scores : ndarray of float64, shape (n, scored classes)
            Decision values from `scores`; pooled over groups if the model was trained with pooled scores.

        Returns
        -------
        ndarray of float64, shape (n, scored classes)
            Predicted probability of each scored class.

        Raises
        ------
        RunError
            If the model was trained without calibration.
        """
        if self.calibration is None:
            raise RunError(
                "the model has no calibration, so it gives no predicted probabilities; train it with --calibrate sigmoid or "
                "--calibrate isotonic"
            )
        return calibrate(self.calibration, scores).reshape(scores.shape)


@dataclass(frozen=True, eq=False)
class Fusion:
    """A linear combination of standardised decision values, for each scored class.

    Attributes
    ----------
    centers, scales : ndarray of float64, shape (members, classes)
        Mean and standard deviation of the inner out-of-fold scores.
    weights : ndarray of float64, shape (members, classes)
        Weights of the standardised scores.
    intercepts : ndarray of float64, shape (classes,)
        Intercepts.
    """

    centers: Floats
    scales: Floats
    weights: Floats
    intercepts: Floats

    def apply(self, scores: Floats) -> Floats:
        """Fuse decision values of shape (members, images, classes) into (images, classes).

        Examples
        --------
        >>> one = Fusion(np.zeros((2, 1)), np.array([[1.0], [2.0]]), np.full((2, 1), 0.5), np.zeros(1))
        >>> one.apply(np.array([[[1.0]], [[6.0]]])).tolist()
        [[2.0]]
        """
        standard = (scores - self.centers[:, None]) / self.scales[:, None]
        fused: Floats = (standard * self.weights[:, None]).sum(axis=0) + self.intercepts
        return fused


_NO_FUSION = Fusion(np.empty((0, 0)), np.empty((0, 0)), np.empty((0, 0)), np.empty(0))


@dataclass(frozen=True, eq=False)
class FusedModel(SvmModel):
    """The SVMs of the members of a fused arm, and the combination of their decision values.

    Attributes
    ----------
    members : tuple of SvmModel
        One for each member.
    widths : tuple of int
        Numbers of each member in a row of features: the members' features stand side by side, in their order.
    fusion : Fusion
        Standardisation and weights of the members' decision values.

    Examples
    --------
    ::

        model = load_model("reports/runs/fused/melanoma-rest/holdout/test")
        parts = [store.read(keys) for store in stores]  # in the order of the members
        model.scores(np.concatenate(parts, axis=2), model.recipe_digest)
    """

    members: tuple[SvmModel, ...] = ()
    widths: tuple[int, ...] = ()
    fusion: Fusion = _NO_FUSION

    def scores(self, features: npt.NDArray[np.floating[Any]], recipe_digest: str) -> Floats:
        """Compute fused decision values; parameters, result and errors are those of `SvmModel.scores`."""
        self._check_recipe(recipe_digest)
        if features.shape[-1] != sum(self.widths):
            raise StaleStoreError(
                f"the model needs features of width {sum(self.widths)} ({' + '.join(map(str, self.widths))}), got "
                f"{features.shape[-1]}; join the features of its members in their order"
            )
        parts = np.split(features, np.cumsum(self.widths)[:-1], axis=-1)
        pairs = zip(self.members, parts, strict=True)
        return self.fusion.apply(np.stack([one.scores(part, one.recipe_digest) for one, part in pairs]))


def _width(decision: Decision) -> int | None:
    scaler = decision.scaler
    return len(scaler.center) if scaler.center.size else len(decision.weights)


def model_bytes(model: SvmModel) -> bytes:
    """Write a model in the format of skops."""
    import skops.io

    return _without_chance(skops.io.dumps(_content(model)))


def _content(model: SvmModel) -> dict[str, Any]:
    decisions = [
        {
            "scaling": one.scaler.name,
            "center": one.scaler.center,
            "factor": one.scaler.factor,
            "components": one.scaler.components,
            "weights": one.weights,
            "numbers": json.dumps([one.intercept, one.cost, one.residual, one.iterations]),
        }
        for one in model.decisions
    ]
    content: dict[str, Any] = {
        "format": _FORMAT,
        "recipe_digest": model.recipe_digest,
        "classes": list(model.classes),
        "scored": list(model.scored),
        "views": model.views,
        "pool": model.pool,
        "calibration": json.dumps(calibration_record(model.calibration)) if model.calibration else "",
        "decisions": decisions,
    }
    if isinstance(model, FusedModel):
        content |= {
            "format": _FUSED_FORMAT,
            "members": [_content(one) for one in model.members],
            "widths": list(model.widths),
            **{name: getattr(model.fusion, name) for name in _FUSION},
        }
    return content


def _without_chance(data: bytes) -> bytes:
    """Remove times and memory addresses from a skops file, so that equal models have equal bytes."""
    source = zipfile.ZipFile(io.BytesIO(data))
    count = itertools.count()
    files: list[tuple[str, str]] = []

    def renumber(node: Any) -> Any:
        if isinstance(node, list):
            return [renumber(item) for item in node]
        if not isinstance(node, dict):
            return node
        new = {key: renumber(value) for key, value in node.items()}
        if "__id__" in node:
            new["__id__"] = next(count)
        if "file" in node:
            new["file"] = f"{new['__id__']}.npy"
            files.append((node["file"], new["file"]))
        return new

    schema = renumber(json.loads(source.read("schema.json")))
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for old, new in files:
            archive.writestr(zipfile.ZipInfo(new, _EPOCH), source.read(old))
        archive.writestr(zipfile.ZipInfo("schema.json", _EPOCH), json.dumps(schema, indent=1))
    return target.getvalue()


def load_model(source: Path | str | bytes) -> SvmModel:
    """Read a model. No code in the file is run.

    Parameters
    ----------
    source : Path, str or bytes
        A ``model.skops``, a run folder that holds one, or the bytes of one.

    Returns
    -------
    SvmModel
        The model.

    Raises
    ------
    RunError
        If the file is missing, damaged, or changed after its run finished, or holds a type that no model has.
    """
    import skops.io

    name, data = _read(source)
    try:
        foreign = skops.io.get_untrusted_types(data=data)
        content = None if foreign else skops.io.loads(data)
    except Exception as error:  # skops raises errors of zip, JSON, numpy and its own
        raise RunError(
            f"{name}: the file cannot be read as a model ({error}); train this run again"
        ) from error
    if foreign:
        raise RunError(
            f"{name}: the file holds types that an SVM model does not have ({', '.join(sorted(foreign))}) and was not "
            "loaded; train this run again"
        )
    return _model(content, name)


def _read(source: Path | str | bytes) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        return "model", source
    path = Path(source)
    path = path / MODEL if path.is_dir() else path
    if path.name == MODEL and (path.parent / COMPLETE).is_file():
        checked_digest(path.parent, MODEL)
    try:
        return str(path), read_regular(path, _LIMIT)
    except OSError as error:
        raise RunError(
            f"{path}: there is no model ({error.strerror}); give the folder of a run of `featx train-svm`"
        ) from error


def _model(content: Any, name: str) -> SvmModel:
    if not isinstance(content, dict) or content.get("format") not in (_FORMAT, _FUSED_FORMAT):
        raise RunError(f"{name}: this is not an SVM model of format {_FORMAT}; train this run again")
    try:
        decisions = tuple(_decision(one) for one in content["decisions"])
        classes, scored = tuple(content["classes"]), tuple(content["scored"])
        stated = content["calibration"]
        calibration = calibration_from(json.loads(stated)) if stated else None
        shared = (
            content["recipe_digest"],
            classes,
            scored,
            decisions,
            content["views"],
            content["pool"],
            calibration,
        )
        if content["format"] == _FORMAT:
            return SvmModel(*shared)
        members = tuple(_model(one, name) for one in content["members"])
        fusion = Fusion(**{key: np.asarray(content[key], dtype=np.float64) for key in _FUSION})
        return FusedModel(*shared, members, tuple(map(int, content["widths"])), fusion)
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{name}: a part of the model is missing ({error}); train this run again") from error


def _decision(one: dict[str, Any]) -> Decision:
    arrays: dict[str, Floats] = {name: np.asarray(one[name], dtype=np.float64) for name in _ARRAYS}
    intercept, cost, residual, iterations = json.loads(one["numbers"])
    scaler = Scaler(one["scaling"], arrays["center"], arrays["factor"], arrays["components"])
    return Decision(
        scaler, arrays["weights"], float(intercept), float(cost), float(residual), int(iterations)
    )
