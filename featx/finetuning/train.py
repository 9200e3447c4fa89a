"""`finetune`: retrain a network on the training part of each fold, and keep each as a weights source.

A run folder of kind ``finetune`` holds, beside what every run holds,

``backbone.weights.h5``
    The network up to its feature layer, at the best epoch: what ``extract --weights`` reads.
``head.weights.h5``
    The classifier on top.
``history.csv``
    A row for each epoch.
``trained-on.json``
    The SHA-256 of every image that training or validation has seen, here or in a run that this one started
    from, with task, protocol and fold: what keeps a test image from being scored by a network that knows it.
"""

from __future__ import annotations

import csv
import dataclasses
import gc
import io
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featx.data.manifest import Manifest, read_manifest
from featx.data.protocols import (
    Fold,
    Folds,
    check_folds,
    make_folds,
    merged_groups,
    validation_split,
    write_folds,
)
from featx.data.tasks import Labelled, Task, apply_task
from featx.digest import canonical, digest
from featx.errors import ImageError, LeakError, WeightsError, listing
from featx.images.content import content_keys
from featx.images.decode import DECODE_VERSION
from featx.images.prepare import preparation_key
from featx.progress import Progress, Silent
from featx.runs import Run, RunRecord, environment, finished_run, run_folder, versions, write_run
from featx.zoo.backbones import Backbone, find_backbone
from featx.zoo.weights import BACKBONE_FILE, TRAINED_ON_FILE, Weights, resolve_weights

from .checkpoint import Checkpoint
from .pixels import MEMORY_GIB, Pixels, load_pixels
from .recipe import TrainingRecipe, read_recipe
from .sampling import Part, final_weights, steps_per_epoch

if TYPE_CHECKING:
    from .fit import Fitted, Job
    from .learner import Learner

__all__ = ["HEAD_FILE", "HISTORY_FILE", "finetune"]

HEAD_FILE = "head.weights.h5"
HISTORY_FILE = "history.csv"
_LIBRARIES = ("featx", "keras", "tensorflow", "jax", "torch", "numpy", "pillow")


@dataclass(frozen=True)
class _Study:
    """What all folds have in common."""

    labelled: Labelled
    keys: dict[str, str]
    folds: Folds
    backbone: Backbone
    recipe: TrainingRecipe
    image_size: int
    arm: str
    folder: Path
    seed: int
    workers: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Todo:
    """A fold that has no finished run yet."""

    fold: Fold
    weights: Weights
    record: RunRecord
    target: Path


def finetune(
    manifest: Path | str | Manifest,
    *,
    backbone: str,
    weights: str | Path = "imagenet",
    task: Task | str | Path = "labels",
    protocol: str | Path = "5x2",
    folds: Sequence[str] = (),
    recipe: str | Path | TrainingRecipe | None = None,
    arm: str | None = None,
    output: Path | str = "reports/finetuned",
    cache: Path | str = "cache",
    root: Path | str | None = None,
    seed: int = 0,
    workers: int | None = None,
    memory_gib: float = MEMORY_GIB,
    overwrite: bool = False,
    progress: Progress | None = None,
    **fields: Any,
) -> tuple[Run, ...]:
    """Fine-tune a network on the training part of each fold.

    Parameters
    ----------
    manifest : Path, str or Manifest
        Images and labels.
    backbone : str
        Name of a backbone (`featx zoo list`).
    weights : str or Path
        What to start from: ``random``, ``random:SEED``, ``imagenet``, a weights file, a fine-tuning run, or a
        folder of such runs, of which each fold starts from the one of its own name.
    task, protocol : str or Path
        As for `train_svm`; the protocol ``none`` trains on all images, for a source task.
    folds : sequence of str
        Names of folds; all if empty.
    recipe : str, Path or TrainingRecipe, optional
        ``modern``, ``scratch``, ``paper``, or a TOML file. ``scratch`` where the weights are random, else
        ``modern``, if left out.
    arm : str, optional
        Name of the row in a study's table; backbone, weights and recipe if left out.
    output : Path or str
        Runs go to ``output/arm/task/protocol/fold``.
    cache : Path or str
        Folder of caches.
    root : Path or str, optional
        Folder that image paths are relative to.
    seed : int
        Seed of the folds and of all chance in the training.
    workers : int, optional
        Threads that decode and alter images; the number of cores if left out. Results do not depend on it.
    memory_gib : float
        Prepared images are kept in memory up to this size, else decoded in every epoch.
    overwrite : bool
        Replace finished runs instead of reusing them.
    progress : Progress, optional
        Receiver of progress; a line an epoch is said.
    **fields
        Fields of the recipe to replace, such as ``epochs=10``.

    Returns
    -------
    tuple of Run
        One for each fold, in the protocol's order.

    Raises
    ------
    InputError
        If manifest, task, protocol, backbone, weights or recipe cannot be used; `LeakError` if the weights
        have seen a test image.
    ImageError
        If images cannot be read.
    TrainingError
        If a loss stops being finite.

    Notes
    -----
    On one machine and on a CPU, the same inputs and seed give the same weights. After every epoch the whole
    state is kept beside the run's folder; the same call after a kill goes on from there and ends with the
    weights of an uninterrupted training.
    """
    progress = progress or Silent()
    table = read_manifest(manifest, root=root)
    labelled = apply_task(table, task)
    found = find_backbone(backbone)
    sources = resolve_weights(str(weights), found)
    plan = _recipe(recipe, sources, fields)
    keys = _keys(labelled, cache, workers)
    made = make_folds(labelled, protocol, seed, [keys[name] for name in labelled.ids])
    warned = check_folds(made, labelled, [keys[name] for name in labelled.ids])
    label = sources[0].label if len(sources) == 1 else Path(weights).name
    study = _Study(
        labelled=labelled,
        keys=keys,
        folds=made,
        backbone=found,
        recipe=plan,
        image_size=plan.image_size or found.image_size,
        arm=arm or f"{found.name}-{label}-{plan.name}",
        folder=Path(output),
        seed=seed,
        workers=workers or os.cpu_count() or 1,
        warnings=(*warned, *_advice(plan, sources)),
    )
    return _run_folds(study, made.select(folds), sources, memory_gib, overwrite, progress)


