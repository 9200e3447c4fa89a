"""`featx robustness`: what runs lose on corrupted test images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.stress_tests import RobustnessSettings

from . import batch, flags
from .bars import progress

__all__ = ["robustness"]


@click.command(
    epilog=flags.example(
        "featx robustness reports/runs/frozen --manifest lesions.csv --corruption hair --corruption blur"
    )
)
@click.argument("run", type=click.Path(path_type=Path))
@flags.of(RobustnessSettings)
@flags.CONFIG
@batch.recorded
def robustness(run: Path, **values: Any) -> None:
    """Score corrupted test images with trained SVMs, and print what the AUC loses.

    RUN is a run folder of train-svm, or a folder that holds the folds of one arm. Test images are corrupted at stated
    severities (blur, noise, brightness, darkness, contrast, JPEG, colour shift, vignette, dark corners, hair, ruler marks,
    ink), and their features extracted by the recipe of the run into a temporary store. Scores go into the run's folder,
    where `featx report` finds them. Finished ones are not computed again.
    """
    from featx.stress_tests import robustness as work

    done = work(run, **flags.given(values), progress=progress(), own_process=True)
    batch.results(sorted({path.parent for path in done.folders}))
    click.echo(done.text)
    batch.say(f"{done.computed} folds x corruptions x severities scored, {done.reused} finished before")
