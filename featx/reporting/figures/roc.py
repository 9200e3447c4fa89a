"""Figures of curves: ROC, precision-recall, score histograms, search for C, learning curves."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from featx.reporting.arm_facts import history, searches_of, trainings
from featx.reporting.series import Series
from featx.reporting.summary import Summary
from featx.stats import mean_roc, precision_recall_curve, roc_curve

from .canvas import (
    FAINT,
    INK,
    NARROW,
    PAPER,
    WIDE,
    blank,
    folded,
    framed,
    letters,
    logarithmic,
    look,
    styled,
)
from .panels import BELOW, SMALL, of_setting, outer_labels, panel_grid, unit_axes

__all__ = [
    "learning_curves",
    "precision_recall",
    "roc_folds",
    "roc_means",
    "score_histograms",
    "search_curves",
]


def _curves(series: Series, scored: str) -> list[tuple[list[bool], list[float]]]:
    return [
        ([row.actual == scored for row in rows], [row.scores[scored] for row in rows])
        for rows in series.parts
    ]


def _roc_axes(axes: Axes, title: str) -> None:
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)))
    unit_axes(axes)
    axes.set_xlabel("False-positive rate")
    axes.set_ylabel("True-positive rate")
    axes.set_title(title)


def roc_means(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure:
    """Draw the mean ROC curve of every arm, with a band of one standard deviation over the folds."""
    with styled():
        figure, place, panels = _classes(of_setting(summary, setting), most)
        for axes, name in panels:
            _roc_axes(axes, axes.get_title(loc="left"))
            for series in of_setting(summary, setting):
                _mean_curve(axes, summary, series, name)
        _legend(figure, panels[0][0], place)
    return figure


def _classes(several: list[Series], most: float) -> tuple[Figure, dict[str, Any], list[tuple[Axes, str]]]:
    """Lay out a square panel for each scored class, with room for a legend of the arms."""
    scored = several[0].scored
    columns = min(len(scored), 3, int(most // SMALL))
    rows = -(-len(scored) // columns)
    side = min(3.6 if columns < 3 else 2.5, most / columns)
    titles = [f"{name} against the rest" if len(scored) > 1 else f"Positive: {name}" for name in scored]
    titles = [folded(title, letters(side - 0.75, 10.5), 3) for title in titles]
    height = side + 0.17 * max(len(title.splitlines()) - 1 for title in titles)
    figure, place = framed(side * columns, height * rows, [one.arm for one in several], most)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(scored) :]:
        axes.set_axis_off()
    for axes, title in zip(panels, titles, strict=False):
        axes.set_title(title)
    return figure, place, list(zip(panels, scored, strict=False))


def _legend(figure: Figure, axes: Axes, place: dict[str, Any]) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, title="Arm", alignment="left", **place)


def _mean_curve(axes: Axes, summary: Summary, series: Series, scored: str) -> None:
    curve = mean_roc(_curves(series, scored), points=101)
    how = look(summary, series.arm)
    if curve.folds > 1:
        low, high = np.clip(curve.mean - curve.sd, 0, 1), np.clip(curve.mean + curve.sd, 0, 1)
        axes.fill_between(curve.false_positive_rate, low, high, color=how["color"], alpha=0.13, linewidth=0)
    axes.plot(curve.false_positive_rate, curve.mean, label=folded(series.arm), **how)


def roc_folds(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure:
    """Draw the ROC curve of every fold, thin, and their mean, thick.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each arm and scored class; folds with one class only have no curve.
    """
    with styled():
        figure, panels = panel_grid(of_setting(summary, setting), 2.6, most)
        for axes, series, name, outer in panels:
            _roc_axes(axes, axes.get_title(loc="left"))
            outer_labels(axes, *outer)
            how = look(summary, series.arm)
            for actual, scores in _curves(series, name):
                fold = roc_curve(actual, scores)
                rates = (fold.false_positive_rate, fold.true_positive_rate)
                axes.plot(*rates, color=how["color"], alpha=0.4, linewidth=0.8)
            mean = mean_roc(_curves(series, name), points=101)
            axes.plot(mean.false_positive_rate, mean.mean, color=INK)
    return figure


def precision_recall(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure:
    """Draw the mean precision-recall curve of every arm, with the prevalence as chance level.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each scored class. Precision is averaged over the folds at equal recall; the area under the
        mean curve is the mean average precision, but for the grid's coarseness.
    """
    grid = np.linspace(0, 1, 201)[1:]
    with styled():
        figure, place, panels = _classes(of_setting(summary, setting), most)
        for axes, name in panels:
            unit_axes(axes)
            axes.set_xlabel("Recall (true positive rate)")
            axes.set_ylabel("Precision")
            for series in of_setting(summary, setting):
                folds = [fold for fold in _curves(series, name) if any(fold[0]) and not all(fold[0])]
                steps = [precision_recall_curve(*fold) for fold in folds]
                heights = [one.precision[np.searchsorted(one.recall, grid - 1e-12)] for one in steps]
                if heights:
                    axes.plot(
                        grid, np.mean(heights, axis=0), label=folded(series.arm), **look(summary, series.arm)
                    )
            share = np.mean([np.mean(actual) for actual, _ in _curves(of_setting(summary, setting)[0], name)])
            axes.axhline(share, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)))
        _legend(figure, panels[0][0], place)
    return figure


def score_histograms(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure:
    """Draw histograms of the scores of positives and of all others.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each arm and scored class, over the test sets of all folds; the bars of each class sum to 1.
    """
    with styled():
        figure, panels = panel_grid(of_setting(summary, setting), 2.3, most, below=0.35)
        for axes, series, name, outer in panels:
            rows = [row for run in series.runs for row in run.predictions]
            scores = np.array([row.scores[name] for row in rows])
            actual = np.array([row.actual == name for row in rows])
            bins = np.histogram_bin_edges(scores, bins=24)
            for group, label, colour, line in (
                (~actual, "others", "#0072b2", "-"),
                (actual, folded(name, 24) if len(series.scored) == 1 else "this class", "#d55e00", "--"),
            ):
                shares = np.histogram(scores[group], bins)[0] / max(group.sum(), 1)
                axes.stairs(shares, bins, fill=True, color=colour, alpha=0.15, linewidth=0)
                axes.stairs(shares, bins, color=colour, linestyle=line, linewidth=1.3, label=label)
            axes.axvline(0, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)))
            axes.set_ylabel("Fraction of the class" if outer[0] else "")
            axes.set_xlabel("Decision value" if outer[1] else "")
        figure.legend(*panels[0][0].get_legend_handles_labels(), **BELOW)
    return figure


def search_curves(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure | None:
    """Draw the inner AUC over the grid of C, the choice of each fold, and choices at the grid boundary.

    Returns
    -------
    matplotlib.figure.Figure or None
        A panel for each arm and scored class; None where C was not searched for.
    """
    several = [
        one for one in of_setting(summary, setting) if all(searches_of(run.record) for run in one.runs)
    ]
    if not several:
        return None
    with styled():
        figure, panels = panel_grid(several, 2.3, most)
        for axes, series, name, outer in panels:
            colour = look(summary, series.arm)["color"]
            for found in (
                one for run in series.runs for one in searches_of(run.record) if one.scored == name
            ):
                axes.plot(found.grid, found.auc, color=colour, alpha=0.45, linewidth=1)
                height = found.auc[found.grid.index(found.chosen)]
                axes.plot([found.chosen], [height], "o", color=colour, markersize=4.5, markeredgecolor=PAPER)
                if found.edge:
                    axes.plot([found.chosen], [height], "o", markersize=9, markerfacecolor="none", color=INK)
            logarithmic(axes, "{x:g}")
            axes.set_ylabel("Inner AUC" if outer[0] else "")
            axes.set_xlabel("C" if outer[1] else "")
    return figure


def learning_curves(summary: Summary, most: float = WIDE) -> Figure | None:
    """Draw loss and validation AUC of fine-tuning over the epochs."""
    every = {
        f"{name}: {task}": [rows for run in runs if (rows := history(run))]
        for (name, task), runs in trainings(summary.training).items()
    }
    arms = {title: folds for title, folds in every.items() if folds}
    if not arms:
        return None
    with styled():
        columns = 2 if most > NARROW else 1
        width = min(3.8 * columns, most)
        figure = blank(width, 5.0 / columns * len(arms) + 0.35)
        panels = figure.subplots(2 * len(arms) // columns, columns, squeeze=False).reshape(len(arms), 2)
        for (left, right), (title, folds) in zip(panels, arms.items(), strict=True):
            for rows in folds:
                _learning(left, right, rows)
            left.set(title=folded(title, letters(width - 0.8, 10.5)), xlabel="Epoch", ylabel="Loss")
            right.set(xlabel="Epoch", ylabel="Validation AUC")
            for axes in (left, right):
                axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        figure.legend(*panels[0][0].get_legend_handles_labels(), **BELOW)
    return figure


def _learning(left: Axes, right: Axes, rows: tuple[dict[str, float], ...]) -> None:
    epochs = [row["epoch"] for row in rows]
    first = not left.lines
    for name, colour, line in (("loss", "#0072b2", "-"), ("validation_loss", "#d55e00", "--")):
        label = {"loss": "training", "validation_loss": "validation"}[name] if first else None
        values = [row[name] for row in rows]
        left.plot(epochs, values, color=colour, linestyle=line, linewidth=1, alpha=0.7, label=label)
    right.plot(epochs, [row["validation_auc"] for row in rows], color="#d55e00", linewidth=1, alpha=0.7)
    # The weights of the last epoch marked as best were kept.
    kept = [row for row in rows if row["best"] == 1]
    if kept:
        where: dict[str, Any] = {"marker": "o", "color": INK, "markersize": 4, "linestyle": "none"}
        left.plot(
            [kept[-1]["epoch"]], [kept[-1]["validation_loss"]], label="kept" if first else None, **where
        )
        right.plot([kept[-1]["epoch"]], [kept[-1]["validation_auc"]], **where)
