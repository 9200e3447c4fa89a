"""`featx demo`: the whole line on drawn images."""

from __future__ import annotations

from pathlib import Path

import click

from . import options
from .progress import progress


@click.command()
@options.output("reports/demo", "Folder for weights, runs and the report.")
@options.CACHE
@options.SEED
def demo(output: Path, cache: Path, seed: int) -> None:
    """Run a small version of the paper on drawn images, in about three minutes.

    The images are drawn by featx, so the AUCs say how featx works and nothing about skin lesions. A second
    run reuses what is finished.
    """
    from featx.study.demo import demo as run_demo

    done = run_demo(output=output, cache=cache, seed=seed, progress=progress())
    click.echo(done.report.text)
    click.echo(f"Report: {done.report.html}")
