"""Embedding maps as figures for print: a panel for each arm, coloured by class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from featx.reporting.summary import Summary

from .canvas import INK, NARROW, WIDE, folded, framed, letters, styled, swatch

__all__ = ["EMBEDDING_MAP", "embedding_panels"]

# Inches of a panel.
_PANEL = 3.1


def embedding_panels(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure | None:
    """Draw the maps of a task's arms; None without maps."""
    found = [(series, one) for series, one in summary.maps if series.setting == setting]
    if not found:
        return None
    classes = list(found[0][0].classes)
    across = 1 if most <= NARROW else min(2, len(found))
    down = -(-len(found) // across)
    with styled():
        width = min(_PANEL * across, most) if most > NARROW else most
        figure, where = framed(width, _PANEL * down, [*classes, "predicted wrongly"], most)
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (series, one) in zip(panels, found, strict=False):
            spots = np.array([(point.x, point.y) for point in one.points])
            for place, name in enumerate(classes):
                here = np.array([point.actual == name for point in one.points])
                axes.scatter(
                    *spots[here].T,
                    s=7,
                    color=swatch(place),
                    linewidths=0,
                    label=folded(name),
                    rasterized=True,
                )
            wrong = np.array([point.value < 0 for point in one.points])
            axes.scatter(
                *spots[wrong].T,
                s=13,
                facecolors="none",
                edgecolors=INK,
                linewidths=0.5,
                label="predicted wrongly",
                rasterized=True,
            )
            axes.set_title(folded(series.arm, letters(_PANEL, 10.5)))
            axes.set(xticks=[], yticks=[], aspect="equal")
        for axes in panels[len(found) :]:
            axes.set_axis_off()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, title="Class", alignment="left", **where)
    return figure


# Name, title, caption, needs, text for screen readers and function, as `FigureEntry` has them.
EMBEDDING_MAP: tuple[str, str, str, str, str, Callable[..., Figure | None]] = (
    "embedding-{slug}",
    "Embedding map: {task}",
    "Features as the SVM of the first fold sees them, in two dimensions. Each point is an image; ringed images are predicted "
    "wrongly by SVMs that were not trained on them. Distances are distorted: the table of neighbours has them in all "
    "dimensions.",
    "`featx report --embedding`",
    "Map of the features of every arm on {task}, coloured by class; the tables of neighbours and of label noise have the "
    "numbers.",
    embedding_panels,
)
