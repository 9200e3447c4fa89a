"""Style of the figures, and how they are written: SVG, PDF and PNG, equal bytes for equal data.

Figures are drawn without pyplot, so without a window system and global state, in a palette for colour-blind readers
(Okabe & Ito 2008). Each arm has its own dash pattern and marker for print without colour. No dates are written, and
ids inside SVG have a fixed salt.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from itertools import starmap
from typing import TYPE_CHECKING, Any

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, StrMethodFormatter

from featx.machine import usable_cores

if TYPE_CHECKING:
    # Processes that draw import this module only: statistics take longer to import than matplotlib.
    from featx.reporting.summary import Summary

__all__ = [
    "FAINT",
    "INK",
    "MARK",
    "NARROW",
    "PAPER",
    "WIDE",
    "ReportFigure",
    "blank",
    "draw_all",
    "folded",
    "framed",
    "letters",
    "logarithmic",
    "look",
    "marker",
    "markup",
    "series_look",
    "short_number",
    "styled",
    "svg",
    "swatch",
]


_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b6b6b")


_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2)))


# One more than there are colours, so that colour and marker together differ for many arms.
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")


# Largest width of a figure in inches: on paper and wide screens, and on a telephone.
WIDE, NARROW = 10.0, 3.6

INK, FAINT, _GRID, PAPER = "#1d2228", "#5c6670", "#dfe3e8", "#ffffff"


MARK: Mapping[str, Any] = {"markersize": 6.5, "markeredgecolor": PAPER}


# In the page these colours become CSS variables, so that figures follow light and dark.
_VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    _GRID: "--grid",
    PAPER: "--card",
    **{colour: f"--c{index}" for index, colour in enumerate(_COLOURS)},
}


_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titley": 1.0,  # none has ticks above it, for which matplotlib would measure all ticks again
    "axes.unicode_minus": False,  # one font a figure: embedding fonts takes most of a PDF's time
    "figure.constrained_layout.h_pad": 0.07,
    "figure.constrained_layout.w_pad": 0.07,
    "figure.facecolor": PAPER,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.8,
    "path.simplify": True,
    "pdf.fonttype": 42,  # TrueType: slower to embed than type 3, which journals refuse
    "svg.fonttype": "none",
    "svg.hashsalt": "featx",
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
}


_UNDATED: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
    "svg": {"Date": None},
}


_DOTS = 200

# With fewer figures, processes take longer to start than they save.
_MANY = 40


@dataclass(frozen=True)
class ReportFigure:
    """A figure with its title and caption.

    Attributes
    ----------
    name : str
        File name without its ending.
    title, note : str
        Title and caption.
    alt : str
        Text for screen readers.
    draw : callable
        Takes the largest width in inches, and makes the figure; None without data.
    markup : str
        Figures for wide and for narrow pages as SVG elements, if they have been written already.
    """

    name: str
    title: str
    note: str
    alt: str
    draw: Callable[[float], Figure | None]
    markup: str = ""

    @cached_property
    def figure(self) -> Figure | None:
        """The figure, no wider than `WIDE`; None without data."""
        return self.draw(WIDE)

    @cached_property
    def narrow(self) -> Figure | None:
        """The same, no wider than `NARROW`."""
        return self.draw(NARROW)


@contextmanager
def styled() -> Iterator[None]:
    """Use matplotlib's defaults with the report's style; draw and write figures inside this context."""
    # Without the defaults a user's own matplotlibrc would change a report's bytes.
    with style.context(["default", _STYLE]):
        yield


def blank(width: float, height: float) -> Figure:
    """Make a figure without a window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def framed(width: float, height: float, names: Sequence[str], most: float) -> tuple[Figure, dict[str, Any]]:
    """Make a figure with room for a legend: on the right if the page is wide enough, else below."""
    lines = [line for name in names for line in folded(name).splitlines()]
    broad = 0.085 * max(map(len, lines)) + 0.7
    deep = 0.165 * len(lines) + 0.06 * len(names) + 0.45
    if width + broad <= most:
        return blank(width + broad, max(height, deep)), {"loc": "outside right upper"}
    return blank(width, height + deep), {"loc": "outside lower left"}


