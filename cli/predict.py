"""`featx predict`: scores of new images by trained runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.deploy import PredictSettings

from . import batch, flags
from .bars import progress

__all__ = ["predict"]


@click.command(
    epilog=flags.example(
        "featx predict reports/runs/frozen/melanoma-rest/final new_images -o predictions.csv"
    )
)
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, type=click.Path(path_type=Path))
@flags.of(PredictSettings)
@flags.CONFIG
@batch.recorded
def predict(run: Path, images: tuple[Path, ...], **values: Any) -> None:
    """Score new images with a trained SVM, or with the SVMs of several folds.

    RUN is a run folder of train-svm or finalize, or a folder that holds the folds of one arm, which are averaged. IMAGES
    is a folder of images, image files, or a manifest. Features are extracted by the recipe of the run into the cache.
    Writes a row for each image: decision value, probability where the run is calibrated, predicted class. Prints the path
    of the file. For research; not a medical device.
    """
    from featx.deploy import predict as work

    done = work(run, **flags.given({**values, "images": images}), progress=progress(), own_process=True)
    batch.results([done.output])
    click.echo(str(done.output))
    batch.say(
        f"{len(done.rows)} predictions by {done.models} {'run' if done.models == 1 else 'runs'}; predicted class: {done.rule}"
    )
    for text in done.warnings:
        batch.say(f"warning: {text}")
