"""What a fine-tuning leaves behind: run folders of the trained networks, and of their heads' scores."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featx.cells import csv_text
from featx.digest import digest_file
from featx.runs import Prediction, Run, RunRecord, environment, run_folder, write_run
from featx.zoo import BACKBONE_FILE, TRAINED_ON_FILE

from .plan import FinetunePlan, Todo, seen_before

if TYPE_CHECKING:
    from .fit import Fitted
    from .learner import Learner

__all__ = [
    "HEAD_FILE",
    "HISTORY",
    "HISTORY_FILE",
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
    """Write the run of a trained fold.

    Parameters
    ----------
    study : Study
        What the folds have in common.
    item : Todo
        The fold.
    learner : Learner
        The network, with the weights to keep.
    fitted : Fitted
        What came out of the training.
    counts : mapping
        Images in the parts.
    seconds : float
        Time that the training took.

    Returns
    -------
    Run
        The run.
    """
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
    """Name the folder of a head's scores.

    Parameters
    ----------
    study : Study
        What the folds have in common.
    item : Todo
        The fold.
    folder : Path or str
        Where such runs go.

    Returns
    -------
    Path
        ``folder/arm/task/protocol/fold``.
    """
    return run_folder(folder, study.arm, item.record.task, item.record.protocol, item.fold.name)


def plan_scores(study: FinetunePlan, item: Todo, run: Run) -> RunRecord:
    """Say what decides the run of a head's scores.

    Parameters
    ----------
    study : Study
        What the folds have in common.
    item : Todo
        The fold.
    run : Run
        The finished run of its network.

    Returns
    -------
    RunRecord
        Of kind ``softmax``.
    """
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
    study : Study
        What the folds have in common.
    item : Todo
        The fold.
    record : RunRecord
        What `plan_scores` returned.
    scores : ndarray of float64, shape (n, classes)
        Log-odds, test images in the fold's order. They are not called probabilities: balanced resampling
        has moved them away from the frequencies in the data.
    target : Path
        The run's folder.
    seconds : float
        Time that the scoring took.

    Returns
    -------
    Run
        The run.
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