def letters(inches: float, size: float = 9.0) -> int:
    """Estimate how many letters fit on a line.

    Examples
    --------
    >>> letters(2.0), letters(2.0, 10.5)
    (26, 22)
    """
    return max(int(inches / (0.0085 * size)), 8)


def logarithmic(axes: Axes, form: str | Callable[[float, int | None], str]) -> None:
    """Make the x axis logarithmic, with plain numbers at the decades, written by a format or a function."""
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter(form) if isinstance(form, str) else FuncFormatter(form))


def short_number(value: float) -> str:
    """Write a quantity in three digits.

    Examples
    --------
    >>> short_number(2_257_984), short_number(38.46), short_number(360), short_number(15_346_630_656)
    ('2.26M', '38.5', '360', '15.3G')
    """
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= unit:
            return f"{value / (1e3 if letter == 'k' else unit):.3g}{letter}"
    return f"{value:.4g}" if value >= 1000 else f"{value:.3g}"


def folded(name: str, width: int = 28, lines: int = 2) -> str:
    """Break a long name into a few lines.

    Examples
    --------
    >>> folded("ImageNet, then fine-tuned on the atlas", 24).splitlines()
    ['ImageNet, then fine-', 'tuned on the atlas']
    """
    return "\n".join(textwrap.wrap(name, width, max_lines=lines, placeholder=" …")) or name


def look(summary: Summary, arm: str) -> dict[str, Any]:
    """Choose the colour and dashes of an arm: the same in every figure of a report."""
    index = summary.arms.index(arm)
    return {"color": _COLOURS[index % len(_COLOURS)], "linestyle": _DASHES[index % len(_DASHES)]}


def swatch(place: int) -> str:
    """Choose the colour of a class by its place, as the page does."""
    return _COLOURS[place % len(_COLOURS)]


def marker(summary: Summary, arm: str) -> str:
    """Choose the marker of an arm."""
    return _MARKERS[summary.arms.index(arm) % len(_MARKERS)]


def series_look(number: int) -> dict[str, str]:
    """Choose colour and marker of the n-th of many series, without a report."""
    return {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[number % len(_MARKERS)]}


def _bytes(figure: Figure, kind: str) -> bytes:
    buffer = BytesIO()
    with styled():
        _lay_out(figure)
        # Not by Figure.savefig, which draws once more where there ever was a layout engine.
        figure.set(dpi=_DOTS if kind == "png" else 72, facecolor="none" if kind == "svg" else PAPER)
        canvas = _canvas(figure, kind)
        getattr(canvas, f"print_{kind}")(buffer, metadata=_UNDATED[kind])
    return buffer.getvalue()


def _canvas(figure: Figure, kind: str) -> Any:
    if kind == "svg":
        return FigureCanvasSVG(figure)
    if kind == "png":
        return FigureCanvasAgg(figure)
    from matplotlib.backends import backend_pdf  # imports much, and is rarely asked for

    return backend_pdf.FigureCanvasPdf(figure)


def _lay_out(figure: Figure) -> None:
    """Find the places of all panels, once for all formats: it takes longer than drawing."""
    if (engine := figure.get_layout_engine()) is None:
        return
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        if not axis.get_label_text():
            axis.set_label_coords(0, 0)  # else all ticks are measured for the place of a label that is empty
    for axes in figure.axes:
        for spine in axes.spines.values():
            spine.set_in_layout(False)  # lies on the edge of the axes
    engine.execute(figure)
    figure.set_layout_engine("none")
    # The solver behind the layout orders by memory addresses, which changes last bits, and with them ids in SVG.
    for axes in figure.axes:
        axes.set_position(tuple(round(edge, 9) for edge in axes.get_position().bounds))


_Drawn = tuple[dict[str, bytes], str]
_Job = tuple[ReportFigure, Figure | None, Figure | None, Sequence[str]]


