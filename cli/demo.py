"""`featx demo`: a whole study on synthetic images."""

from __future__ import annotations

from pathlib import Path

import click

from . import batch, flags
from .bars import progress
from .study import tell


@click.command(epilog=flags.example("featx demo -o reports/demo"))
@flags.output("reports/demo", "The study's folder: weights, runs and the report.")
@flags.CACHE
@flags.SEED
@batch.recorded
def demo(output: Path, cache: Path, seed: int) -> int:
    """Run a small version of the paper on synthetic images, in about three minutes.

    This is the shipped study `demo`. The images are synthetic: the AUCs show how featx works, and nothing about skin
    lesions. Finished jobs are reused, and the same command resumes an interrupted run.
    """
    from featx.study import run_demo

    outcome = run_demo(output=output, cache=cache, seed=seed, progress=progress())
    for report in outcome.reports:
        click.echo(report.table)
        for finding in report.findings:
            click.echo(finding)
        click.echo(f"Report: {report.folder / 'report.html'}")
    return tell(outcome)
