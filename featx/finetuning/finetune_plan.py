"""What a fine-tuning shall do: recipe, weights and record of every fold, before any network is built."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.data import Fold, Folds, Labelled, known_test_images
from featx.digest import canonical, digest
from featx.errors import ImageError, LeakError, WeightsError, listing
from featx.finetuning.sampling import steps_per_epoch
from featx.finetuning.training_recipe import TrainingRecipe, read_recipe
from featx.images import DECODE_VERSION, content_keys, preparation_key
from featx.machine import versions
from featx.runs import RunRecord, run_folder
from featx.zoo import TRAINED_ON_FILE, Backbone, Weights, backend_name

__all__ = ["FinetunePlan", "Todo", "advice", "choose_recipe", "image_keys", "plan_fold", "seen_before"]


_LIBRARIES = ("featx", "keras", "numpy", "pillow")


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
        Side of the input in pixels.
    arm : str
        Name of the row in a study's table.
    folder : Path
        Where runs go.
    seed : int
        Seed of the folds and of all chance in the training.
    workers : int
        Threads that prepare batches.
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
        return steps_per_epoch(math.ceil(images), self.recipe.batch_size)


@dataclass(frozen=True)
class Todo:
    """One fold.

    Attributes
    ----------
    fold : Fold
        Its parts.
    weights : Weights
        What it starts from.
    record : RunRecord
        What decides its run.
    target : Path
        The run's folder.
    """

    fold: Fold
    weights: Weights
    record: RunRecord
    target: Path

    @property
    def workshop(self) -> Path:
        """Folder beside the run's, for the checkpoint and for files that are not complete yet."""
        return self.target.with_name(f".training-{self.target.name}")


def choose_recipe(
    spec: str | Path | TrainingRecipe | None, sources: Sequence[Weights], fields: Mapping[str, Any]
) -> TrainingRecipe:
    """Resolve the recipe; where none is named, one that suits the weights."""
    return read_recipe(spec or ("scratch" if _random(sources) else "modern"), fields)


def advice(recipe: TrainingRecipe, sources: Sequence[Weights]) -> list[str]:
    """Remark on a recipe that does not suit the weights."""
    if not _random(sources) or (recipe.batch_norm == "train" and not recipe.head_epochs):
        return []
    return [
        f"the recipe {recipe.name!r} is made for trained weights (head_epochs, batch_norm), these are random; "
        "the recipe 'scratch' suits them"
    ]


def _random(sources: Sequence[Weights]) -> bool:
    return all(source.seed is not None for source in sources)


def image_keys(labelled: Labelled, cache: Path | str, workers: int | None) -> dict[str, str]:
    """Find the content key of every image."""
    found = content_keys(labelled.paths, cache=Path(cache), workers=workers)
    if found.failures:
        reasons = [str(error) for error in found.failures.values()]
        raise ImageError(f"{len(reasons)} images cannot be read: {listing(reasons, 3)}")
    return {name: found.keys[path] for name, path in zip(labelled.ids, labelled.paths, strict=True)}


def plan_fold(study: FinetunePlan, fold: Fold, sources: Sequence[Weights]) -> Todo:
    """Say what a fold starts from, what decides its run, and where that goes."""
    weights = _weights_of(fold, sources)
    keys = [study.keys[name] for name in study.labelled.ids]
    leaked = known_test_images(fold, study.labelled, keys, seen_before(weights))
    if leaked:
        raise LeakError(
            f"the weights {weights.source} were trained on {len(leaked)} test images of fold {fold.name}, or on "
            f"images of their groups ({listing(leaked)}); start from weights that have not seen them"
        )
    record = _record(study, fold, weights)
    return Todo(
        fold, weights, record, run_folder(study.folder, study.arm, record.task, record.protocol, fold.name)
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
    """Return the images that weights were trained on, as far as they tell."""
    if not weights.trained_on or weights.path is None:
        return frozenset()
    facts = json.loads((weights.path.parent / TRAINED_ON_FILE).read_text(encoding="utf-8"))
    return frozenset(facts["train_keys"])


def _record(study: FinetunePlan, fold: Fold, weights: Weights) -> RunRecord:
    manifest, task = study.labelled.manifest, study.labelled.task
    network = {
        "backbone": study.backbone.name,
        "weights": weights.digest,
        "image_size": study.image_size,
        "preparation": preparation_key(study.recipe.preparation),
        "decode": DECODE_VERSION,
    }
    where = manifest.name
    return RunRecord(
        kind="finetune",
        arm=study.arm,
        task=task.name,
        classes=task.classes,
        scored=task.scored,
        protocol=study.folds.protocol,
        fold=fold.name,
        folds_digest=study.folds.digest,
        seed=study.seed,
        manifest={
            "name": manifest.name,
            "digest": manifest.digest,
            "targets": study.labelled.class_digests,
        },
        features={
            "digest": digest(network),
            "recipe": network,
            "images": digest(sorted(study.keys[name] for name in fold.train)),
        },
        settings=canonical(study.recipe),
        lineage=(*weights.lineage, f"{where}, fold {fold.name}" if fold.test else where),
        versions=versions((*_LIBRARIES, backend_name())),
        warnings=study.warnings,
    )
