"""`featx finalize`: one SVM of all images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.deploy import FinalizeSettings

from . import batch, flags
from .bars import progress

if TYPE_CHECKING:
    from featx.runs import Run

__all__ = ["finalize"]


@click.command(
    epilog=flags.example(
        "featx finalize lesions.csv --arm frozen --task melanoma:rest --runs reports/runs/frozen"
    )
)
@flags.MANIFEST
@flags.of(FinalizeSettings)
@flags.CONFIG
@batch.recorded
def finalize(manifest: Path, **values: Any) -> None:
    """Train one SVM on all images, for use on new images with `featx predict`.

    C, thresholds and calibration are chosen by inner cross-validation, as in a fold of train-svm. There is no test set:
    --runs records the AUC of the folds of the same arm as what to expect. Prints the folder of the run.
    """
    from featx.deploy import finalize as work

    run = work(manifest, **flags.given(values), progress=progress())
    batch.results([run.path])
    click.echo(str(run.path))
    batch.say(_summary(run))
    for text in run.record.warnings:
        batch.say(f"warning: {text}")


def _summary(run: Run) -> str:
    images = sum(run.record.counts["train"].values())
    stated = f"{run.record.arm}: final model of {images} images"
    expected = run.record.search.get("expected")
    if expected is None:
        return f"{stated}; no expected AUC, because no runs of its folds were given (--runs)"
    if expected["auc"] is None:
        return f"{stated}; the folds have no AUC"
    if expected["pooled"]:
        return f"{stated}; expected AUC {expected['auc']:.4f}, of the pooled decision values of {expected['folds']} folds"
    spread = "" if expected["sd"] is None else f" ± {expected['sd']:.4f}"
    return f"{stated}; expected AUC {expected['auc']:.4f}{spread}, mean over {expected['folds']} folds ({expected['protocol']})"
