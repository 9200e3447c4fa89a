"""`featx demo`: the whole line on drawn images."""

from __future__ import annotations

from pathlib import Path

import click

from . import flags
from .bars import progress
from .study import tell


@click.command()
@flags.output("reports/demo", "The study's folder: weights, runs and the report.")
@flags.CACHE
@flags.SEED
def demo(output: Path, cache: Path, seed: int) -> int:
    """Run a small version of the paper on drawn images, in about three minutes.

    It is the shipped study `demo`. The images are drawn by featx, so the AUCs say how featx works and nothing
    about skin lesions. A second run reuses what is finished, and a run that was stopped goes on.
    """
    from featx.study import run_demo

    outcome = run_demo(output=output, cache=cache, seed=seed, progress=progress())
    for report in outcome.reports:
        click.echo(report.table)
        for finding in report.findings:
            click.echo(finding)
        click.echo(f"Report: {report.folder / 'report.html'}")
    return tell(outcome)
