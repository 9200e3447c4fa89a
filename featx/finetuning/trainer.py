"""One compiled network over all folds: training, validation cuts, memory that runs out, scores of the head.

Imported late, since it imports keras.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featx.cells import csv_text
from featx.data import Labelled, merged_groups, validation_split
from featx.digest import digest, digest_file
from featx.finetuning.checkpoint import Checkpoint
from featx.finetuning.devices import compute_in_order, find_devices
from featx.finetuning.finetune_plan import FinetunePlan, Todo, seen_before
from featx.finetuning.learner import Fitted, FoldTraining, Kept, Learner, fit, precision
from featx.finetuning.sampling import Part, final_weights
from featx.finetuning.tensorboard_log import open_board
from featx.finetuning.training_images import TrainingImages, load_pixels
from featx.finetuning.training_recipe import TrainingRecipe
from featx.machine import environment
from featx.progress import Progress
from featx.runs import Prediction, Run, RunRecord, run_folder, write_run
from featx.zoo import BACKBONE_FILE, TRAINED_ON_FILE, Weights, build_backbone

if TYPE_CHECKING:
    from featx.finetuning.learner import Fitted, Learner

__all__ = [
    "HEAD_FILE",
    "HISTORY",
    "HISTORY_FILE",
    "Trainer",
    "plan_scores",
    "scores_folder",
    "write_finetuned",
    "write_scores",
]


HEAD_FILE = "head.weights.h5"


HISTORY_FILE = "history.csv"


HISTORY = ("epoch", "phase", "learning_rate", "loss", "validation_loss", "validation_auc", "best")


def write_finetuned(
    study: FinetunePlan,
    item: Todo,
    learner: Learner,
    fitted: Fitted,
    counts: Mapping[str, Any],
    seconds: float,
) -> Run:
    """Write the run of a trained fold."""
    from featx.zoo import save_backbone

    backbone, head = item.workshop / BACKBONE_FILE, item.workshop / HEAD_FILE
    save_backbone(learner.backbone, backbone)
    learner.head.save_weights(head)
    record = dataclasses.replace(
        item.record,
        counts=counts,
        search={"best": fitted.history[fitted.best_epoch - 1]},
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
        BACKBONE_FILE: backbone,
        HEAD_FILE: head,
        HISTORY_FILE: _history(fitted.history),
        TRAINED_ON_FILE: _trained_on(study, item),
    }
    return write_run(item.target, record, (), facts, files)


def _remarks(study: FinetunePlan, fitted: Fitted) -> list[str]:
    """Say what a reader of the result has to know."""
    undefined = any(row["validation_auc"] is None for row in fitted.history)
    if study.recipe.metric == "auc" and study.recipe.validation and undefined:
        return ["a class is missing in the validation part: the epoch was chosen by loss instead of AUC"]
    return []


def _history(rows: Sequence[Mapping[str, Any]]) -> bytes:
    lines = [["" if row[name] is None else row[name] for name in HISTORY] for row in rows]
    return csv_text([HISTORY, *lines]).encode()


def _trained_on(study: FinetunePlan, item: Todo) -> bytes:
    seen = {study.keys[name] for name in item.fold.train} | seen_before(item.weights)
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


def scores_folder(study: FinetunePlan, item: Todo, folder: Path | str) -> Path:
    """Name the folder of a head's scores."""
    return run_folder(folder, study.arm, item.record.task, item.record.protocol, item.fold.name)


def plan_scores(study: FinetunePlan, item: Todo, run: Run) -> RunRecord:
    """Say what decides the run of a head's scores."""
    labelled = study.labelled
    tested = [name for name in labelled.ids if name in set(item.fold.test)]
    classes = dict(zip(labelled.ids, labelled.classes.tolist(), strict=True))
    counts = {name: sum(classes[row] == name for row in tested) for name in study.classes}
    return dataclasses.replace(
        item.record,
        kind="softmax",
        features={
            **item.record.features,
            "digest": digest_file(run.path / BACKBONE_FILE),
            "head": digest_file(run.path / HEAD_FILE),
        },
        lineage=run.record.lineage,
        counts={**run.record.counts, "test": counts},
        search=run.record.search,
        convergence=run.record.convergence,
        warnings=run.record.warnings,
    )


