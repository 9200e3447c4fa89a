"""`featx finetune`: retrain a network on the training set of each fold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.finetuning import FinetuneSettings

from . import flags
from .bars import progress

__all__ = ["finetune"]


@click.command(
    epilog=flags.example(
        "featx finetune lesions.csv -m resnet50 --task melanoma:rest --protocol 5x2 --arm tuned"
    )
)
@flags.MANIFEST
@flags.of(FinetuneSettings, leave=["name"])
@flags.JSON
@flags.CONFIG
def finetune(manifest: Path, as_json: bool, **values: Any) -> None:
    """Fine-tune a network on the training set of each fold.

    Makes one run for each fold. `featx extract --weights RUN` takes a run, or the folder that holds the runs of all
    folds. With --protocol none the network is trained on all images, as for a source task. Finished folds are reused,
    and the same command resumes an interrupted training after its last whole epoch.

    Options that a training recipe holds, such as --epochs, replace the values of the recipe; the defaults shown are
    those of the recipe modern.
    """
    from featx.finetuning import finetune as work

    runs = work(manifest, progress=progress(), own_process=True, **flags.given(values))
    if as_json:
        flags.print_json(
            [{"path": str(run.path), "fold": run.record.fold, **run.record.search} for run in runs]
        )
        return
    for run in runs:
        click.echo(run.path)
