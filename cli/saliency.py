"""`featx saliency`: where in an image an SVM's evidence lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .bars import progress
from .flags import CACHE, CONFIG, ROOT, output

__all__ = ["saliency"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--manifest", required=True, type=click.Path(path_type=Path), help="Manifest with the image files."
)
@ROOT
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="ID",
    help="Map this image; may be repeated.  [default: the most confident mistakes]",
)
@click.option("--layer", help="Layer of the network to map.  [default: its last map before the pooling]")
@click.option("--weights", help="Weights of the network.  [default: as the feature store in the cache tells]")
@output("reports/saliency", "Folder for the pictures and saliency.json.")
@CACHE
@CONFIG
def saliency(runs: tuple[Path, ...], **given: Any) -> None:
    """Map what in an image speaks for the class that an SVM takes it for.

    Grad-CAM towards the decision value of each of RUNS (run folders of train-svm, or folders that hold some), as
    pictures over the images: mind who may see them. Prints the pictures' paths; `featx report --saliency` shows them.
    """
    from featx.saliency import saliency_maps

    done = saliency_maps(runs, progress=progress(), **given)
    for item in done.maps:
        click.echo(str(done.output / item.file))
    for text in done.warnings:
        click.echo(f"warning: {text}", err=True)
