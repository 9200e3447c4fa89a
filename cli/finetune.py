"""`featx finetune`: retrain a network on the training part of each fold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from featx.finetuning import RECIPES, TrainingRecipe
from featx.options import FoldOptions, ImageOptions

from . import flags
from .bars import progress

__all__ = ["finetune"]

# A recipe's name is given by --recipe; the others are flags as they are called.
_FIELDS = [item for item in dataclasses.fields(TrainingRecipe) if item.name != "name"]
_SHORT = {"batch_size": ["-b"]}


def _flag(item: dataclasses.Field[Any]) -> Callable[[Any], Any]:
    """Make a flag of a recipe's field; without a default, so that the recipe's own value stands."""
    name, rules = "--" + item.name.replace("_", "-"), item.metadata
    if rules["type"] is bool:
        return click.option(f"{name}/--no-{name[2:]}", default=None, help=rules["help"])
    kinds = {int: click.INT, float: click.FLOAT, tuple: flags.Numbers(), str: click.STRING}
    kind = click.Choice(rules["choices"]) if rules.get("choices") else kinds[rules["type"]]
    return click.option(name, *_SHORT.get(item.name, []), type=kind, help=rules["help"])


def _recipe_flags(command: Any) -> Any:
    for item in reversed(_FIELDS):
        command = _flag(item)(command)
    return command


@click.command(
    epilog=flags.example(
        "featx finetune lesions.csv -m resnet50 --task melanoma:rest --protocol 5x2 --arm tuned"
    )
)
@flags.MANIFEST
@click.option("--backbone", "-m", required=True, help="Pre-trained network of the zoo.")
@click.option(
    "--weights",
    "-w",
    default="imagenet",
    show_default=True,
    help="Weights source: random[:SEED], imagenet, preset, a weights file, a fine-tuning run, or a folder of such runs "
    "(a network for each fold).",
)
@flags.of(FoldOptions)
@click.option(
    "--recipe",
    help=f"Training recipe: {', '.join(RECIPES)}, or a TOML file.  [default: modern; scratch for random weights]",
)
@click.option(
    "--head",
    type=click.Choice(["svm", "softmax"]),
    default="svm",
    show_default=True,
    help="softmax: also score the test sets with the network's own head, for comparison with SVMs.",
)
@click.option(
    "--scores",
    type=click.Path(path_type=Path),
    default=Path("reports/softmax"),
    show_default=True,
    help="Folder of the runs of --head softmax.",
)
@click.option("--arm", help="Name of the arm.  [default: backbone, weights and recipe]")
@flags.output("reports/finetuned", "Folder of runs: OUTPUT/ARM/TASK/PROTOCOL/FOLD.")
@flags.of(ImageOptions)
@click.option(
    "--memory",
    type=click.FloatRange(min=0),
    default=4.0,
    show_default=True,
    help="Memory for decoded images in GiB; images beyond it are decoded in every epoch.",
)
@click.option(
    "--tensorboard",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Also write the metrics of every epoch for TensorBoard, to DIR/ARM/TASK/PROTOCOL/FOLD.",
)
@flags.DRY_RUN
@flags.JSON
@flags.CONFIG
@_recipe_flags
def finetune(manifest: Path, memory: float, as_json: bool, **values: Any) -> None:
    """Fine-tune a network on the training set of each fold.

    Makes one run for each fold. `featx extract --weights RUN` takes a run, or the folder that holds the runs of all
    folds. With --protocol none the network is trained on all images, as for a source task. Finished folds are reused,
    and the same command resumes an interrupted training after its last whole epoch.

    The options from --epochs on replace values of the recipe.
    """
    from featx.finetuning import finetune as work

    runs = work(manifest, memory_gib=memory, progress=progress(), **flags.given(values))
    if as_json:
        flags.print_json(
            [{"path": str(run.path), "fold": run.record.fold, **run.record.search} for run in runs]
        )
        return
    for run in runs:
        click.echo(run.path)