def write_scores(
    study: FinetunePlan,
    item: Todo,
    record: RunRecord,
    scores: NDArray[np.float64],
    target: Path,
    seconds: float,
) -> Run:
    """Write the run of a head's scores.

    Parameters
    ----------
    scores : ndarray of float64, shape (n, classes)
        Log-odds, test images in the fold's order. They are not called probabilities: balanced resampling
        has moved them away from the frequencies in the data.
    """
    labelled = study.labelled
    place = {name: row for row, name in enumerate(labelled.ids)}
    columns = [study.classes.index(name) for name in record.scored]
    predictions = [
        Prediction(
            id=name,
            fold=item.fold.name,
            group=str(labelled.groups[place[name]]),
            actual=str(labelled.classes[place[name]]),
            scores={study.classes[column]: float(row[column]) for column in columns},
            strata={stratum: values[place[name]] for stratum, values in labelled.strata.items()},
        )
        for name, row in zip(item.fold.test, scores, strict=True)
    ]
    return write_run(target, record, predictions, environment({"scoring": seconds}))


class Trainer:
    """Trains folds one after the other with one compiled network.

    Parameters
    ----------
    memory_gib : float
        Prepared images are kept in memory up to this size.
    kept : Kept
        A network compiled before, taken over if it fits; and where the one compiled here stays.
    """

    def __init__(
        self,
        study: FinetunePlan,
        memory_gib: float,
        progress: Progress,
        kept: Kept,
        boards: Path | None = None,
    ) -> None:
        self._study, self._memory_gib, self._progress, self._kept = study, memory_gib, progress, kept
        self._boards = boards
        self._recipe = study.recipe

    def load(self, ids: Sequence[str]) -> _Images:
        """Prepare images."""
        labelled, recipe = self._study.labelled, self._study.recipe
        wanted = sorted(set(ids))
        paths = dict(zip(labelled.ids, labelled.paths, strict=True))
        pixels = load_pixels(
            [paths[name] for name in wanted],
            recipe.preparation,
            self._study.image_size,
            keys=[self._study.keys[name] for name in wanted],
            memory_gib=self._memory_gib,
            workers=self._study.workers,
            progress=self._progress,
        )
        return _Images(pixels, {name: row for row, name in enumerate(wanted)})

    def train(self, item: Todo, images: _Images) -> Run:
        """Train a fold and write its run."""
        began = time.monotonic()
        job, counts = _job(self._study, item, images)
        fitted, checkpoint = self._fit(item, job)
        learner = self._ready(item.weights)
        learner.model.set_weights(fitted.weights)
        run = write_finetuned(self._study, item, learner, fitted, counts, time.monotonic() - began)
        checkpoint.discard()
        return run

    def scores(self, item: Todo, run: Run, images: _Images) -> NDArray[np.float64]:
        """Score a fold's test part by the head of its trained network.

        Returns
        -------
        ndarray of float64, shape (n, classes)
            Logarithm of the odds of each class, test images in the fold's order.
        """
        learner = self._ready(item.weights)
        learner.backbone.load_weights(run.path / BACKBONE_FILE)
        learner.head.load_weights(run.path / HEAD_FILE)
        part = _part(self._study.labelled, images, item.fold.test)
        return _log_odds(learner.predict(part, self._study.workers))

    def _ready(self, weights: Weights) -> Learner:
        """Return the network, set to start from the given weights."""
        kept, needs = self._kept, self._needs()
        if kept.needs != needs:
            kept.clear()
        if kept.learner is not None and kept.started_from == weights.digest:
            return kept.learner
        if not compute_in_order():
            self._progress.say(
                "trainings may differ in the last bits: TensorFlow was at work before and computes out of order; "
                "set TF_NUM_INTEROP_THREADS=1 before it begins"
            )
        devices = find_devices(self._recipe.micro_batch)
        with devices.scope(), precision(self._recipe.precision):
            model = build_backbone(self._study.backbone, weights, self._study.image_size)
        if kept.learner is None:
            classes, steps = len(self._study.classes), self._study.steps
            kept.learner = Learner(model, classes, self._recipe, steps, devices)
        else:
            kept.learner.start_from(model.get_weights())
        kept.needs, kept.started_from = needs, weights.digest
        return kept.learner

    def _needs(self) -> str:
        """Stand for all that a network is compiled for."""
        study = self._study
        return digest([study.backbone.name, study.image_size, len(study.classes), study.steps, self._recipe])

    def _board_folder(self, item: Todo) -> Path | None:
        if self._boards is None:
            return None
        record = item.record
        return run_folder(self._boards, record.arm, record.task, record.protocol, record.fold)

    def _fit(self, item: Todo, job: FoldTraining) -> tuple[Fitted, Checkpoint]:
        """Train; where memory runs out, halve what goes through the network at once and start again."""
        while True:
            checkpoint = Checkpoint(item.workshop, digest([item.record.id, self._recipe.accumulate]))
            try:
                with open_board(self._board_folder(item)) as board:
                    return fit(self._ready(item.weights), job, checkpoint, self._progress, board), checkpoint
            except Exception as error:
                if not _out_of_memory(error) or self._recipe.micro_batch == 1:
                    raise
            self._kept.clear()
            self._recipe = _halved(self._recipe)
            self._progress.say(
                f"out of memory: {self._recipe.micro_batch} images at once from here on, "
                f"{self._recipe.accumulate} times for each step of {self._recipe.batch_size}"
            )