def _recipe(
    spec: str | Path | TrainingRecipe | None, sources: Sequence[Weights], fields: Mapping[str, Any]
) -> TrainingRecipe:
    return read_recipe(spec or ("scratch" if _random(sources) else "modern"), fields)


def _random(sources: Sequence[Weights]) -> bool:
    return all(source.seed is not None for source in sources)


def _advice(recipe: TrainingRecipe, sources: Sequence[Weights]) -> list[str]:
    if not _random(sources) or (recipe.batch_norm == "train" and not recipe.head_epochs):
        return []
    return [
        f"the recipe {recipe.name!r} is made for trained weights (head_epochs, batch_norm), these are random; "
        "the recipe 'scratch' suits them"
    ]


def _keys(labelled: Labelled, cache: Path | str, workers: int | None) -> dict[str, str]:
    """Return the content key of each image id."""
    found = content_keys(labelled.paths, cache=Path(cache), workers=workers)
    if found.failures:
        reasons = [str(error) for error in found.failures.values()]
        raise ImageError(f"{len(reasons)} images cannot be read: {listing(reasons, 3)}")
    return {name: found.keys[path] for name, path in zip(labelled.ids, labelled.paths, strict=True)}


def _run_folds(
    study: _Study,
    chosen: Folds,
    sources: Sequence[Weights],
    memory_gib: float,
    overwrite: bool,
    progress: Progress,
) -> tuple[Run, ...]:
    todo: list[_Todo] = []
    runs: dict[str, Run] = {}
    for fold in chosen.folds:
        item = _todo(study, fold, _weights_of(fold, sources))
        run = finished_run(item.target, item.record, overwrite)
        if run is None:
            todo.append(item)
        else:
            runs[fold.name] = run
    if runs:
        progress.say(f"{len(runs)} of {len(chosen.folds)} folds were finished before and are reused")
    if todo:
        runs |= _train_folds(study, todo, memory_gib, progress)
    return tuple(runs[fold.name] for fold in chosen.folds)


def _weights_of(fold: Fold, sources: Sequence[Weights]) -> Weights:
    """Choose the source that a fold starts from."""
    if len(sources) == 1:
        return sources[0]
    named = [source for source in sources if (source.trained_on or {}).get("fold") == fold.name]
    if len(named) != 1:
        raise WeightsError(
            f"{len(named)} of the {len(sources)} weights are for fold {fold.name}; "
            "give one file or run, or a folder with one run for each fold"
        )
    return named[0]


def _todo(study: _Study, fold: Fold, weights: Weights) -> _Todo:
    seen = _seen_before(weights)
    leaked = sorted(name for name in fold.test if study.keys[name] in seen)
    if leaked:
        raise LeakError(
            f"the weights {weights.source} were trained on {len(leaked)} test images of fold {fold.name} "
            f"({listing(leaked)}); start from weights that have not seen them"
        )
    record = _record(study, fold, weights)
    target = run_folder(study.folder, study.arm, record.task, record.protocol, fold.name)
    return _Todo(fold, weights, record, target)


