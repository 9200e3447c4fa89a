"""Figures of AUC against a quantity: what a network costs, and how many images trained the arm."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator

from .costs import MEASURES, cost_of
from .drawing import MARK, blank, folded, look, marker, styled
from .names import heading
from .sizes import Point, points
from .summary import Measure, Summary

__all__ = ["cost_measures", "costs", "training_sizes"]


def cost_measures(summary: Summary) -> tuple[str, ...]:
    """Name the costs in which the series differ.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of str
        Names of `featx.reporting.costs.MEASURES`, images a second first.
    """
    known = [cost_of(series) for series in summary.series]
    return tuple(name for name in MEASURES if len({getattr(one, name) for one in known} - {None}) > 1)


def costs(summary: Summary) -> Figure | None:
    """Draw mean AUC against images a second, multiply-adds and parameters, as far as the runs tell them.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    matplotlib.figure.Figure or None
        A row for each task, a panel for each measure; None where no measure differs between series.
    """
    measures = cost_measures(summary)
    if not measures:
        return None
    rows = len(summary.settings)
    with styled():
        figure = blank(8.6, 2.7 * rows + 0.2)
        panels = figure.subplots(rows, len(measures), squeeze=False, sharex="col", sharey="row")
        for line, setting in zip(panels, summary.settings, strict=True):
            for axes, measure in zip(line, measures, strict=True):
                for item in summary.overall:
                    value = getattr(cost_of(item.series), measure)
                    if item.series.setting == setting and value:
                        _point(axes, summary, item, value)
                _logarithmic(axes)
            line[0].set(title=heading(summary, setting), ylabel="ROC AUC")
        for axes, measure in zip(panels[-1], measures, strict=True):
            axes.set_xlabel(MEASURES[measure])
        _legend(figure, panels.ravel().tolist())
    return figure


def _point(axes: Axes, summary: Summary, item: Measure, value: float) -> None:
    arm, total = item.series.arm, item.spread
    colour = look(summary, arm)["color"]
    axes.plot([value] * 2, [total.low, total.high], color=colour, linewidth=1.6, alpha=0.6)
    axes.plot([value], [total.mean], marker(summary, arm), color=colour, label=folded(arm), **MARK)


def _logarithmic(axes: Axes) -> None:
    """Make the x axis logarithmic, with short numbers (20k, 4G) between the decades too where there are few."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    handles = {
        name: handle
        for axes in panels
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", title="Arm", alignment="left")


def training_sizes(summary: Summary) -> Figure | None:
    """Draw AUC against the number of training images, where arms were trained on parts of different sizes.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    matplotlib.figure.Figure or None
        A panel for each task, a line for each arm; None where every arm was trained on one size alone.
    """
    found = points(summary)
    if not found:
        return None
    tasks = list(dict.fromkeys(task for task, _ in found))
    with styled():
        figure = blank(8.6, 3.0 * len(tasks))
        panels = figure.subplots(len(tasks), 1, squeeze=False, sharex=True).ravel()
        for axes, task in zip(panels, tasks, strict=True):
            for (other, arm), several in found.items():
                if other == task:
                    _line(axes, summary, arm, several)
            _logarithmic(axes)
            axes.set(title=task, ylabel="ROC AUC")
        panels[-1].set_xlabel("Training images")
        _legend(figure, panels.tolist())
    return figure


def _line(axes: Axes, summary: Summary, arm: str, several: Sequence[Point]) -> None:
    sizes = [point.images for point in several]
    how, means = look(summary, arm), [point.total.mean for point in several]
    axes.plot(sizes, means, marker(summary, arm), label=folded(arm), **how, **MARK)
    for point in several:
        reach = [point.total.low, point.total.high]
        axes.plot([point.images] * 2, reach, color=how["color"], linewidth=1.6, alpha=0.6)
