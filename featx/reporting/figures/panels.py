"""Panels that several figures share: a grid with one for each arm and class, axes from 0 to 1, a legend below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featx.reporting.series import Series
from featx.reporting.summary import Summary

from .canvas import WIDE, blank, folded, letters

__all__ = ["BELOW", "SMALL", "Panel", "of_setting", "outer_labels", "panel_grid", "unit_axes"]


# Inches below which a panel has no room for its ticks.
SMALL = 1.75


# A short legend on one line.
BELOW: dict[str, Any] = {"loc": "outside lower left", "ncols": 3, "columnspacing": 1.2, "handlelength": 1.8}


def of_setting(summary: Summary, setting: tuple[str, str]) -> list[Series]:
    """List the series of a task."""
    return [series for series in summary.series if series.setting == setting]


def unit_axes(axes: Axes) -> None:
    """Make both axes run from 0 to 1."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ticks = {0: "0", 0.25: "", 0.5: "0.5", 0.75: "", 1: "1"}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.set_yticks(list(ticks), list(ticks.values()))


Panel = tuple[Axes, Series, str, tuple[bool, bool]]


def panel_grid(
    several: Sequence[Series],
    height: float,
    most: float = WIDE,
    below: float = 0.0,
    names: Sequence[str] = (),
    note: Callable[[Series, str], str] | None = None,
) -> tuple[Figure, list[Panel]]:
    """Lay out a titled panel for each arm and scored class; tell which are at the left and at the bottom.

    `names` has the titles of the series, where they are not those of their arms; `note` gives a last line of each title.
    """
    arms = names or [series.arm for series in several]
    pairs = [(series, arm, name) for series, arm in zip(several, arms, strict=True) for name in series.scored]
    wide = len(several[0].scored)
    rows = -(-len(pairs) // min(wide if 1 < wide < 5 else 4, int(most // SMALL)))
    columns = -(-len(pairs) // rows)
    width = min(2.35 if columns > 1 else 3.6, most / columns)
    titles = [_panel_title(arm, series, name, letters(width - 0.8)) for series, arm, name in pairs]
    if note is not None:
        titles = [
            f"{title}\n{note(series, name)}" for title, (series, _, name) in zip(titles, pairs, strict=True)
        ]
    deep = 0.15 * max(len(title.splitlines()) for title in titles)
    figure = blank(width * columns, (min(height, width + 0.45) + deep) * rows + below)
    places = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in places[len(pairs) :]:
        axes.set_axis_off()
    for axes, title in zip(places, titles, strict=False):
        axes.set_title(title, fontsize=9)
    return figure, [
        (places[index], series, name, (index % columns == 0, index + columns >= len(pairs)))
        for index, (series, _, name) in enumerate(pairs)
    ]


def _panel_title(arm: str, series: Series, name: str, width: int) -> str:
    title = folded(arm, width, 3)
    return f"{title}\n{folded(name, width)}" if len(series.scored) > 1 else title


def outer_labels(axes: Axes, left: bool, bottom: bool) -> None:
    """Keep labels on the outer panels only; a panel above an empty place is an outer one."""
    axes.tick_params(labelleft=left, labelbottom=bottom)
    if not left:
        axes.set_ylabel("")
    if not bottom:
        axes.set_xlabel("")