@contextmanager
def draw_all(
    drawings: Sequence[ReportFigure], formats: Sequence[str], workers: int | None = None
) -> Iterator[Iterator[tuple[dict[str, bytes], ReportFigure] | None]]:
    """Draw figures, many of them in processes that begin at once; the bytes do not depend on their number.

    What nobody waits for at the end of the body is not begun.

    Parameters
    ----------
    drawings : sequence of ReportFigure
        The figures.
    formats : sequence of str
        ``"svg"``, ``"pdf"`` or ``"png"`` (200 dots an inch).
    workers : int, optional
        Number of processes. Default: one for each core.

    Yields
    ------
    iterator
        For each figure the content of its files by format, and the figure with its ``markup``; None without data.
    """
    from joblib import effective_n_jobs  # 1 where a process may not start others

    count = workers or usable_cores()
    # Figures are made here: what they are made from is too much to send.
    jobs = [(replace(one, draw=_no_figure), one.draw(WIDE), one.draw(NARROW), formats) for one in drawings]
    few = sum(figure is not None for _, figure, _, _ in jobs) < _MANY or effective_n_jobs(count) == 1
    with nullcontext(starmap(_drawn, jobs)) if few else _in_processes(jobs, count) as made:
        yield (
            None if drawn is None else (drawn[0], replace(one, markup=drawn[1]))
            for one, drawn in zip(drawings, made, strict=True)
        )


@contextmanager
def _in_processes(jobs: Sequence[_Job], count: int) -> Iterator[Iterator[_Drawn | None]]:
    # joblib.Parallel would warn of each figure that an error in the body made useless, and kill its processes.
    from joblib.externals.loky import get_reusable_executor

    executor = get_reusable_executor(max_workers=count)
    futures = [executor.submit(_drawn, *job) for job in jobs]
    try:
        yield (future.result() for future in futures)
    finally:
        for future in futures:
            future.cancel()


def _no_figure(width: float) -> Figure | None:
    return None


def _drawn(
    drawing: ReportFigure, figure: Figure | None, narrow: Figure | None, formats: Sequence[str]
) -> _Drawn | None:
    if figure is None or narrow is None:
        return None
    for one in (figure, narrow):
        FigureCanvasAgg(one)  # one that comes from another process has lost it, and it decides the layout
    text = _bytes(figure, "svg")
    files = {kind: text if kind == "svg" else _bytes(figure, kind) for kind in formats}
    small = _element(drawing, narrow, _bytes(narrow, "svg"), True)
    return files, _element(drawing, figure, text, False) + small


def markup(drawing: ReportFigure) -> str:
    """Write a figure as SVG elements for wide and for narrow pages, if that has not been done."""
    return drawing.markup or svg(drawing) + svg(drawing, narrow=True)


def svg(drawing: ReportFigure, *, narrow: bool = False) -> str:
    """Write a figure that has data as an SVG element for a page.

    Returns
    -------
    str
        An ``<svg>`` element whose colours are CSS variables and whose ids begin with the drawing's name, so
        that several fit on one page.
    """
    figure = drawing.narrow if narrow else drawing.figure
    assert figure is not None
    return _element(drawing, figure, _bytes(figure, "svg"), narrow)


def _element(drawing: ReportFigure, figure: Figure, data: bytes, narrow: bool) -> str:
    name = f"{drawing.name}-narrow" if narrow else drawing.name
    text = data.decode("utf-8")
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r": (#[0-9a-f]{6})\b", _variable, text)
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', _opening(figure, name, narrow), text, count=1)


def _variable(match: re.Match[str]) -> str:
    colour = match.group(1)
    return f": var({_VARIABLES[colour]}, {colour})" if colour in _VARIABLES else match.group(0)


def _opening(figure: Figure, name: str, narrow: bool) -> str:
    # One inch is as wide in every figure, so that letters have one size on the page.
    width = round(float(figure.get_figwidth()) * 108)
    kind = "narrow" if narrow else "wide"
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return rf'<svg {spaces} viewBox="\g<1>" class="{kind}" style="max-width: {width}px" aria-hidden="true" focusable="false" data-name="{name}">'
