"""`featx train-svm`: linear SVMs on stored features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from featx.options import options_of
from featx.svm import SvmSettings

from . import flags
from .bars import progress

if TYPE_CHECKING:
    from featx.runs import Run

__all__ = ["train_svm"]


CHOICES = {name: option.values for name, option in options_of(SvmSettings).items()}
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _choice(name: str, help_text: str, multiple: bool = False) -> Callable[[_Command], _Command]:
    flag = f"--{name.replace('_', '-')}"
    return click.option(flag, name, type=click.Choice(CHOICES[name]), multiple=multiple, help=help_text)


@click.command("train-svm")
@flags.MANIFEST
@click.option(
    "--features",
    "-f",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Feature store; repeat for stores of weights fine-tuned on each fold, or of alternatives.",
)
@flags.TASK
@flags.STRICT_LABELS
@flags.PROTOCOL
@click.option("--fold", "folds", multiple=True, help="Run this fold only; may be repeated.")
@click.option(
    "--preset",
    type=click.Choice(list(SvmSettings.presets)),
    default="default",
    show_default=True,
    help="Settings to start from; the options below win over it.",
)
@click.option(
    "--choose-features",
    is_flag=True,
    help="Stores that serve the same fold, such as layers, are alternatives.",
)
@_choice("loss", "Loss of the SVM.")
@_choice("bias", "Whether the bias counts in the norm.")
@_choice("class_weight", "Weight classes inversely to their size, or not.")
@_choice("scaling", "Scaling fitted on the training rows; repeat to search among several.", multiple=True)
@click.option("--costs", help="Values of C to try, comma separated.  [default: 0.001 to 10000 by tens]")
@_choice("inner", "Whether inner splits keep groups together.")
@click.option("--inner-splits", type=click.IntRange(min=1), help="Number of inner splits.  [default: 10]")
@click.option("--held-out", type=float, help="Share that an inner split holds out.  [default: 0.1]")
@_choice("rule", "C of the best mean AUC, or the smallest within one standard error of it.")
@click.option(
    "--widen/--no-widen", default=None, help="Extend the grid once where the best C is at its edge."
)
@click.option("--refine", type=click.IntRange(min=0), help="Further values of C on each side of the best.")
@click.option("--shared-cost/--own-cost", default=None, help="One C for all classes, or one for each.")
@_choice("views", "Average an image's views, or train on all and pool their scores.")
@_choice("pool", "How scores of views are pooled.")
@_choice("group_scores", "One score for each group instead of each image, pooled so.")
@_choice("calibrate", "Probabilities by a curve fitted inside the training part.")
@_choice("solver", "featx's solvers (auto), or scikit-learn's LinearSVC (liblinear) or SVC (libsvm).")
@click.option(
    "--missing",
    type=click.Choice(["fail", "leave-out"]),
    default="fail",
    show_default=True,
    help="What to do with images that have no features.",
)
@click.option("--arm", help="Name of the arm.  [default: backbone and weights]")
@flags.ROOT
@flags.output("reports/runs", "Folder of runs.")
@flags.CACHE
@flags.SEED
@flags.WORKERS
@flags.OVERWRITE
@flags.JSON
@flags.CONFIG
def train_svm(
    manifest: Path, costs: str | None, scaling: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Train and score a linear SVM on each fold, with C found inside its training part.

    Prints the folders of the runs; AUCs go to stderr. Finished runs with the same inputs are kept.
    """
    from featx.svm import run_auc
    from featx.svm import train_svm as train

    options = {name: value for name, value in given.items() if value not in (None, ())}
    options |= {"costs": _numbers(costs)} if costs is not None else {}
    options |= {"scaling": scaling} if scaling else {}
    runs = train(manifest, progress=progress(), **options)
    aucs = [run_auc(run) for run in runs]
    if as_json:
        flags.print_json([_record(run, auc) for run, auc in zip(runs, aucs, strict=True)])
    else:
        for run in runs:
            click.echo(str(run.path))
    click.echo(_summary(runs), err=True)


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"--costs takes numbers, comma separated; got {text!r}") from error


def _record(run: Any, auc: float) -> dict[str, Any]:
    return {
        "path": str(run.path),
        "fold": run.record.fold,
        "auc": None if auc != auc else auc,
        "C": {name: one["C"] for name, one in run.record.search["classes"].items()},
        "not_converged": run.record.convergence["not_converged"],
        "warnings": list(run.record.warnings),
    }


def _summary(runs: tuple[Run, ...]) -> str:
    from featx.reporting import collect, main_class, measure

    arm = runs[0].record.arm
    if not any(run.predictions for run in runs):
        return f"{arm}: no test images scored"
    (series,), _ = collect(run.path for run in runs)
    total = measure(series, main_class(series)).spread
    if series.pooled:
        return f"{arm}: AUC {total.mean:.4f} of the pooled decision values of {len(runs)} folds"
    spread = f" ± {total.sd:.4f}" if total.n > 1 else ""
    undefined = f", {total.undefined} without an AUC" if total.undefined else ""
    return f"{arm}: mean AUC {total.mean:.4f}{spread} over {total.n} folds{undefined}"