def _seen_before(weights: Weights) -> frozenset[str]:
    """Return the keys of the images that the weights were trained on, as far as they tell."""
    if not weights.trained_on or weights.path is None:
        return frozenset()
    facts = json.loads((weights.path.parent / TRAINED_ON_FILE).read_text(encoding="utf-8"))
    return frozenset(facts["train_keys"])


def _record(study: _Study, fold: Fold, weights: Weights) -> RunRecord:
    """Say what decides the run."""
    manifest, task = study.labelled.manifest, study.labelled.task
    network = {
        "backbone": study.backbone.name,
        "weights": weights.digest,
        "image_size": study.image_size,
        "preparation": preparation_key(study.recipe.preparation),
        "decode": DECODE_VERSION,
    }
    where = _data_name(manifest)
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
        manifest={"name": manifest.name, "digest": manifest.digest},
        features={
            "digest": digest(network),
            "recipe": network,
            "images": digest(sorted(study.keys[name] for name in fold.train)),
        },
        settings=canonical(study.recipe),
        lineage=(*weights.lineage, f"{where}, fold {fold.name}" if fold.test else where),
        versions=versions(_LIBRARIES),
        warnings=study.warnings,
    )


def _data_name(manifest: Manifest) -> str:
    """Name a data set in a lineage: by its folder where the file's name says nothing."""
    return manifest.source.resolve().parent.name if manifest.name == "manifest" else manifest.name


def _train_folds(
    study: _Study, todo: Sequence[_Todo], memory_gib: float, progress: Progress
) -> dict[str, Run]:
    """Train the folds one after the other with one compiled network."""
    used = sorted({name for item in todo for name in item.fold.train})
    rows = {name: row for row, name in enumerate(used)}
    paths = dict(zip(study.labelled.ids, study.labelled.paths, strict=True))
    pixels = load_pixels(
        [paths[name] for name in used],
        study.recipe.preparation,
        study.image_size,
        memory_gib=memory_gib,
        workers=study.workers,
        progress=progress,
    )
    folds_file = todo[0].target.parent / "folds.json"
    if not folds_file.exists():
        write_folds(folds_file, study.folds)
    trainer = _Trainer(study, progress)
    try:
        return {item.fold.name: trainer.train(item, pixels, rows) for item in todo}
    finally:
        # Keras' models are full of cycles: without this, several calls in one process pile up.
        del trainer
        gc.collect()


class _Trainer:
    """Keeps one compiled network over the folds."""

    def __init__(self, study: _Study, progress: Progress) -> None:
        self._study, self._progress, self._recipe = study, progress, study.recipe
        self._learner: Learner | None = None
        self._started_from = ""

    def train(self, item: _Todo, pixels: Pixels, rows: Mapping[str, int]) -> Run:
        """Train a fold and write its run."""
        began = time.monotonic()
        job, counts = _job(self._study, item, pixels, rows)
        fitted, checkpoint = self._fit(item, job)
        learner = self._ready(item.weights)
        learner.model.set_weights(fitted.weights)
        run = _write(self._study, item, learner, fitted, counts, time.monotonic() - began)
        checkpoint.discard()
        return run

    def _ready(self, weights: Weights) -> Learner:
        """Return the network, set to start from the given weights."""
        from featx.zoo.network import build_backbone

        from .learner import Learner, precision

        if self._learner is None or self._started_from != weights.digest:
            with precision(self._recipe.precision):
                model = build_backbone(self._study.backbone, weights, self._study.image_size)
            if self._learner is None:
                classes = len(self._study.labelled.task.classes)
                self._learner = Learner(model, classes, self._recipe, _steps(self._study))
            else:
                self._learner.start_from(model.get_weights())
            self._started_from = weights.digest
        return self._learner

    def _fit(self, item: _Todo, job: Job) -> tuple[Fitted, Checkpoint]:
        """Train; where memory runs out, halve what goes through the network at once and start again."""
        from .fit import fit

        while True:
            inputs = digest([item.record.id, self._recipe.accumulate])
            checkpoint = Checkpoint(item.target.with_name(f".training-{item.target.name}"), inputs)
            try:
                return fit(self._ready(item.weights), job, checkpoint, self._progress), checkpoint
            except Exception as error:
                if not _out_of_memory(error) or self._recipe.micro_batch == 1:
                    raise
            self._learner = None
            gc.collect()
            self._recipe = _halved(self._recipe)
            self._progress.say(
                f"out of memory: {self._recipe.micro_batch} images at once from here on, "
                f"{self._recipe.accumulate} times for each step of {self._recipe.batch_size}"
            )


def _steps(study: _Study) -> int:
    """Count the optimizer steps in an epoch of the protocol's smallest fold, whichever folds are trained."""
    images = min(len(fold.train) for fold in study.folds.folds) * (1 - study.recipe.validation)
    return steps_per_epoch(math.ceil(images), study.recipe.batch_size)


