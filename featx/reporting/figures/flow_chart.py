"""Flow diagram: boxes from the listed images to training, test and external test sets, with what was left out."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from featx.reporting.participants import OUT, PART, SET, FlowBox, Span, class_columns, flows
from featx.reporting.summary import Summary

from .canvas import FAINT, INK, WIDE, blank, letters, styled

__all__ = ["flow_chart"]

# Inches: widest figure, line of text, room inside and between boxes.
_BROAD, _LINE, _PAD, _GAP = 8.6, 0.17, 0.1, 0.2
# Fractions of the width for what goes on and for what is left out.
_MAIN, _ASIDE = 0.53, 0.40
_SIZE = 9.0
_MOST_LINES = 12


@dataclass(frozen=True)
class _Placed:
    """A box on the page, in inches from the upper left corner."""

    x: float
    y: float
    width: float
    lines: tuple[str, ...]
    heading: int

    @property
    def height(self) -> float:
        return _LINE * len(self.lines) + 2 * _PAD

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class _Words:
    """What the boxes say: the classes that they count, and whether they count groups."""

    classes: tuple[str, ...]
    grouped: bool

    def of(self, box: FlowBox) -> list[str]:
        """Write the sizes of a box; what is not known is said once."""
        sizes = box.sizes
        lines = box.detail.splitlines()
        if sizes.images is None and sizes.groups is None:
            return [*lines, "not recorded"]
        lines.append(self._counts(sizes.images, sizes.groups, ", "))
        found = ((name, *sizes.classes.get(name, (None, None))) for name in self.classes)
        texts = ((name, self._counts(images, groups, " in ")) for name, images, groups in found)
        return [*lines, *(f"{name}: {text}" for name, text in texts if text)]

    def _counts(self, images: Span | None, groups: Span | None, joint: str) -> str:
        shown = [(images, "image"), (groups if self.grouped else None, "group")]
        return joint.join(
            f"{span} {word}{'' if span == Span(1, 1) else 's'}" for span, word in shown if span is not None
        )


def flow_chart(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure:
    """Draw the flow that most arms of a task share."""
    flow = flows(summary, setting)[0]
    words = _Words(tuple(name for name, _ in class_columns(summary, setting)), flow.grouped)
    width = min(_BROAD, most) - 2 * _PAD
    kinds = [box.kind for box in flow.boxes]
    parts = kinds.index(PART)
    stem, branches, down = _column(flow.boxes[:parts], words, width)
    row = _row([box for box in flow.boxes if box.kind == PART], words, down, width)
    placed = [*stem, *(made for _, made in branches), *row]
    external = [_with_reasons(flow.boxes, box) for box in flow.boxes if box.kind == SET]
    for first in range(0, len(external), 2):
        down = max(one.y + one.height for one in placed) + _GAP
        placed += _row(external[first : first + 2], words, down, width)
    with styled():
        return _drawn(width, placed, [*pairwise(stem), *((stem[-1], one) for one in row)], branches)


def _column(
    boxes: Sequence[FlowBox], words: _Words, width: float
) -> tuple[list[_Placed], list[tuple[_Placed, _Placed]], float]:
    """Place what goes on below each other, and what is left out beside its way; return how far down it reaches."""
    stem: list[_Placed] = []
    branches: list[tuple[_Placed, _Placed]] = []
    down = 0.0
    for box in boxes:
        if box.kind == OUT:
            made = _place(box, words, (1 - _ASIDE) * width, down, _ASIDE * width)
            branches.append((stem[-1], made))
        else:
            made = _place(box, words, 0.0, down, _MAIN * width)
            stem.append(made)
        down = made.y + made.height + _GAP
    return stem, branches, down + _GAP


def _with_reasons(boxes: Sequence[FlowBox], box: FlowBox) -> FlowBox:
    """Add to the box of an external test set what was left out of it."""
    out = [
        f"left out, {one.title.removeprefix(f'{box.title}: ')}: {one.sizes.images}"
        for one in boxes
        if one.kind == OUT and one.title.startswith(f"{box.title}: ")
    ]
    return FlowBox(box.kind, box.title, "\n".join(out), box.sizes)


def _row(boxes: Sequence[FlowBox], words: _Words, down: float, width: float) -> list[_Placed]:
    """Place boxes side by side."""
    each = (width - _GAP * (len(boxes) - 1)) / len(boxes)
    return [_place(box, words, place * (each + _GAP), down, each) for place, box in enumerate(boxes)]


def _place(box: FlowBox, words: _Words, x: float, y: float, width: float) -> _Placed:
    room = letters(width - 2 * _PAD, _SIZE)
    heading = textwrap.wrap(box.title, room) or [""]
    body = [line for text in words.of(box) for line in textwrap.wrap(text, room)]
    if len(body) > _MOST_LINES:
        body = [*body[: _MOST_LINES - 1], "…"]
    return _Placed(x, y, width, (*heading, *body), len(heading))


def _drawn(
    width: float,
    placed: Sequence[_Placed],
    down: Sequence[tuple[_Placed, _Placed]],
    aside: Sequence[tuple[_Placed, _Placed]],
) -> Figure:
    height = max(one.y + one.height for one in placed)
    figure = blank(width + 2 * _PAD, height + 2 * _PAD)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-_PAD, width + _PAD), ylim=(height + _PAD, -_PAD))
    axes.set_axis_off()
    for one in placed:
        _draw_box(axes, one)
    for start, end in down:
        _draw_way(axes, start, end)
    for start, end in aside:
        level = end.y + end.height / 2
        _draw_arrow(axes, (start.middle, level), (end.x, level))
    return figure


def _draw_box(axes: Axes, one: _Placed) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (one.x, one.y), one.width, one.height, boxstyle="square,pad=0", facecolor="none", edgecolor=FAINT
        )
    )
    for place, line in enumerate(one.lines):
        weight = "bold" if place < one.heading else "normal"
        y = one.y + _PAD + _LINE * (place + 0.5)
        axes.text(one.x + _PAD, y, line, fontsize=_SIZE, weight=weight, color=INK, va="center")


def _draw_way(axes: Axes, start: _Placed, end: _Placed) -> None:
    """Lead from a box down to another; around a corner if that is not below it."""
    turn = end.y - _GAP
    x = start.middle if end.x <= start.middle <= end.x + end.width else end.middle
    axes.plot([start.middle, start.middle, x], [start.y + start.height, turn, turn], color=FAINT, linewidth=1)
    _draw_arrow(axes, (x, turn), (x, end.y))


def _draw_arrow(axes: Axes, tail: tuple[float, float], head: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": FAINT, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", head, tail, arrowprops=style)
