"""`featx saliency`: where in an image an SVM's evidence lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import batch, flags
from .bars import progress

__all__ = ["saliency"]


@click.command(
    epilog=flags.example("featx saliency reports/runs/frozen --manifest lesions.csv -o reports/saliency")
)
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--manifest", required=True, type=click.Path(path_type=Path), help="Manifest of the images.")
@flags.ROOT
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="ID",
    help="Id of an image to map; may be repeated.  [default: the most confident mistakes]",
)
@click.option("--layer", help="Layer of the network.  [default: the last feature map before the pooling]")
@click.option(
    "--weights",
    "-w",
    help="Weights source, as for `featx extract`.  [default: as recorded by the feature store in the cache]",
)
@flags.output("reports/saliency", "Folder for the images and saliency.json.")
@flags.CACHE
@flags.CONFIG
@batch.recorded
def saliency(runs: tuple[Path, ...], **values: Any) -> None:
    """Map which parts of an image raise the decision function value of the class that an SVM predicts.

    Grad-CAM of each of RUNS (run folders of train-svm, or folders that hold some), drawn over the images. Note who may
    see these images. Prints the paths of the images; `featx report --saliency` shows them.
    """
    from featx.saliency_maps import saliency as work

    done = work(runs, progress=progress(), **values)
    batch.results([done.output])
    for item in done.maps:
        click.echo(str(done.output / item.file))
    for text in done.warnings:
        batch.say(f"warning: {text}")