def _halved(recipe: TrainingRecipe) -> TrainingRecipe:
    """Cut batches into at least twice as many equal parts."""
    parts = range(2 * recipe.accumulate, recipe.batch_size + 1)
    accumulate = next(number for number in parts if recipe.batch_size % number == 0)
    return dataclasses.replace(recipe, accumulate=accumulate)


def _out_of_memory(error: Exception) -> bool:
    """Recognise what the backends raise when the device's memory is full."""
    text = f"{type(error).__name__}: {error}".lower()
    signs = ("resourceexhausted", "resource_exhausted", "out of memory", "outofmemory")
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)


def _job(study: _Study, item: _Todo, pixels: Pixels, rows: Mapping[str, int]) -> tuple[Job, dict[str, Any]]:
    """Cut the validation part out of a fold's training part, by group."""
    from .fit import Job

    labelled, recipe = study.labelled, study.recipe
    place = {name: index for index, name in enumerate(labelled.ids)}
    at = np.array([place[name] for name in item.fold.train], np.int64)
    groups = merged_groups(labelled.groups[at], [study.keys[name] for name in item.fold.train])
    seed = int(digest({"seed": study.seed, "fold": item.fold.name})[:7], 16)
    fit, held = np.arange(len(at)), np.arange(0)
    if recipe.validation:
        fit, held = validation_split(labelled.targets[at], groups, held_out=recipe.validation, seed=seed)
    names = np.array(item.fold.train, dtype=object)

    def part(chosen: NDArray[np.int64]) -> Part:
        ids = tuple(names[chosen])
        where = np.array([rows[name] for name in ids], np.int64)
        return Part(pixels, where, labelled.targets[at][chosen], ids, len(labelled.task.classes))

    final = final_weights(recipe, labelled.task.name, labelled.task.classes)
    job = Job(item.fold.name, part(fit), part(held), final, seed, study.workers)
    counts = {name: _counts(labelled, at[chosen]) for name, chosen in (("train", fit), ("validation", held))}
    return job, {**counts, "left_out": labelled.left_out, "groups": len(set(groups.tolist()))}


def _counts(labelled: Labelled, rows: NDArray[np.int64]) -> dict[str, int]:
    numbers = np.bincount(labelled.targets[rows], minlength=len(labelled.task.classes))
    return dict(zip(labelled.task.classes, numbers.tolist(), strict=True))


def _write(
    study: _Study, item: _Todo, learner: Learner, fitted: Fitted, counts: dict[str, Any], seconds: float
) -> Run:
    from featx.zoo.network import save_backbone

    folder = item.target.with_name(f".training-{item.target.name}")
    save_backbone(learner.backbone, folder / BACKBONE_FILE)
    learner.head.save_weights(folder / HEAD_FILE)
    best = fitted.history[fitted.best_epoch - 1]
    record = dataclasses.replace(
        item.record,
        counts=counts,
        search={"best": best},
        convergence={
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "images_at_once": learner.recipe.micro_batch,
        },
        warnings=(*item.record.warnings, *_remarks(study, fitted)),
    )
    facts = environment(
        {"training": seconds},
        images_per_second=[round(speed, 1) for speed in fitted.images_per_second],
        resumed_epochs=fitted.resumed,
    )
    files: dict[str, bytes | Path] = {
        BACKBONE_FILE: folder / BACKBONE_FILE,
        HEAD_FILE: folder / HEAD_FILE,
        HISTORY_FILE: _history(fitted.history),
        TRAINED_ON_FILE: _trained_on(study, item),
    }
    return write_run(item.target, record, (), facts, files)


def _remarks(study: _Study, fitted: Fitted) -> list[str]:
    """Say what a reader of the result has to know."""
    undefined = any(row["validation_auc"] is None for row in fitted.history)
    if study.recipe.metric == "auc" and study.recipe.validation and undefined:
        return ["a class is missing in the validation part: the epoch was chosen by loss instead of AUC"]
    return []


def _history(rows: Sequence[Mapping[str, Any]]) -> bytes:
    from .fit import HISTORY

    text = io.StringIO()
    writer = csv.DictWriter(text, HISTORY, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if row[name] is None else row[name] for name in HISTORY} for row in rows)
    return text.getvalue().encode()


def _trained_on(study: _Study, item: _Todo) -> bytes:
    seen = {study.keys[name] for name in item.fold.train} | _seen_before(item.weights)
    facts = {
        "train_keys": sorted(seen),
        "task": item.record.task,
        "protocol": item.record.protocol,
        "fold": item.fold.name,
        "folds_digest": item.record.folds_digest,
        "manifest": item.record.manifest,
        "lineage": list(item.record.lineage),
    }
    return (json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
