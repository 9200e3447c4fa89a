"""`featx finetune`: retrain a network on the training set of each fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.finetuning import FinetuneSettings
from featx.jobs import ClusterOptions

from . import batch, flags
from .bars import progress

__all__ = ["finetune"]


@click.command(
    epilog=flags.example(
        "featx finetune lesions.csv -m resnet50 --task melanoma:rest --protocol 5x2 --arm tuned"
    )
)
@flags.MANIFEST
@flags.of(FinetuneSettings, leave=["name"])
@flags.of(ClusterOptions, leave=["parts"])
@flags.JSON
@flags.CONFIG
@batch.recorded
def finetune(manifest: Path, as_json: bool, **values: Any) -> None:
    """Fine-tune a network on the training set of each fold.

    Makes one run for each fold. `featx extract --weights RUN` takes a run, or the folder that holds the runs of all
    folds. With --protocol none the network is trained on all images, as for a source task. Finished folds are reused,
    and the same command resumes an interrupted training after its last whole epoch.

    Options that a training recipe holds, such as --epochs, replace the values of the recipe; the defaults shown are
    those of the recipe modern.
    """
    from featx.jobs import verb_on_cluster

    given, cluster = flags.parted(values, ClusterOptions)
    runs = verb_on_cluster(
        "finetune", manifest, {**given, "progress": progress(), "own_process": True}, cluster
    )
    batch.results(run.path for run in runs)
    if as_json:
        flags.print_json(
            [{"path": str(run.path), "fold": run.record.fold, **run.record.search} for run in runs]
        )
        return
    for run in runs:
        click.echo(run.path)
