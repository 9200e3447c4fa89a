"""Plan of a fine-tuning: recipe, initial weights and run record of every fold, before any network is built."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.data import Fold, Folds, Labelled, known_test_images
from featx.digest import canonical, digest
from featx.errors import ImageError, LeakError, WeightsError, listing
from featx.images import DECODE_VERSION, content_keys, preparation_key
from featx.machine import versions
from featx.runs import RunRecord, run_folder
from featx.zoo import TRAINED_ON_FILE, Backbone, Weights, backend_name

from .training_recipe import TrainingRecipe

__all__ = [
    "CompiledNetwork",
    "FinetunePlan",
    "FoldPlan",
    "image_keys",
    "plan_fold",
    "seen_before",
    "unsuitable_recipe",
]

_LIBRARIES = ("featx", "keras", "numpy", "pillow")


@dataclass
class CompiledNetwork:
    """The network that was compiled last, for reuse.

    Compiling takes seconds and tracing more, so the folds of a protocol, and arms with the same recipe, share one
    network. Its weights, optimizers and random states are reset for each.

    Attributes
    ----------
    inputs : str
        Digest of what the network was compiled for; empty if there is none.
    learner : Learner or None
        The network.
    started_from : str
        Digest of its initial weights.
    """

    inputs: str = ""
    learner: Any = None
    started_from: str = ""

    def clear(self) -> None:
        """Release the network and its memory."""
        if self.learner is None:
            return
        self.inputs, self.learner, self.started_from = "", None, ""
        # Keras' models are full of reference cycles: without this, several networks of one process pile up.
        gc.collect()


@dataclass(frozen=True)
class FinetunePlan:
    """What all folds of a fine-tuning have in common.

    Attributes
    ----------
    labelled : Labelled
        The data set under its task.
    keys : mapping of str to str
        Content key of each image id.
    folds : Folds
        All folds of the protocol.
    backbone : Backbone
        The architecture.
    recipe : TrainingRecipe
        The resolved recipe.
    image_size : int
        Input size in pixels.
    arm : str
        Name of the arm, in reports.
    folder : Path
        Where runs go.
    seed : int
        Random seed of the training.
    workers : int
        Number of data-loading threads.
    warnings : tuple of str
        What a reader of the results has to know.
    """

    labelled: Labelled
    keys: Mapping[str, str]
    folds: Folds
    backbone: Backbone
    recipe: TrainingRecipe
    image_size: int
    arm: str
    folder: Path
    seed: int
    workers: int
    warnings: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes of the task."""
        return self.labelled.task.classes

    @property
    def steps(self) -> int:
        """Optimizer steps in an epoch of the protocol's smallest fold, whichever folds are trained."""
        images = min(len(fold.train) for fold in self.folds.folds) * (1 - self.recipe.validation)
        return self.recipe.steps_per_epoch(math.ceil(images))


@dataclass(frozen=True)
class FoldPlan:
    """One fold: its images, its initial weights, and the record and folder of its run."""

    fold: Fold
    weights: Weights
    record: RunRecord
    target: Path

    @property
    def checkpoint_folder(self) -> Path:
        """Folder beside the run's, for the checkpoint and for files that are not complete yet."""
        return self.target.with_name(f".training-{self.target.name}")


def unsuitable_recipe(recipe: TrainingRecipe, sources: Sequence[Weights]) -> list[str]:
    """Warn of a recipe for trained weights where the initial weights are random."""
    random = all(source.seed is not None for source in sources)
    if not random or (recipe.batch_norm == "train" and not recipe.head_epochs):
        return []
    return [
        f"the recipe {recipe.name!r} is made for trained weights (head_epochs, batch_norm), but the initial weights "
        "are random; use the recipe 'scratch'"
    ]


def image_keys(
    labelled: Labelled,
    cache: Path | str,
    workers: int | None,
    known: Mapping[str, str] | Path | str | None,
) -> dict[str, str]:
    """Find the content key of every image; `known` as in `content_keys`."""
    found = content_keys(labelled.paths, cache=cache, workers=workers, known=known)
    if found.failures:
        reasons = [str(error) for error in found.failures.values()]
        raise ImageError(
            f"{len(reasons)} images cannot be read: {listing(reasons, 3)}; repair them or remove them from the manifest"
        )
    return {name: found.keys[path] for name, path in zip(labelled.ids, labelled.paths, strict=True)}


def plan_fold(plan: FinetunePlan, fold: Fold, sources: Sequence[Weights]) -> FoldPlan:
    """Choose the initial weights of a fold, refuse those that have seen its test images, and make its record."""
    weights = _weights_of(fold, sources)
    keys = [plan.keys[name] for name in plan.labelled.ids]
    leaked = known_test_images(fold, plan.labelled, keys, seen_before(weights))
    if leaked:
        raise LeakError(
            f"the weights {weights.source} were trained on {len(leaked)} test images of fold {fold.name}, or on "
            f"images of their groups ({listing(leaked)}); start from weights that have not seen them"
        )
    record = _record(plan, fold, weights)
    return FoldPlan(
        fold, weights, record, run_folder(plan.folder, plan.arm, record.task, record.protocol, fold.name)
    )


def _weights_of(fold: Fold, sources: Sequence[Weights]) -> Weights:
    if len(sources) == 1:
        return sources[0]
    named = [source for source in sources if (source.trained_on or {}).get("fold") == fold.name]
    if len(named) != 1:
        raise WeightsError(
            f"{len(named)} of the {len(sources)} weights are for fold {fold.name}; "
            "give one file or run, or a folder with one run for each fold"
        )
    return named[0]


def seen_before(weights: Weights) -> frozenset[str]:
    """Return the content keys of the images that weights were trained on; empty if they have no record of it."""
    if not weights.trained_on or weights.path is None:
        return frozenset()
    facts = json.loads((weights.path.parent / TRAINED_ON_FILE).read_text(encoding="utf-8"))
    return frozenset(facts["train_keys"])


def _record(plan: FinetunePlan, fold: Fold, weights: Weights) -> RunRecord:
    manifest, task = plan.labelled.manifest, plan.labelled.task
    network = {
        "backbone": plan.backbone.name,
        "weights": weights.digest,
        "image_size": plan.image_size,
        "preparation": preparation_key(plan.recipe.preparation),
        "decode": DECODE_VERSION,
    }
    return RunRecord(
        kind="finetune",
        arm=plan.arm,
        task=task.name,
        classes=task.classes,
        scored=task.scored,
        protocol=plan.folds.protocol,
        fold=fold.name,
        folds_digest=plan.folds.digest,
        seed=plan.seed,
        manifest={
            "name": manifest.name,
            "digest": manifest.digest,
            "targets": plan.labelled.class_digests,
        },
        features={
            "digest": digest(network),
            "recipe": network,
            "images": digest(sorted(plan.keys[name] for name in fold.train)),
        },
        settings=canonical(plan.recipe),
        lineage=(*weights.lineage, f"{manifest.name}, fold {fold.name}" if fold.test else manifest.name),
        versions=versions((*_LIBRARIES, backend_name())),
        warnings=plan.warnings,
    )
