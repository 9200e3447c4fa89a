"""Figures: the only module that touches matplotlib.

Figures are drawn without pyplot, hence without a window system and without global state, in a palette that
colour-blind readers can tell apart (Okabe & Ito 2008), each arm with a dash pattern and marker of its own for
print without colour. Equal data give equal bytes in PNG, PDF and SVG: no dates, a fixed salt for SVG names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from featx.files import write_bytes
from featx.stats.auc import mean_roc, roc_curve

from .contents import slugs
from .summary import Measure, Series, Summary

__all__ = ["Drawing", "auc_dots", "drawings", "roc_folds", "roc_means", "save", "strata_dots", "svg"]

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2)))
_MARKERS = ("o", "s", "D", "^", "v", "P", "X")
_INK, _FAINT, _GRID, _PAPER = "#1d2228", "#5c6670", "#dfe3e8", "#ffffff"
# In the page these colours become CSS variables, so that figures follow light and dark.
_VARIABLES = {
    _INK: "--ink",
    _FAINT: "--faint",
    _GRID: "--grid",
    _PAPER: "--card",
    **{colour: f"--c{index}" for index, colour in enumerate(_COLOURS)},
}
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": _FAINT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "figure.constrained_layout.h_pad": 0.07,
    "figure.constrained_layout.w_pad": 0.07,
    "figure.facecolor": _PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.8,
    "path.simplify": True,
    "pdf.fonttype": 42,  # TrueType: slower to embed than type 3, which journals refuse
    "savefig.dpi": 200,
    "svg.fonttype": "none",
    "svg.hashsalt": "featx",
    "text.color": _INK,
    "xtick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.color": _FAINT,
    "ytick.labelcolor": _INK,
}
_UNDATED: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
    "svg": {"Date": None},
}


@dataclass(frozen=True)
class Drawing:
    """A figure with its words.

    Attributes
    ----------
    name : str
        File name without its ending.
    title, note : str
        Heading, and how to read it.
    alt : str
        What it shows, for those who cannot see it.
    figure : matplotlib.figure.Figure
        The drawing.
    """

    name: str
    title: str
    note: str
    alt: str
    figure: Figure


@contextmanager
def _styled() -> Iterator[None]:
    # On top of matplotlib's defaults: a user's own matplotlibrc must not change a report's bytes.
    with style.context(["default", _STYLE]):
        yield


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _look(summary: Summary, arm: str) -> dict[str, Any]:
    index = summary.arms.index(arm)
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _DASHES[index % len(_DASHES)]}


def _marker(summary: Summary, arm: str) -> str:
    return _MARKERS[summary.arms.index(arm) % len(_MARKERS)]


def _of(summary: Summary, setting: tuple[str, str]) -> list[Series]:
    return [series for series in summary.series if series.setting == setting]


def _curves(series: Series, scored: str) -> list[tuple[list[bool], list[float]]]:
    return [
        ([row.actual == scored for row in run.predictions], [row.scores[scored] for row in run.predictions])
        for run in series.runs
    ]


def _roc_axes(axes: Axes, title: str) -> None:
    axes.plot([0, 1], [0, 1], color=_FAINT, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_xlabel("False positive rate")
    axes.set_ylabel("True positive rate")
    axes.set_title(title)


def roc_means(summary: Summary, setting: tuple[str, str]) -> Figure:
    """Draw the mean ROC curve of every arm, with a band of one standard deviation over the folds.

    Parameters
    ----------
    summary : Summary
        What the report is made of.
    setting : tuple of (str, str)
        Task and protocol.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each scored class.
    """
    several = _of(summary, setting)
    scored = several[0].scored
    columns = min(len(scored), 3)
    rows = -(-len(scored) // columns)
    with _styled():
        side = 3.6 if columns < 3 else 2.8
        figure = _figure(side * columns + 1.9, side * rows)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, name in zip(panels, scored, strict=False):
            _roc_axes(axes, f"{name} against the rest" if len(scored) > 1 else f"Positive: {name}")
            for series in several:
                _mean_curve(axes, summary, series, name)
        for axes in panels[len(scored) :]:
            axes.set_axis_off()
        handles, names = panels[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside right upper", title="Arm", alignment="left")
    return figure


def _mean_curve(axes: Axes, summary: Summary, series: Series, scored: str) -> None:
    curve = mean_roc(_curves(series, scored), points=101)
    look = _look(summary, series.arm)
    if curve.folds > 1:
        low, high = np.clip(curve.mean - curve.sd, 0, 1), np.clip(curve.mean + curve.sd, 0, 1)
        axes.fill_between(curve.false_positive_rate, low, high, color=look["color"], alpha=0.13, linewidth=0)
    axes.plot(curve.false_positive_rate, curve.mean, label=series.arm, **look)


def roc_folds(summary: Summary, setting: tuple[str, str]) -> Figure:
    """Draw the ROC curve of every fold, thin, and their mean, thick.

    Parameters
    ----------
    summary : Summary
        What the report is made of.
    setting : tuple of (str, str)
        Task and protocol.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each arm and scored class; folds with one class only have no curve.
    """
    panels = [(series, name) for series in _of(summary, setting) for name in series.scored]
    wide = len(panels[0][0].scored)
    rows = -(-len(panels) // (wide if 1 < wide < 5 else 4))
    columns = -(-len(panels) // rows)
    with _styled():
        figure = _figure(2.35 * columns, 2.6 * rows)
        places = figure.subplots(rows, columns, squeeze=False).ravel()
        for place, (axes, (series, name)) in enumerate(zip(places, panels, strict=False)):
            _roc_axes(axes, f"{series.arm}\n{name}" if wide > 1 else series.arm)
            _outer(axes, left=place % columns == 0, bottom=place + columns >= len(panels))
            look = _look(summary, series.arm)
            for actual, scores in _curves(series, name):
                fold = roc_curve(actual, scores)
                rates = (fold.false_positive_rate, fold.true_positive_rate)
                axes.plot(*rates, color=look["color"], alpha=0.4, linewidth=0.8)
            mean = mean_roc(_curves(series, name), points=101)
            axes.plot(mean.false_positive_rate, mean.mean, color=_INK)
        for axes in places[len(panels) :]:
            axes.set_axis_off()
    return figure


def _outer(axes: Axes, *, left: bool, bottom: bool) -> None:
    """Keep labels on the outer panels only; a panel above an empty place is an outer one."""
    axes.tick_params(labelleft=left, labelbottom=bottom)
    if not left:
        axes.set_ylabel("")
    if not bottom:
        axes.set_xlabel("")


def auc_dots(summary: Summary) -> Figure:
    """Draw the AUC of every fold as a dot and of every arm as a mark with its interval.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each task, the best arm on top.
    """
    groups = [[item for item in summary.overall if item.series.setting == key] for key in summary.settings]
    titles = [_title(summary, key) for key in summary.settings]
    return _dots(summary, groups, titles, [[item.series.arm for item in group] for group in groups])


def strata_dots(summary: Summary, stratum: str, setting: tuple[str, str]) -> Figure:
    """Draw the AUC of every arm at each level of a stratum.

    Parameters
    ----------
    summary : Summary
        What the report is made of.
    stratum : str
        Column to break down by.
    setting : tuple of (str, str)
        Task and protocol.

    Returns
    -------
    matplotlib.figure.Figure
        A panel for each level.
    """
    chosen = [item for item in summary.strata if item.stratum == stratum and item.series.setting == setting]
    names = list(dict.fromkeys(item.level for item in chosen))
    groups = [[item for item in chosen if item.level == name] for name in names]
    titles = [f"{stratum}: {name}" for name in names]
    return _dots(summary, groups, titles, [[item.series.arm for item in group] for group in groups])


def _title(summary: Summary, setting: tuple[str, str]) -> str:
    alone = len({protocol for _, protocol in summary.settings}) == 1
    return setting[0] if alone else f"{setting[0]}, {setting[1]}"


def _dots(
    summary: Summary,
    groups: Sequence[Sequence[Measure]],
    titles: Sequence[str],
    names: Sequence[Sequence[str]],
) -> Figure:
    heights = [len(group) + 0.9 for group in groups]
    with _styled():
        figure = _figure(8.6, 0.36 * sum(heights) + 0.55)
        panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
        for axes, group, title, arms in zip(panels, groups, titles, names, strict=True):
            _dot_panel(axes, summary, group, arms)
            axes.set_title(title)
        panels[-1].set_xlabel("ROC AUC")
        low, high = _limits([value for group in groups for item in group for value in _reach(item)])
        panels[-1].set_xlim(low, high)
        for axes in panels:
            if low < 0.5 < high:
                axes.axvline(0.5, color=_FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
    return figure


def _reach(item: Measure) -> list[float]:
    total = item.spread
    return [value for value in (*item.auc, total.low, total.high) if np.isfinite(value)]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    room = max(0.08 * (max(values) - min(values)), 0.01)
    return max(min(values) - room, 0.0), min(max(values) + room, 1.0 + room)


def _dot_panel(axes: Axes, summary: Summary, group: Sequence[Measure], names: Sequence[str]) -> None:
    order = sorted(range(len(group)), key=lambda index: np.nan_to_num(group[index].spread.mean, nan=-1.0))
    for place, index in enumerate(order):
        item, total = group[index], group[index].spread
        colour, arm = _look(summary, item.series.arm)["color"], item.series.arm
        values = np.array(item.auc)
        # Dots of folds alternate around the row's lower line, so that equal values stay apart.
        offsets = place - 0.2 - 0.07 * (np.arange(len(values)) % 3 - 1)
        axes.plot(values, offsets, "o", color=colour, alpha=0.4, markersize=3.2, markeredgewidth=0)
        if np.isfinite(total.low):
            axes.plot([total.low, total.high], [place + 0.12] * 2, color=colour, linewidth=1.6)
        axes.plot(
            [total.mean],
            [place + 0.12],
            _marker(summary, arm),
            color=colour,
            markersize=6.5,
            markeredgecolor=_PAPER,
        )
        label = f"{total.mean:.3f}" if np.isfinite(total.mean) else "one class only"
        axes.annotate(label, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8.5)
    axes.set_yticks(range(len(group)), [names[index] for index in order])
    axes.set_ylim(-0.6, len(group) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def drawings(summary: Summary) -> tuple[Drawing, ...]:
    """Draw every figure of a report.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Drawing
        In the order of the page.
    """
    made = [
        Drawing(
            "auc",
            "AUC of every arm",
            "Small dots: folds. Large mark: their mean. Line: 95 % interval, corrected for folds that overlap; "
            "none where the folds do not allow one.",
            f"Dot plot of the AUC of {len(summary.arms)} arms; the table of AUCs holds the numbers.",
            auc_dots(summary),
        )
    ]
    for setting, slug in slugs(summary).items():
        title = _title(summary, setting)
        made += [
            Drawing(
                f"roc-{slug}",
                f"Mean ROC curves: {title}",
                "Curves averaged over the folds at equal specificity; the band is one standard deviation of the "
                "folds, no confidence band.",
                f"Mean ROC curves of the arms on {title}.",
                roc_means(summary, setting),
            ),
            Drawing(
                f"roc-folds-{slug}",
                f"ROC curves of every fold: {title}",
                "Thin: folds. Thick: their mean. A fold whose test part lacks a class has no curve.",
                f"ROC curves of every fold of the arms on {title}.",
                roc_folds(summary, setting),
            ),
        ]
        made += _strata_drawings(summary, setting, title, slug)
    return tuple(made)


def _strata_drawings(summary: Summary, setting: tuple[str, str], title: str, slug: str) -> list[Drawing]:
    columns = dict.fromkeys(item.stratum for item in summary.strata if item.series.setting == setting)
    return [
        Drawing(
            f"stratum-{place + 1}-{slug}",
            f"AUC by {column}: {title}",
            f"As above, over the test images of one value of {column} at a time.",
            f"Dot plot of the AUC of the arms on {title} by {column}.",
            strata_dots(summary, column, setting),
        )
        for place, column in enumerate(columns)
    ]


def _bytes(figure: Figure, kind: str) -> bytes:
    buffer = BytesIO()
    with _styled():
        # Laid out once: the three formats share the places, and layout is most of the time.
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(
            buffer,
            format=kind,
            metadata=_UNDATED[kind],
            transparent=kind == "svg",
        )
    return buffer.getvalue()


def save(drawing: Drawing, folder: Path | str) -> tuple[Path, ...]:
    """Write a figure as PNG (200 dots an inch) and PDF.

    Parameters
    ----------
    drawing : Drawing
        What to write.
    folder : Path or str
        Where to; made if need be.

    Returns
    -------
    tuple of Path
        The files.
    """
    written = []
    for kind in ("png", "pdf"):
        path = Path(folder) / f"{drawing.name}.{kind}"
        write_bytes(path, _bytes(drawing.figure, kind))
        written.append(path)
    return tuple(written)


def svg(drawing: Drawing) -> str:
    """Write a figure as an SVG element for a page.

    Parameters
    ----------
    drawing : Drawing
        What to write.

    Returns
    -------
    str
        An ``<svg>`` element whose colours are CSS variables and whose ids begin with the drawing's name, so
        that several fit on one page.
    """
    text = _bytes(drawing.figure, "svg").decode("utf-8")
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{drawing.name}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{drawing.name}-", text)
    text = re.sub(r": (#[0-9a-f]{6})\b", _variable, text)
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', _opening(drawing), text, count=1)


def _variable(match: re.Match[str]) -> str:
    colour = match.group(1)
    return f": var({_VARIABLES[colour]}, {colour})" if colour in _VARIABLES else match.group(0)


def _opening(drawing: Drawing) -> str:
    # One inch is as wide in every figure, so that letters have one size on the page.
    width = round(float(drawing.figure.get_figwidth()) * 108)
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return rf'<svg {spaces} viewBox="\g<1>" style="max-width: {width}px" aria-hidden="true" focusable="false" data-name="{drawing.name}">'
