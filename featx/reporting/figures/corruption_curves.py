"""AUC against the severity of each corruption of the test images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featx.reporting.robustness_drops import ROBUSTNESS_NEED, CorruptionDrop, drops_of
from featx.reporting.summary import Summary

from .canvas import FAINT, MARK, NARROW, WIDE, folded, framed, look, marker, styled

__all__ = ["SEVERITY_CURVES", "severity_curves"]

# Inches of the panels beside a legend.
_PANELS = 7.6


def severity_curves(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure | None:
    """Draw the AUC of every arm against severity, a panel for each corruption; None without scores of corrupted images."""
    drops = [one for one in drops_of(summary) if one.clean.setting == setting]
    names = sorted({one.corruption for one in drops})
    if not names:
        return None
    arms = [arm for arm in summary.arms if any(one.clean.arm == arm for one in drops)]
    across = 2 if most <= NARROW else 4
    across = min(across, len(names))
    down = -(-len(names) // across)
    with styled():
        width = min(_PANELS * across / 4 + 0.6, most) if most > NARROW else most
        figure, where = framed(width, 1.75 * down + 0.5, arms, most)
        panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, name in zip(panels, names, strict=False):
            _panel(axes, summary, [one for one in drops if one.corruption == name], arms)
            axes.set_title(name, fontsize=9.5)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        for place, axes in enumerate(panels[: len(names)]):
            last = place + across >= len(names)
            axes.tick_params(labelbottom=last)
            axes.set_xlabel("Severity" if last else "")
            axes.set_ylabel("" if place % across else "ROC AUC")
        handles, labels = panels[0].get_legend_handles_labels()
        found = dict(zip(labels, handles, strict=True))
        figure.legend(found.values(), found.keys(), title="Arm", alignment="left", **where)
    return figure


def _panel(axes: Axes, summary: Summary, drops: list[CorruptionDrop], arms: list[str]) -> None:
    """Draw one corruption; the severities of arms that stand side by side are shifted."""
    axes.axhline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
    for place, arm in enumerate(arms):
        here = sorted((one for one in drops if one.clean.arm == arm), key=lambda one: one.severity)
        style, shift = look(summary, arm), 0.12 * (place - (len(arms) - 1) / 2)
        known = [one for one in here if np.isfinite(one.comparison.values).all()]
        if not known:
            axes.plot([], [], marker(summary, arm), label=folded(arm), **style)
            continue
        steps = [0, *(one.severity for one in known)]
        values = [known[0].comparison.values[1], *(one.comparison.values[0] for one in known)]
        for one in known:
            clean, found = one.comparison.values[1], one.comparison.finding
            reach = [clean + found.low, clean + found.high]
            axes.plot([one.severity + shift] * 2, reach, color=style["color"], linewidth=1.3, alpha=0.55)
        spots = {**MARK, "markersize": 4.2, "markeredgewidth": 0.5}
        axes.plot(
            [step + shift for step in steps],
            values,
            marker(summary, arm),
            label=folded(arm),
            **{**style, **spots},
        )
    axes.set_xticks(range(6))


# Name, title, caption, needs, text for screen readers and function, as `FigureEntry` has them.
SEVERITY_CURVES: tuple[str, str, str, str, str, Callable[..., Figure | None]] = (
    "robustness-{slug}",
    "AUC on corrupted test images: {task}",
    "Marker: mean AUC over the folds on their test images, from 0 (as they are) to severity 5. Vertical line: 95 % "
    "confidence interval of the paired difference, drawn at the AUC of the images as they are; not adjusted for the number of "
    "intervals. Dotted: 0.5.",
    ROBUSTNESS_NEED,
    "AUC of every arm on {task} against the severity of each corruption; the table of robustness has the numbers.",
    severity_curves,
)
