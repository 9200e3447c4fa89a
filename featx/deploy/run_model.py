"""A trained run as a usable model: its SVM, recipe of features, calibration, thresholds and training set.

A run folder of `featx train-svm` holds the SVM of one fold, one of `featx finalize` the SVM of all images. Several runs
together are the folds of one arm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from featx.data import TrainingImage, training_set
from featx.digest import canonical, differing
from featx.errors import RunError, listing
from featx.features import recipe_of
from featx.natural_order import natural
from featx.runs import FINAL, Run, RunRecord, find_runs, read_run
from featx.svm import SvmModel, load_model

__all__ = ["FeaturePart", "RunModel", "arm_settings", "read_models"]

# Fields of a recipe that say which weights of an arm a fold has; fine-tuned arms have others in each fold.
_OF_FOLD = ("weights", "trained_on")


@dataclass(frozen=True, eq=False)
class FeaturePart:
    """The features of one network, or imported ones: all of a run, or those of a member of a fused run.

    Attributes
    ----------
    name : str
        Name of the member; empty if the run has no members.
    digest : str
        SHA-256 of the recipe.
    recipe : mapping
        Recipe of the features.
    """

    name: str
    digest: str
    recipe: Mapping[str, Any]

    @property
    def is_imported(self) -> bool:
        """Whether no network of featx computes the features."""
        return self.recipe.get("kind") == "imported"


@dataclass(frozen=True, eq=False)
class RunModel:
    """The SVM of one run, with what is needed to score images by it.

    Attributes
    ----------
    run : Run
        The run; `run.record` has the arm, task, classes, settings, seed, versions and warnings.
    svm : SvmModel
        Scaling, weights and intercept for each scored class, and the calibration (None without).
    recipe : mapping
        Recipe of the features: backbone, digest of the weights, layer, pool, image size, preparation, views, precision.
        Recipes of fused arms (kind ``joined``) and of imported features (kind ``imported``) have others.
    """

    run: Run
    svm: SvmModel
    recipe: Mapping[str, Any]

    @property
    def fold(self) -> str:
        """Name of the fold; ``"all"`` of a final model."""
        return self.run.record.fold

    @property
    def is_final(self) -> bool:
        """Whether the SVM was trained on all images by `featx finalize`."""
        return self.run.record.protocol == FINAL

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe of the features."""
        return self.svm.recipe_digest

    @property
    def parts(self) -> tuple[FeaturePart, ...]:
        """The features that stand side by side in a row: one part for each member of a fused run, else one."""
        members = self.recipe.get("members", ())
        joined = tuple(FeaturePart(one["name"], one["digest"], one["recipe"]) for one in members)
        return joined or (FeaturePart("", self.digest, self.recipe),)

    @property
    def thresholds(self) -> dict[str, dict[str, float]]:
        """Thresholds of each scored class by rule, fixed on the training set; empty if the run has none.

        An image is of the class if its decision value is at least the threshold. It is infinite if the rule calls no
        image of the training set positive.
        """
        stated: Mapping[str, Mapping[str, float | None]] = self.run.record.search.get("thresholds", {})
        return {
            name: {rule: float("inf") if value is None else float(value) for rule, value in rules.items()}
            for name, rules in stated.items()
        }

    @property
    def expected(self) -> Mapping[str, Any] | None:
        """AUC that cross-validation of the same arm lets one expect of a final model; None if it was not given."""
        found: Mapping[str, Any] | None = self.run.record.search.get("expected")
        return found

    @property
    def pooled_groups(self) -> str:
        """How decision values are pooled to one for each group; ``"none"`` for one for each image."""
        return str(self.run.record.settings.get("group_scores", "none"))

    @cached_property
    def training(self) -> tuple[TrainingImage, ...]:
        """Images of the training set; empty for runs of earlier versions."""
        return training_set(self.run)


