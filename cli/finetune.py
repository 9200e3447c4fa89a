"""`featx finetune`: retrain a network on the training part of each fold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from featx.finetuning import RECIPES, TrainingRecipe
from featx.options import option_of

from .bars import progress
from .flags import (
    CACHE,
    CONFIG,
    DRY_RUN,
    JSON,
    MANIFEST,
    OVERWRITE,
    PROTOCOL,
    ROOT,
    SEED,
    STRICT_LABELS,
    TASK,
    WORKERS,
    output,
    print_json,
)

__all__ = ["finetune"]

# A recipe's name is given by --recipe; the others are flags as they are called.
_FIELDS = [item for item in dataclasses.fields(TrainingRecipe) if item.name != "name"]


class _Numbers(click.ParamType[tuple[float, ...]]):
    """Numbers joined by commas."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn text, or a list of a configuration file, into numbers."""
        try:
            return tuple(float(number) for number in (value.split(",") if isinstance(value, str) else value))
        except (TypeError, ValueError):
            self.fail(f"{value!r} is no list of numbers such as 1,3", param, ctx)


def _flag(item: dataclasses.Field[Any]) -> Callable[[Any], Any]:
    """Make a flag of a recipe's field; without a default, so that the recipe's own value stands."""
    name, option = "--" + item.name.replace("_", "-"), option_of(item)
    if option.kind is bool:
        return click.option(f"{name}/--no-{name[2:]}", default=None, help=option.help)
    kinds: dict[Any, Any] = {int: click.INT, float: click.FLOAT, str: click.STRING}
    kind = _Numbers() if option.many else click.Choice(option.values) if option.values else kinds[option.kind]
    return click.option(name, *([option.short] if option.short else []), type=kind, help=option.help)


def _recipe_flags(command: Any) -> Any:
    for item in reversed(_FIELDS):
        command = _flag(item)(command)
    return command


@click.command()
@MANIFEST
@click.option("--backbone", required=True, help="Network; `featx zoo list` names them.")
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    help="random, random:SEED, imagenet, preset, a file, a fine-tuning run, or a folder of one run for each fold.",
)
@TASK
@STRICT_LABELS
@PROTOCOL
@click.option("--fold", multiple=True, help="Train this fold only; may be given several times.")
@click.option(
    "--recipe",
    help=f"{', '.join(RECIPES)}, or a TOML file.  [default: modern; scratch where the weights are random]",
)
@click.option(
    "--head",
    type=click.Choice(["svm", "softmax"]),
    default="svm",
    show_default=True,
    help="softmax: also score the test parts by the network's own head, for comparison with SVMs.",
)
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    default=Path("reports/softmax"),
    show_default=True,
    help="Folder of the runs that --head softmax makes.",
)
@click.option("--arm", help="Name of the row in the study's table.  [default: backbone, weights and recipe]")
@output("reports/finetuned", "Folder of the runs: OUTPUT/ARM/TASK/PROTOCOL/FOLD.")
@CACHE
@ROOT
@SEED
@WORKERS
@click.option(
    "--memory",
    type=click.FloatRange(min=0),
    default=4.0,
    show_default=True,
    help="GiB of prepared images to keep in memory; more are decoded in every epoch.",
)
@click.option(
    "--tensorboard",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Also write every epoch's numbers for TensorBoard, to DIR/ARM/TASK/PROTOCOL/FOLD.",
)
@OVERWRITE
@DRY_RUN
@JSON
@CONFIG
@_recipe_flags
def finetune(manifest: Path, fold: tuple[str, ...], memory: float, as_json: bool, **given: Any) -> None:
    """Fine-tune a network on the training part of each fold.

    One run for each fold, usable as `extract --weights RUN`; the folder that holds the runs of all folds is
    usable as a whole. With --protocol none the network is trained on all images, as for a source task.
    Finished folds are reused; after an interruption the same command goes on after the last whole epoch.

    The options from --epochs on replace fields of the recipe.
    """
    from featx.finetuning import finetune as work

    names = {item.name for item in _FIELDS}
    fields = {name: value for name, value in given.items() if name in names and value is not None}
    options = {name: value for name, value in given.items() if name not in names}
    runs = work(manifest, folds=fold, memory_gib=memory, progress=progress(), **options, **fields)
    if as_json:
        print_json([{"path": str(run.path), "fold": run.record.fold, **run.record.search} for run in runs])
        return
    for run in runs:
        click.echo(run.path)
