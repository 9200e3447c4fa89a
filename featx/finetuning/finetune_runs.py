"""Run folders of fine-tunings: a trained network with its history, and the scores of its own head."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.cells import csv_text
from featx.data import count_exclusions
from featx.digest import digest_file
from featx.machine import environment
from featx.runs import Prediction, Run, RunRecord, run_folder, write_run
from featx.zoo import BACKBONE_FILE, TRAINED_ON_FILE

from .finetune_plan import FinetunePlan, FoldPlan, seen_before

__all__ = [
    "HEAD_FILE",
    "HISTORY_FILE",
    "FittedFold",
    "plan_scores",
    "scores_folder",
    "write_finetuned",
    "write_scores",
]

HEAD_FILE = "head.weights.h5"
HISTORY_FILE = "history.csv"
_COLUMNS = ("epoch", "phase", "learning_rate", "loss", "validation_loss", "validation_auc", "best")


@dataclass(frozen=True)
class FittedFold:
    """Result of the training of one fold.

    Attributes
    ----------
    weights : list of ndarray
        The network's weights at the best epoch.
    best_epoch : int
        From 1, head epochs counted.
    history : tuple of dict
        A row for each epoch, by the columns of ``history.csv``.
    images_per_second : tuple of float
        Training throughput of each epoch that this process ran.
    resumed : int
        Number of epochs that were read from a checkpoint.
    """

    weights: list[NDArray[Any]]
    best_epoch: int
    history: tuple[dict[str, Any], ...]
    images_per_second: tuple[float, ...]
    resumed: int


def write_finetuned(
    plan: FinetunePlan,
    item: FoldPlan,
    learner: Any,
    fitted: FittedFold,
    counts: Mapping[str, Any],
    seconds: float,
) -> Run:
    """Write the run of a trained fold; the learner holds the weights of the best epoch."""
    from featx.zoo import save_backbone

    backbone, head = item.checkpoint_folder / BACKBONE_FILE, item.checkpoint_folder / HEAD_FILE
    save_backbone(learner.backbone, backbone)
    save_backbone(learner.head, head)
    record = dataclasses.replace(
        item.record,
        counts=counts,
        search={"best": fitted.history[fitted.best_epoch - 1]},
        convergence={
            "epochs": len(fitted.history),
            "best_epoch": fitted.best_epoch,
            "images_at_once": learner.recipe.micro_batch,
        },
        warnings=(*item.record.warnings, *_warnings(plan, fitted)),
    )
    measured = environment(
        {"training": seconds},
        images_per_second=[round(speed, 1) for speed in fitted.images_per_second],
        resumed_epochs=fitted.resumed,
    )
    files: dict[str, bytes | Path] = {
        BACKBONE_FILE: backbone,
        HEAD_FILE: head,
        HISTORY_FILE: _history(fitted.history),
        TRAINED_ON_FILE: _trained_on(plan, item),
    }
    return write_run(item.target, record, (), measured, files)


def _warnings(plan: FinetunePlan, fitted: FittedFold) -> list[str]:
    undefined = any(row["validation_auc"] is None for row in fitted.history)
    if plan.recipe.metric == "auc" and plan.recipe.validation and undefined:
        return [
            "a class is missing in the validation set: the epoch was chosen by validation loss instead of AUC"
        ]
    return []


def _history(rows: Sequence[Mapping[str, Any]]) -> bytes:
    lines = [["" if row[name] is None else row[name] for name in _COLUMNS] for row in rows]
    return csv_text([_COLUMNS, *lines]).encode()


def _trained_on(plan: FinetunePlan, item: FoldPlan) -> bytes:
    seen = {plan.keys[name] for name in item.fold.train} | seen_before(item.weights)
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


def scores_folder(plan: FinetunePlan, item: FoldPlan, folder: Path | str) -> Path:
    """Name the folder of the run with the head's scores."""
    return run_folder(folder, plan.arm, item.record.task, item.record.protocol, item.fold.name)


def plan_scores(plan: FinetunePlan, item: FoldPlan, run: Run) -> RunRecord:
    """Make the record of the run with the head's scores."""
    labelled = plan.labelled
    tested = [name for name in labelled.ids if name in set(item.fold.test)]
    classes = dict(zip(labelled.ids, labelled.classes.tolist(), strict=True))
    counts = {name: sum(classes[row] == name for row in tested) for name in plan.classes}
    return dataclasses.replace(
        item.record,
        kind="softmax",
        features={
            **item.record.features,
            "digest": digest_file(run.path / BACKBONE_FILE),
            "head": digest_file(run.path / HEAD_FILE),
        },
        lineage=run.record.lineage,
        counts={**run.record.counts, "test": counts, "flow": count_exclusions(labelled)},
        search=run.record.search,
        convergence=run.record.convergence,
        warnings=run.record.warnings,
    )


def write_scores(
    plan: FinetunePlan,
    item: FoldPlan,
    record: RunRecord,
    scores: NDArray[np.float64],
    target: Path,
    seconds: float,
) -> Run:
    """Write the run with the head's scores, of shape (n, classes), test images in the fold's order.

    The scores are log-odds, not probabilities: balanced sampling has moved them away from the frequencies in the data.
    """
    labelled = plan.labelled
    place = {name: row for row, name in enumerate(labelled.ids)}
    columns = [plan.classes.index(name) for name in record.scored]
    predictions = [
        Prediction(
            id=name,
            fold=item.fold.name,
            group=str(labelled.groups[place[name]]),
            actual=str(labelled.classes[place[name]]),
            scores={plan.classes[column]: float(row[column]) for column in columns},
            strata={stratum: values[place[name]] for stratum, values in labelled.strata.items()},
        )
        for name, row in zip(item.fold.test, scores, strict=True)
    ]
    return write_run(target, record, predictions, environment({"scoring": seconds}))
