"""AUC of many results against the cost of their networks: one panel for each data set and task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from .canvas import (
    NARROW,
    PAPER,
    ReportFigure,
    blank,
    folded,
    logarithmic,
    series_look,
    short_number,
    styled,
)

__all__ = ["cost_scatter"]

_ACROSS, _PANEL = 3, (3.1, 2.7)


def cost_scatter(points: Mapping[str, Sequence[tuple[str, float, float]]], label: str) -> ReportFigure:
    """Draw AUC against a cost.

    Parameters
    ----------
    points : mapping of str to sequence of (str, float, float)
        For each panel, by its title: name of the network, cost, AUC.
    label : str
        Of the cost's axis.

    Returns
    -------
    ReportFigure
        Wide, and in one column for narrow pages.
    """
    return ReportFigure(
        "auc-against-cost",
        "AUC against cost",
        f"Mean AUC of each arm against {label[0].lower()}{label[1:]}, for each data set and task. Higher is better; of two arms "
        "with one AUC, the one further to the left costs less. Colours and markers name the network. Intervals are in the table.",
        f"Scatter plots of AUC against {label[0].lower()}{label[1:]} for {', '.join(points)}.",
        partial(_drawn, points, label),
    )


def _drawn(points: Mapping[str, Sequence[tuple[str, float, float]]], label: str, most: float) -> Figure:
    names = list(dict.fromkeys(name for several in points.values() for name, _, _ in several))
    across = min(_ACROSS if most > NARROW else 1, len(points))
    down = -(-len(points) // across)
    with styled():
        figure = blank(
            min(_PANEL[0] * across + 0.4, most), _PANEL[1] * down + 0.24 * len(names) / across + 0.3
        )
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (title, several) in zip(panels, points.items(), strict=False):
            for name, cost, auc in several:
                how = series_look(names.index(name))
                axes.plot(
                    [cost], [auc], linestyle="none", markersize=7, markeredgecolor=PAPER, label=name, **how
                )
            axes.set(title=folded(title, 34), xlabel=label, ylabel="ROC AUC")
            logarithmic(axes, lambda value, place: short_number(value))
        for axes in panels[len(points) :]:
            axes.set_visible(False)
        handles: dict[str, Any] = {}
        for axes in panels[: len(points)]:
            handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        figure.legend(
            handles.values(),
            handles.keys(),
            loc="outside lower left",
            ncols=across,
            title="Network",
            alignment="left",
        )
    return figure
