"""`featx embedding`: maps of the features behind runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.embedding_maps import EmbeddingSettings

from . import batch, flags
from .bars import progress

__all__ = ["embedding"]


@click.command(
    epilog=flags.example("featx embedding reports/runs --manifest lesions.csv -o reports/embedding")
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@flags.of(EmbeddingSettings)
@flags.CONFIG
@batch.recorded
def embedding(runs: tuple[Path, ...], **values: Any) -> None:
    """Map the features behind runs to two dimensions, and list label-noise candidates.

    For each arm of RUNS (run folders of train-svm, or folders that hold some): coordinates by UMAP or PCA, the nearest
    training images of mistakes, and images whose label neither their neighbours nor their out-of-fold decision value
    support. Prints the paths of the files; `featx report --embedding` shows them.
    """
    from featx.embedding_maps import embedding as work

    done = work(runs, **flags.given(values), progress=progress(), own_process=True)
    batch.results([done.output])
    for path in done.files:
        click.echo(str(path))
    for one in done.arms:
        batch.say(
            f"{one.arm}, {one.task}: {len(one.points)} images, {len(one.noise)} label-noise candidates; {one.method}"
        )
    for text in done.warnings:
        batch.say(f"warning: {text}")