@dataclasses.dataclass(frozen=True)
class _Images:
    pixels: TrainingImages
    rows: Mapping[str, int]


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


def _job(study: FinetunePlan, item: Todo, images: _Images) -> tuple[FoldTraining, dict[str, Any]]:
    """Cut the validation part out of a fold's training part, by group."""
    labelled, recipe, names = study.labelled, study.recipe, item.fold.train
    at = _places(labelled, names)
    groups = merged_groups(labelled.groups[at], [study.keys[name] for name in names])
    seed = int(digest({"seed": study.seed, "fold": item.fold.name})[:7], 16)
    fitted, held = np.arange(len(at)), np.arange(0)
    if recipe.validation:
        fitted, held = validation_split(labelled.targets[at], groups, held_out=recipe.validation, seed=seed)
    train, validation = (_part(labelled, images, [names[row] for row in rows]) for rows in (fitted, held))
    final = final_weights(recipe, labelled.task.name, labelled.task.classes)
    counts = {"train": _counts(labelled, train), "validation": _counts(labelled, validation)}
    job = FoldTraining(item.fold.name, train, validation, final, seed, study.workers)
    return job, {**counts, "left_out": labelled.left_out, "groups": len(set(groups.tolist()))}


def _part(labelled: Labelled, images: _Images, ids: Sequence[str]) -> Part:
    rows = np.array([images.rows[name] for name in ids], np.int64)
    targets = labelled.targets[_places(labelled, ids)]
    return Part(images.pixels, rows, targets, tuple(ids), len(labelled.task.classes))


def _places(labelled: Labelled, ids: Sequence[str]) -> NDArray[np.int64]:
    place = {name: index for index, name in enumerate(labelled.ids)}
    return np.array([place[name] for name in ids], np.int64)


def _counts(labelled: Labelled, part: Part) -> dict[str, int]:
    numbers = np.bincount(part.targets, minlength=part.classes)
    return dict(zip(labelled.task.classes, numbers.tolist(), strict=True))


def _log_odds(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn logits into log(p / (1 - p)) of every class; in two classes, their difference."""
    columns = range(logits.shape[1])
    others = [np.logaddexp.reduce(np.delete(logits, column, axis=1), axis=1) for column in columns]
    odds: NDArray[np.float64] = logits - np.stack(others, axis=1)
    return odds
