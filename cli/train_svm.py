"""`featx train-svm`: linear SVMs on stored features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.jobs import ClusterOptions
from featx.svm import TrainSvmSettings

from . import batch, flags
from .bars import progress

if TYPE_CHECKING:
    from featx.runs import Run

__all__ = ["train_svm"]


@click.command(
    "train-svm",
    epilog=flags.example("featx train-svm lesions.csv --arm frozen --task melanoma:rest --protocol 5x2"),
)
@flags.MANIFEST
@flags.of(TrainSvmSettings)
@flags.of(ClusterOptions, leave=["parts"])
@flags.JSON
@flags.CONFIG
@batch.recorded
def train_svm(manifest: Path, as_json: bool, **values: Any) -> None:
    """Train and score a linear SVM on each fold, with C chosen by inner cross-validation.

    C is chosen inside the training set of the fold. Prints the folders of the runs; AUCs go to stderr. Finished runs
    with the same inputs are kept.
    """
    from featx.jobs import verb_on_cluster
    from featx.svm import run_auc

    given, cluster = flags.parted(values, ClusterOptions)
    runs = verb_on_cluster("train-svm", manifest, {**given, "progress": progress()}, cluster)
    batch.results(run.path for run in runs)
    aucs = [run_auc(run) for run in runs]
    outside = [_external(run) for run in runs]
    if as_json:
        flags.print_json([_record(*one) for one in zip(runs, aucs, outside, strict=True)])
    else:
        for run in runs:
            click.echo(str(run.path))
    for line in _summary(runs):
        batch.say(line)
    for line in _external_summary(runs[0].record.arm, outside):
        batch.say(line)


def _record(run: Any, auc: float, outside: dict[str, float | None]) -> dict[str, Any]:
    from featx.svm import chosen_costs

    return {
        "path": str(run.path),
        "fold": run.record.fold,
        **({"subset": run.record.subset} if run.record.subset else {}),
        "auc": None if auc != auc else auc,
        "external": outside,
        "C": chosen_costs(run.record),
        "not_converged": run.record.convergence["not_converged"],
        "warnings": list(run.record.warnings),
    }


def _external(run: Run) -> dict[str, float | None]:
    """Give the AUC of each external test set; None where a class is missing."""
    from featx.external import external_scores
    from featx.svm import run_auc

    found = external_scores(run)
    aucs = {one.record.name: run_auc(replace(run, predictions=one.predictions)) for one in found}
    return {name: None if auc != auc else auc for name, auc in aucs.items()}


def _summary(runs: tuple[Run, ...]) -> list[str]:
    from featx.reporting import collect, main_class, measure, size_points

    arm = runs[0].record.arm
    if not any(run.predictions for run in runs):
        return [f"{arm}: no test images scored"]
    (series,), _ = collect(run.path for run in runs)
    curve = [
        f"{arm}, {point.drawn} ({point.images} training images, {point.draws} draws): mean AUC {point.total.mean:.4f}"
        for several in size_points([series]).values()
        for point in several
        if point.drawn
    ]
    total = measure(series, main_class(series)).spread
    if series.pooled:
        count = len(series.runs)
        return [
            *curve,
            f"{arm}: AUC {total.mean:.4f} of the pooled decision function values of {count} folds",
        ]
    spread = f" ± {total.sd:.4f}" if total.n > 1 else ""
    undefined = f", {total.undefined} without an AUC" if total.undefined else ""
    return [*curve, f"{arm}: mean AUC {total.mean:.4f}{spread} over {total.n} folds{undefined}"]


def _external_summary(arm: str, found: list[dict[str, float | None]]) -> list[str]:
    from statistics import fmean

    lines = []
    for name in dict.fromkeys(name for aucs in found for name in aucs):
        values = [auc for aucs in found if (auc := aucs.get(name)) is not None]
        text = (
            f"mean AUC {fmean(values):.4f} over {len(values)} models"
            if values
            else "no AUC, a class is missing"
        )
        lines.append(f"{arm}, external test set {name}: {text}")
    return lines
