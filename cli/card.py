"""`featx card`: the model card of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.deploy import CardSettings

from . import batch, flags

__all__ = ["card"]


@click.command(epilog=flags.example("featx card reports/runs/frozen -o card.html"))
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@flags.of(CardSettings)
@flags.CONFIG
@batch.recorded
def card(runs: tuple[Path, ...], **values: Any) -> None:
    """Write the model card of RUNS: data, recipe, intended use, thresholds, results and how sure they are.

    RUNS are the folds of one arm, or one final model: run folders, or folders that hold some. Prints the path of the card.
    """
    from featx.deploy import write_card

    path = write_card(runs, **flags.given(values))
    batch.results([path])
    click.echo(str(path))
