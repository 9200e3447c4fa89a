"""Figures of predicted probabilities: calibration, distribution by class, decision curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featx.reporting.series import Series
from featx.reporting.summary import Summary
from featx.stats import decision_curve, reliability, smooth_calibration_curve

from .canvas import FAINT, INK, WIDE, folded, look, styled
from .panels import BELOW, of_setting, outer_labels, panel_grid, unit_axes

__all__ = ["EXTERNAL_RELIABILITY", "RISK_FIGURES", "reliability_diagrams"]


@dataclass(frozen=True)
class _Tested:
    """A calibrated arm on its internal test sets or on an external one, with the title of its panels."""

    series: Series
    title: str


def _inside(summary: Summary, setting: tuple[str, str]) -> list[_Tested]:
    return [_Tested(one, one.arm) for one in of_setting(summary, setting) if one.calibrated]


def _outside(summary: Summary, setting: tuple[str, str]) -> list[_Tested]:
    return [
        _Tested(one.tested, f"{one.internal.arm}, external: {one.name}")
        for one in summary.external
        if one.internal.setting == setting and one.tested.calibrated
    ]


_Draw = Callable[[Axes, Summary, Series, str], None]


def _drawn(
    summary: Summary,
    several: list[_Tested],
    most: float,
    draw: _Draw,
    labels: tuple[str, str],
    *,
    square: bool = False,
    legend: bool = False,
) -> Figure | None:
    """Draw a panel for each tested arm and scored class, with the names of both axes; None without any."""
    if not several:
        return None
    with styled():
        figure, panels = panel_grid(
            [one.series for one in several],
            2.6 if square else 2.3,
            most,
            below=0.35 * legend,
            names=[one.title for one in several],
            note=_size,
        )
        for axes, series, name, (left, bottom) in panels:
            draw(axes, summary, series, name)
            axes.set_xlabel(labels[0] if bottom else "")
            axes.set_ylabel(labels[1] if left else "")
            if square:
                unit_axes(axes)
                outer_labels(axes, left, bottom)
        if legend:
            figure.legend(*panels[0][0].get_legend_handles_labels(), **BELOW)
    return figure


def _size(series: Series, name: str) -> str:
    """Count the positive images and all; an image that several folds test counts once."""
    actual, _, images, _ = series.probabilities(name)
    return f"{len(np.unique(images[actual]))} of {len(np.unique(images))} positive"


_CALIBRATED = ("Predicted probability", "Fraction of positives")


def reliability_diagrams(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure | None:
    """Draw the fraction of positives against the predicted probability.

    Returns
    -------
    matplotlib.figure.Figure or None
        A panel for each arm and scored class over the test sets of all folds, with ten bins and a smooth curve; None if
        no arm is calibrated.
    """
    return _drawn(summary, _inside(summary, setting), most, _reliability, _CALIBRATED, square=True)


def external_reliability(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure | None:
    """Draw the same as `reliability_diagrams` on each external test set."""
    return _drawn(summary, _outside(summary, setting), most, _reliability, _CALIBRATED, square=True)


def _reliability(axes: Axes, summary: Summary, series: Series, name: str) -> None:
    actual, values, images, groups = series.probabilities(name)
    found = reliability(actual, values, images=images, groups=groups)
    colour = look(summary, series.arm)["color"]
    # Wilson's bounds at 0 and 1 may have a rounding error.
    reach = np.maximum((found.observed - found.low, found.high - found.observed), 0)
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.errorbar(found.predicted, found.observed, reach, color=colour, fmt="o", markersize=4, linewidth=1.2)
    axes.plot(*smooth_calibration_curve(actual, values), color=INK, linewidth=1.1)


def risk_histograms(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure | None:
    """Draw the distribution of the predicted probability by class.

    Returns
    -------
    matplotlib.figure.Figure or None
        A panel for each calibrated arm, scored class and test set, internal ones first; the bars of each class sum to 1.
    """
    several = [*_inside(summary, setting), *_outside(summary, setting)]
    return _drawn(
        summary, several, most, _risks, ("Predicted probability", "Fraction of the class"), legend=True
    )


def _risks(axes: Axes, summary: Summary, series: Series, name: str) -> None:
    actual, values, _, _ = series.probabilities(name)
    bins = np.linspace(0, 1, 21)
    for group, label, colour, line in (
        (~actual, "others", "#0072b2", "-"),
        (actual, folded(name, 24) if len(series.scored) == 1 else "this class", "#d55e00", "--"),
    ):
        shares = np.histogram(values[group], bins)[0] / max(group.sum(), 1)
        axes.stairs(shares, bins, fill=True, color=colour, alpha=0.15, linewidth=0)
        axes.stairs(shares, bins, color=colour, linestyle=line, linewidth=1.3, label=label)
    axes.set_xlim(-0.01, 1.01)


def decision_curves(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure | None:
    """Draw net benefit over threshold probabilities, beside that of treating all and of treating none.

    Returns
    -------
    matplotlib.figure.Figure or None
        A panel for each calibrated arm, scored class and test set, internal ones first.
    """
    several = [*_inside(summary, setting), *_outside(summary, setting)]
    return _drawn(
        summary,
        several,
        most,
        _decisions,
        ("Threshold probability", "Net benefit"),
        square=False,
        legend=True,
    )


def _decisions(axes: Axes, summary: Summary, series: Series, name: str) -> None:
    actual, values, _, groups = series.probabilities(name)
    curve = decision_curve(actual, values, groups=groups)
    colour = look(summary, series.arm)["color"]
    worth, low, high = np.array(curve.model).T
    everyone = np.array([one.value for one in curve.treat_all])
    top = max(curve.prevalence, 0.02)
    axes.fill_between(curve.thresholds, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(curve.thresholds, worth, color=colour, label="model")
    axes.plot(curve.thresholds, everyone, color=INK, linewidth=1, linestyle=(0, (5, 1.5)), label="treat all")
    axes.axhline(0, color=INK, linewidth=1, linestyle=(0, (1.5, 1.2)), label="treat none")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.3 * top, 1.15 * top))


# Name, title, caption, needs, text for screen readers and function of each figure, as `FigureEntry` has them.
EXTERNAL_RELIABILITY = (
    "external-calibration-{slug}",
    "Calibration on external test sets: {task}",
    "As the figure of calibration, on the external images. The calibration curves are fitted on the training set of each "
    "fold; nothing is adjusted to the external set. An image that several models score counts once.",
    "`featx train-svm --test --calibrate`",
    "Calibration curves of the calibrated arms on the external test sets of {task}; the table of internal and external "
    "calibration has the numbers.",
    external_reliability,
)
RISK_FIGURES = (
    (
        "net-benefit-{slug}",
        "Decision curves: {task}",
        "Net benefit over threshold probabilities, all folds together, on internal and external test sets. Band: pointwise 95 % "
        "confidence interval by group, absent if fewer than five groups have a true or a false positive. Dashed: treat all. "
        "Dotted: treat none. A model helps at a threshold probability if its curve is above both.",
        "`featx train-svm --calibrate`",
        "Decision curves of the calibrated arms on {task}; the table of net benefit has the numbers.",
        decision_curves,
    ),
    (
        "probabilities-{slug}",
        "Predicted probabilities by class: {task}",
        "Calibrated probability of the test images of all folds, on internal and external test sets; the bars of each class "
        "sum to 1.",
        "`featx train-svm --calibrate`",
        "Histograms of the predicted probability of positives and others for the calibrated arms on {task}; the table of "
        "predicted probabilities has the numbers.",
        risk_histograms,
    ),
)
