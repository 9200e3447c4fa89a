"""`featx export`: a run as one model file for other software."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.deploy import ExportSettings

from . import batch, flags
from .bars import progress

__all__ = ["export"]


@click.command(epilog=flags.example("featx export reports/runs/frozen/melanoma-rest/final/all -o model.onnx"))
@click.argument("run", type=click.Path(path_type=Path))
@flags.of(ExportSettings)
@flags.CONFIG
@batch.recorded
def export(run: Path, **values: Any) -> None:
    """Export RUN as one model: network, scaling, SVM and calibration, as ONNX, OpenVINO or Keras.

    RUN is the folder of one run of train-svm or finalize. The model takes images that are already cropped and resized. It
    is compared with featx on images before it is kept. Prints the paths of the model and of its model card.
    """
    from featx.deploy import export_model

    done = export_model(run, progress=progress(), **flags.given(values))
    batch.results([done.path, done.card])
    click.echo(f"{done.path}\n{done.card}")
    for text in done.warnings:
        batch.say(f"warning: {text}")
    found = done.agreement
    batch.say(
        f"compared with featx on {found.images} {found.source}: largest difference of a decision value {found.scores:.1g}"
    )