def read_models(
    paths: Path | str | Iterable[Path | str], *, without_final: bool = False
) -> tuple[RunModel, ...]:
    """Read runs as the models of one arm.

    Parameters
    ----------
    paths : path or iterable of paths
        Run folders of `featx train-svm` or `featx finalize`, or folders that hold some.
    without_final : bool
        Whether to pass over final models.

    Returns
    -------
    tuple of RunModel
        One for each fold, in natural order of the folds' names. Fine-tuning runs beside them are passed over.

    Raises
    ------
    RunError
        If there is no SVM run, a file of a run is missing, damaged or changed, or the runs are not folds of one arm.
    StaleStoreError
        If this featx decodes or prepares images in another way than when the features were extracted.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    runs = [read_run(path) for path in find_runs([Path(path).resolve() for path in given])]
    runs = [run for run in runs if run.record.kind == "svm"]
    runs = [run for run in runs if not (without_final and run.record.protocol == FINAL)]
    # Beside the runs of the folds there may be those of a learning curve, on parts of the training sets.
    runs = [run for run in runs if not run.record.subset] or runs
    runs.sort(key=lambda run: natural(run.record.fold))
    if not runs:
        raise RunError(
            f"{listing([str(path) for path in given])}: no SVM run; give run folders of `featx train-svm` or "
            "`featx finalize`"
        )
    _refuse_mixed(runs)
    models = [(run, load_model(run.path)) for run in runs]
    for run, svm in models:
        _check_classes(run, svm)
    return tuple(
        RunModel(run, svm, recipe_of(run, svm.recipe_digest, one_network=False)) for run, svm in models
    )


def _check_classes(run: Run, svm: SvmModel) -> None:
    if (svm.classes, svm.scored) != (run.record.classes, run.record.scored):
        raise RunError(
            f"{run.path}: model.skops has the classes {listing(list(svm.classes))}, run.json "
            f"{listing(list(run.record.classes))}; train this run again with --overwrite"
        )


def arm_settings(record: RunRecord) -> dict[str, Any]:
    """Return what the runs of one arm and task share, whatever their protocol and folds: in JSON types.

    Of fine-tuned features the weights differ from fold to fold, so that they are not part of it.
    """
    settings = {name: value for name, value in record.settings.items() if name != "left_out"}
    shared: dict[str, Any] = canonical(
        {
            "arm": record.arm,
            "task": record.task,
            "classes": record.classes,
            "scored": record.scored,
            "images of the classes": record.task_identity,
            "manifest": record.manifest.get("digest"),
            "settings": settings,
            "recipe": _shared_recipes(record.features),
        }
    )
    return shared


def _shared_recipes(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe of a record, or each of its alternatives, without the weights if these were fine-tuned."""
    every: Sequence[Mapping[str, Any]] = features.get("alternatives", ())
    if not every:
        return _shared_recipe(features.get("recipe", {}))
    return {str(place): _shared_recipe(item["recipe"]) for place, item in enumerate(every, 1)}


def _shared_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    if "members" in recipe:
        kept = {name: value for name, value in recipe.items() if name not in _OF_FOLD}
        members = [{"name": one["name"], **_shared_recipe(one["recipe"])} for one in recipe["members"]]
        return {**kept, "members": members}
    tuned = recipe.get("trained_on")
    if not tuned:
        return dict(recipe)
    kept = {name: value for name, value in recipe.items() if name not in _OF_FOLD}
    return {**kept, "fine-tuned": {name: tuned.get(name) for name in ("arm", "task", "manifest_digest")}}


def _refuse_mixed(runs: Sequence[Run]) -> None:
    first, seen = runs[0], dict[str, Run]()
    for run in runs:
        lines = differing(_of_series(first.record), _of_series(run.record))
        if lines:
            raise RunError(
                f"{run.path} and {first.path} are not folds of one arm ({listing(lines, 1)}); give the runs of one arm, "
                "task and protocol"
            )
        if run.record.fold in seen:
            raise RunError(
                f"{run.path} and {seen[run.record.fold].path} are runs of the same fold {run.record.fold!r}; give one of them"
            )
        seen[run.record.fold] = run


def _of_series(record: RunRecord) -> dict[str, Any]:
    return {
        **arm_settings(record),
        "protocol": record.protocol,
        "split into folds": record.folds_digest,
        "seed": record.seed,
    }
