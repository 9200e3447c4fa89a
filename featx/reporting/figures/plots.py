"""The figures of a report, with their titles and how to read them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from matplotlib.figure import Figure

from featx.reporting.figures.canvas import NARROW, WIDE, ReportFigure
from featx.reporting.figures.dots import auc_dots, best_arm, difference_dots, rank_dots, strata_dots
from featx.reporting.figures.roc import (
    learning_curves,
    precision_recall,
    reliability_diagrams,
    roc_folds,
    roc_means,
    score_histograms,
    search_curves,
)
from featx.reporting.figures.trends import costs, training_sizes
from featx.reporting.sections.labels import heading, slugs
from featx.reporting.summary import Summary

__all__ = ["drawings"]


_Draw = Callable[[float], Figure | None]


# Name, title, how to read it, what it shows. Of figures that a task has, {} is the task.
_NOTES: dict[str, tuple[str, str, str]] = {
    "auc": (
        "AUC of every arm",
        "Small dots: folds. Large mark: their mean. Line: 95 % interval, corrected for folds that overlap; none "
        "where the folds do not allow one. Folds without an AUC of their own that were pooled have one mark.",
        "Dot plot of the AUC of every arm; the table of AUCs holds the numbers.",
    ),
    "cost": (
        "AUC against cost",
        "Mark: mean AUC over the folds. Line: its 95 % interval. Parameters and multiply-adds up to the feature layer; "
        "images a second as the features were extracted, comparable only where measured on the same machine. Arms of one "
        "cost stand side by side.",
        "Mean AUC of every arm against what its network costs; the table of backbones holds the numbers.",
    ),
    "training-sizes": (
        "AUC against training-set size",
        "Mark: mean AUC over the folds of this size. Upright line: its 95 % interval. Different protocols test "
        "different parts.",
        "Mean AUC of every arm against the number of images that trained it; the table by training-set size holds "
        "the numbers.",
    ),
    "differences": (
        "Differences to the best arm: {}",
        "Small dots: folds that both have. Large mark: mean difference. Line: its simultaneous 95 % interval, corrected "
        "for folds that overlap and for the number of pairs, as p is.",
        "Dot plot of the differences in AUC of every other arm to the best on {}; the table of pairs holds the numbers.",
    ),
    "ranks": (
        "Mean ranks: {}",
        "Folds of one data set share images, so there is no test of these ranks and no critical difference; the table of "
        "pairs tests.",
        "Mean ranks of the arms over the folds on {}.",
    ),
    "roc": (
        "Mean ROC curves: {}",
        "Averaged over the folds at equal false positive rate; the band is one standard deviation of the folds, no "
        "confidence band.",
        "Mean ROC curves of the arms on {}.",
    ),
    "roc-folds": (
        "ROC curves of every fold: {}",
        "Thin: folds. Thick: their mean. A fold whose test part lacks a class has no curve.",
        "ROC curves of every fold of the arms on {}.",
    ),
    "precision-recall": (
        "Mean precision-recall curves: {}",
        "Averaged over the folds at equal recall. Dotted: the share of positives, which chance reaches.",
        "Mean precision-recall curves of the arms on {}.",
    ),
    "scores": (
        "Scores: {}",
        "Decision values of the test images of all folds, each class to its own total. Dotted: the SVM's threshold.",
        "Histograms of the decision values of positives and others for every arm on {}.",
    ),
    "calibration": (
        "Calibration: {}",
        "Dots: test images of all folds in ten bins of probability, with 95 % intervals (Wilson's, where an image that is "
        "tested several times, or a group, counts once). Dark line: smoothed without bins (loess). On the diagonal, "
        "probabilities are right.",
        "Calibration curves of the calibrated arms on {}; the table of calibration holds the numbers.",
    ),
    "search": (
        "Search for C: {}",
        "Lines: inner AUC of each fold. Dots: the C taken. Ringed: taken at an edge of the grid.",
        "Inner AUC against C for every arm on {}; the table of choices holds the numbers.",
    ),
    "learning": (
        "Learning curves of fine-tuning",
        "A line a fold. Dot: the epoch whose weights were kept.",
        "Loss and validation AUC of fine-tuning over the epochs.",
    ),
}


def drawings(summary: Summary) -> tuple[ReportFigure, ...]:
    """Draw every figure of a report."""
    whole: dict[str, _Draw] = {
        "auc": partial(auc_dots, summary),
        "cost": partial(costs, summary),
        "training-sizes": partial(training_sizes, summary),
    }
    made = [_drawing(name, draw) for name, draw in whole.items()]
    for setting, slug in slugs(summary).items():
        made += _of_task(summary, setting, slug)
    made.append(_drawing("learning", partial(learning_curves, summary)))
    return tuple(drawing for drawing in made if drawing)


def _drawing(name: str, draw: _Draw, slug: str = "", task: str = "") -> ReportFigure | None:
    title, note, alt = (text.replace("{}", task) for text in _NOTES[name])
    return _drawn(f"{name}-{slug}" if slug else name, title, note, alt, draw)


def _drawn(name: str, title: str, note: str, alt: str, draw: _Draw) -> ReportFigure | None:
    """Draw a figure for wide and for narrow pages; None where there is nothing to draw."""
    wide = draw(WIDE)
    narrow = draw(NARROW) if wide else None
    return ReportFigure(name, title, note, alt, wide, narrow) if wide and narrow else None


def _of_task(summary: Summary, setting: tuple[str, str], slug: str) -> list[ReportFigure | None]:
    task = heading(summary, setting)
    figures: dict[str, Callable[..., Figure | None]] = {
        "roc": roc_means,
        "roc-folds": roc_folds,
        "precision-recall": precision_recall,
        "scores": score_histograms,
        "calibration": reliability_diagrams,
        "search": search_curves,
    }
    if best_arm(summary, setting):
        figures["differences"] = difference_dots
        if summary.comparisons[setting].ranking:
            figures["ranks"] = rank_dots
    made = [_drawing(name, partial(draw, summary, setting), slug, task) for name, draw in figures.items()]
    columns = dict.fromkeys(item.stratum for item in summary.strata if item.series.setting == setting)
    return made + [
        _drawn(
            f"stratum-{place + 1}-{slug}",
            f"AUC by {column}: {task}",
            f"As the AUC of every arm, over the test images of one value of {column} at a time.",
            f"Dot plot of the AUC of the arms on {task} by {column}.",
            partial(strata_dots, summary, column, setting),
        )
        for place, column in enumerate(columns)
    ]
