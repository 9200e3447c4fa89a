"""AUC against the cost of the network, and against the number of training images."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from featx.reporting.arm_facts import MEASURES, SizePoint, cost_of, network_of, size_points
from featx.reporting.summary import Measure, Summary
from featx.stats import FoldSummary

from .canvas import (
    MARK,
    NARROW,
    WIDE,
    folded,
    framed,
    letters,
    logarithmic,
    look,
    marker,
    short_number,
    styled,
)

__all__ = ["costs", "size_curves"]


# Ticks nearer than this fraction of the axis are left out.
_APART = 0.14


_MARGIN = 0.16


# Inches that the panels take beside a legend.
_PANELS = 6.2


def costs(summary: Summary, most: float = WIDE) -> Figure | None:
    """Draw mean AUC against extraction speed, multiply-adds and parameters, if the runs recorded them.

    Returns
    -------
    matplotlib.figure.Figure or None
        A row for each task, a panel for each measure in which arms differ; None where all arms have one network.
    """
    if len({network_of(series) for series in summary.series}) < 2:
        return None
    known = {(*series.setting, series.arm): cost_of(series) for series in summary.series}
    measures = [name for name in MEASURES if len({getattr(one, name) for one in known.values()} - {None}) > 1]
    if not measures:
        return None
    shape = (len(summary.settings), len(measures))
    with styled():
        figure, where, panels = _panels(shape, summary.arms, most)
        for line, setting in zip(panels, summary.settings, strict=True):
            items = summary.of_task(setting)
            for axes, measure in zip(line, measures, strict=True):
                for item in items:
                    if value := getattr(known[*setting, item.series.arm], measure):
                        _spots(axes, summary, item.series.arm, _aside(item, items), [value], [item.spread])
            line[0].set(title=_title(summary.heading(setting), most), ylabel="ROC AUC")
            _scale_y(line.tolist())
        for column, measure in enumerate(measures):
            _scale_x(panels[:, column].tolist())
            for axes in panels[:, column] if most <= NARROW else panels[-1:, column]:
                axes.set_xlabel(textwrap.fill(MEASURES[measure], 20 if most > NARROW else 40))
        _legend(figure, panels.ravel().tolist(), where)
    return figure


def _panels(
    shape: tuple[int, int], arms: Sequence[str], most: float
) -> tuple[Figure, dict[str, Any], NDArray[Any]]:
    """Lay out tasks in rows and measures in columns, on a narrow page in one column."""
    if most <= NARROW:
        figure, place = framed(most, 2.4 * shape[0] * shape[1], arms, most)
        return figure, place, figure.subplots(shape[0] * shape[1], 1, squeeze=False).reshape(shape)
    figure, place = framed(_PANELS, 2.7 * shape[0] + 0.2, arms, most)
    return figure, place, figure.subplots(*shape, squeeze=False, sharex="col", sharey="row")


def _title(text: str, most: float) -> str:
    return folded(text, letters(min(_PANELS, most) - 0.8, 10.5))


def _aside(item: Measure, items: Sequence[Measure]) -> float:
    """Compute the horizontal shift of an arm among those of the same network, in points."""
    alike = [one.series.arm for one in items if network_of(one.series) == network_of(item.series)]
    return _beside(alike.index(item.series.arm), len(alike))


def _beside(place: int, count: int) -> float:
    """Compute the horizontal shift of one of several markers at one place, in points."""
    return min(4.5, 26 / count) * (place - (count - 1) / 2)


def _spots(
    axes: Axes,
    summary: Summary,
    arm: str,
    points: float,
    values: Sequence[float],
    totals: Sequence[FoldSummary],
) -> None:
    """Draw an arm's means and intervals, shifted by some points so that markers do not overlap."""
    colour = look(summary, arm)["color"]
    aside = axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)
    for value, total in zip(values, totals, strict=True):
        reach = [total.low, total.high]
        axes.plot([value] * 2, reach, color=colour, linewidth=1.6, alpha=0.6, transform=aside)
    how = look(summary, arm) if len(values) > 1 else {"color": colour}
    means = [total.mean for total in totals]
    axes.plot(values, means, marker(summary, arm), label=folded(arm), transform=aside, **{**how, **MARK})


def _events(curves: Iterable[Sequence[SizePoint]]) -> dict[float, int]:
    """Map sizes of training sets to their number of positive images, where all arms agree."""
    found: dict[float, set[int | None]] = {}
    for point in (point for several in curves for point in several):
        found.setdefault(float(point.images), set()).add(point.events)
    pairs = ((size, events.pop()) for size, events in found.items() if len(events) == 1)
    return {size: events for size, events in pairs if events is not None}


def _scale_x(panels: Sequence[Axes], below: Mapping[float, int] | None = None) -> None:
    """Make the x axis logarithmic, with ticks at the values drawn if there is room, and numbers in brackets below."""

    def label(value: float, place: int | None) -> str:
        more = (below or {}).get(value)
        return short_number(value) if more is None else f"{short_number(value)}\n({short_number(more)})"

    values = sorted(
        {float(x) for axes in panels for line in axes.lines for x in np.asarray(line.get_xdata())}
    )
    width = np.log(values[-1] / values[0]) if len(values) > 1 else 1.0
    kept: list[float] = []
    for value in values:
        if not kept or np.log(value / kept[-1]) >= _APART * width:
            kept.append(value)
    room = np.exp(_MARGIN * width)
    for axes in panels:
        logarithmic(axes, label)
        # matplotlib ignores shifted lines when it sets limits.
        axes.set_xlim(values[0] / room, values[-1] * room)
        axes.xaxis.set_major_locator(FixedLocator(kept))


def _scale_y(panels: Sequence[Axes]) -> None:
    heights = [float(y) for axes in panels for line in axes.lines for y in np.asarray(line.get_ydata())]
    known = [value for value in heights if np.isfinite(value)] or [0.0, 1.0]
    room = max(0.06 * (max(known) - min(known)), 0.01)
    for axes in panels:
        axes.set_ylim(min(known) - room, max(known) + room)


def _legend(figure: Figure, panels: Sequence[Axes], place: dict[str, Any]) -> None:
    handles = {
        name: handle
        for axes in panels
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), title="Arm", alignment="left", **place)


def size_curves(summary: Summary, most: float = WIDE) -> Figure | None:
    """Draw AUC against the number of training images, if arms were trained on several sizes.

    Returns
    -------
    matplotlib.figure.Figure or None
        A panel for each task, a line for each arm; None where every arm was trained on one size.
    """
    found = size_points(summary.series)
    if not found:
        return None
    tasks = list(dict.fromkeys(task for task, _ in found))
    with styled():
        figure, where = framed(min(_PANELS, most), 3.0 * len(tasks), summary.arms, most)
        panels = figure.subplots(len(tasks), 1, squeeze=False, sharex=True).ravel()
        for axes, task in zip(panels, tasks, strict=True):
            lines = {arm: several for (other, arm), several in found.items() if other == task}
            for place, (arm, several) in enumerate(lines.items()):
                sizes, totals = zip(*((point.images, point.total) for point in several), strict=True)
                _spots(axes, summary, arm, _beside(place, len(lines)), sizes, totals)
            axes.set(title=_title(task, most), ylabel="ROC AUC")
            _scale_y([axes])
        _scale_x(panels.tolist(), _events(found.values()) if len(tasks) == 1 else {})
        panels[-1].set_xlabel("Training images" + " (of the positive class)" * (len(tasks) == 1))
        _legend(figure, panels.tolist(), where)
    return figure
