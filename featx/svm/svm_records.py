"""Records of runs (`run.json`): inputs, results, and convergence of the fits."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Folds
from featx.digest import canonical, digest
from featx.features import FeatureStore, recipe_key
from featx.machine import versions
from featx.runs import Run, RunRecord
from featx.stats import fold_auc
from featx.svm.inputs import Images
from featx.svm.settings import SvmSettings

__all__ = ["FoldOutcome", "chosen_costs", "extraction_speeds", "record_of_inputs", "run_auc", "with_outcome"]


_Ints = npt.NDArray[np.int64]


_FORMAT = 2  # format of a run, as listed in `featx.runs`


_VERSIONS = ("featx", "numpy", "scipy", "scikit-learn")


@dataclasses.dataclass(frozen=True, eq=False)
class FoldOutcome:
    """Results of one fold.

    Attributes
    ----------
    train, test : ndarray of int64
        Indices of the images of the training set and of the test set.
    search : mapping
        The search for C and the chosen values, in JSON types.
    measure : str
        Name of the measure of the distance from the optimum.
    tolerance : float
        A fit whose measure is larger has not converged.
    inner : ndarray of float64
        Measure of each fit of the inner splits.
    final : ndarray of float64
        Measure of each final fit.
    steps : int
        Total steps of all fits.
    warnings : tuple of str
        Warnings for the record of the run.
    """

    train: _Ints
    test: _Ints
    search: dict[str, Any]
    measure: str
    tolerance: float
    inner: npt.NDArray[np.float64]
    final: npt.NDArray[np.float64]
    steps: int
    warnings: tuple[str, ...]


def record_of_inputs(
    images: Images,
    folds: Folds,
    fold: str,
    stores: tuple[FeatureStore, ...],
    arm: str,
    seed: int,
    settings: SvmSettings,
    warnings: tuple[str, ...],
) -> RunRecord:
    """Create the record of a run from its inputs."""
    task = images.labelled.task
    manifest = images.labelled.manifest
    stated = {**canonical(settings), "left_out": digest(images.left_out) if images.left_out else ""}
    changed = f", {len(images.changed)} of them because their files were changed after extraction"
    left_out = (
        f"{len(images.left_out)} images have no features and were left out{changed if images.changed else ''}",
    )
    return RunRecord(
        kind="svm",
        arm=arm,
        task=task.name,
        classes=task.classes,
        scored=task.scored,
        protocol=folds.protocol,
        fold=fold,
        folds_digest=folds.digest,
        seed=seed,
        manifest={
            "name": manifest.name,
            "digest": manifest.digest,
            "targets": images.labelled.class_digests,
        },
        features=_features(stores),
        settings=stated,
        lineage=tuple(stores[0].recipe.get("lineage") or ()),
        versions=versions(_VERSIONS),
        warnings=(
            *(line for line in warnings if _concerns(line, fold)),
            *(left_out if images.left_out else ()),
        ),
        format=_FORMAT,
    )


def _features(stores: tuple[FeatureStore, ...]) -> dict[str, Any]:
    """Return the features in JSON types; for alternatives their common recipe and each recipe."""
    recipes = [recipe_key(store.recipe) for store in stores]
    if len(stores) == 1:
        return {"digest": stores[0].digest, "recipe": recipes[0], **_network_cost(stores[0])}
    common = {
        name: value
        for name, value in recipes[0].items()
        if all(other.get(name) == value for other in recipes)
    }
    alternatives = [
        {"digest": store.digest, "recipe": one, **_network_cost(store)}
        for store, one in zip(stores, recipes, strict=True)
    ]
    return {
        "digest": digest([store.digest for store in stores]),
        "recipe": common,
        "alternatives": alternatives,
    }


def _network_cost(store: FeatureStore) -> dict[str, Any]:
    cost = store.cost
    return {"cost": {name: cost[name] for name in ("parameters", "multiply_adds")}} if cost else {}


def extraction_speeds(stores: tuple[FeatureStore, ...]) -> dict[str, Any]:
    """Return the extraction throughput of each store; it is metadata, not part of the digest."""
    named = ("images_per_second", "device", "engine", "networks")
    costs = {store.digest: store.cost for store in stores}
    return {key: {name: cost[name] for name in named} for key, cost in costs.items() if cost}


def _concerns(warning: str, fold: str) -> bool:
    """Return whether a warning concerns this fold or all folds."""
    return not warning.startswith("fold ") or warning.startswith((f"fold {fold} ", f"fold {fold}:"))


def with_outcome(record: RunRecord, images: Images, found: FoldOutcome) -> RunRecord:
    """Add the results to the record."""
    labelled = images.labelled
    parts = (("train", found.train), ("test", found.test))
    counts = {part: dict(sorted(Counter(labelled.classes[rows].tolist()).items())) for part, rows in parts}
    groups = {part: len(set(labelled.groups[rows].tolist())) for part, rows in parts}
    convergence = _convergence(found)
    warnings = (*record.warnings, *found.warnings)
    if convergence["not_converged"]:
        warnings += (f"{convergence['not_converged']} of {convergence['fits']} fits did not converge",)
    return dataclasses.replace(
        record,
        counts={
            **counts,
            "groups": groups,
            "left_out": len(images.left_out),
            "excluded": labelled.left_out,
            "flow": images.flow,
        },
        search=found.search,
        convergence=convergence,
        warnings=warnings,
    )


def _convergence(found: FoldOutcome) -> dict[str, Any]:
    """Count the fits, inner and final, whose residual is above the solver's tolerance."""
    residuals = np.concatenate([found.inner, found.final])
    return {
        "measure": found.measure,
        "tolerance": found.tolerance,
        "fits": len(residuals),
        "not_converged": int((~(residuals <= found.tolerance)).sum()),
        "worst_residual": float(residuals.max()),
        "final_residuals": found.final.tolist(),
        "steps": found.steps,
    }


def chosen_costs(record: RunRecord) -> dict[str, float]:
    """Return the chosen C of each SVM by its class, and by member and class of a fused arm."""
    members = record.search.get("members", {"": record.search})
    return {
        f"{member} {name}".strip(): one["C"]
        for member, search in members.items()
        for name, one in search["classes"].items()
    }


def run_auc(run: Run) -> float:
    """Compute the ROC AUC of the test set of a run.

    Parameters
    ----------
    run : Run
        A finished run with scores.

    Returns
    -------
    float
        ROC AUC; the mean over the classes if there are several. NaN if the test set is empty or has one class only.
    """
    scored = run.record.scored
    if not run.predictions:
        return float("nan")
    targets = np.array([run.record.classes.index(row.actual) for row in run.predictions])
    scores = np.array([[row.scores[name] for name in scored] for row in run.predictions])
    return fold_auc(targets, scores[:, 0] if len(scored) == 1 else scores)
