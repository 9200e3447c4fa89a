"""Dot plots: AUC of folds and arms, differences to the best arm, mean ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from featx.reporting.summary import Measure, Summary, against, ahead, main_class
from featx.reporting.tables import p_text

from .canvas import FAINT, MARK, WIDE, blank, folded, letters, look, marker, styled

__all__ = ["auc_dots", "difference_dots", "external_dots", "rank_dots", "strata_dots"]


# Inches of a figure where there is room.
_BROAD = 8.6


_DOT: dict[str, Any] = {"markersize": 3.2, "markeredgewidth": 0}


def auc_dots(summary: Summary, most: float = WIDE) -> Figure:
    """Draw the AUC of every fold, and the mean of every arm with its interval."""
    groups = [summary.of_task(key) for key in summary.settings]
    titles = [summary.heading(key) for key in summary.settings]
    return _dots(summary, groups, titles, most)


def strata_dots(summary: Summary, setting: tuple[str, str], stratum: str, most: float = WIDE) -> Figure:
    """Draw the AUC of every arm at each value of a column."""
    chosen = [item for item in summary.strata if item.stratum == stratum and item.series.setting == setting]
    names = list(dict.fromkeys(item.level for item in chosen))
    groups = [[item for item in chosen if item.level == name] for name in names]
    titles = [f"{stratum}: {name}" for name in names]
    return _dots(summary, groups, titles, most)


def _dots(
    summary: Summary,
    groups: Sequence[Sequence[Measure]],
    titles: Sequence[str],
    most: float,
) -> Figure:
    heights = [len(group) + 0.9 for group in groups]
    with styled():
        figure = _frame(sum(heights) + 0.4 * (len(groups) - 1), most)
        panels = figure.subplots(len(groups), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
        for axes, group, title in zip(panels, groups, titles, strict=True):
            _dot_panel(axes, summary, group, most)
            _title(axes, title, most)
        panels[-1].set_xlabel("ROC AUC")
        low, high = _limits([value for group in groups for item in group for value in _reach(item)])
        panels[-1].set_xlim(low, high)
        for axes in panels:
            if low < 0.5 < high:
                axes.axvline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
    return figure


def _frame(rows: float, most: float) -> Figure:
    """Make a figure with a height for some rows, titles and an axis."""
    return blank(min(_BROAD, most), 0.12 * (_lines(most) + 1) * rows + 0.37 + 0.19 * _lines(most))


def _lines(most: float) -> int:
    """Return the largest number of lines of names and titles."""
    return 2 if most >= _BROAD else 3


def _name_letters(most: float) -> int:
    """Return the letters on a line of a row's name, which takes at most a third of the figure."""
    return min(letters(min(_BROAD, most) / 2.7), 28)


def _title(axes: Axes, text: str, most: float) -> None:
    room = min(_BROAD, most) - 0.0755 * _name_letters(most) - 0.7
    axes.set_title(folded(text, letters(room, 10.5), _lines(most)))


def _reach(item: Measure) -> list[float]:
    total = item.spread
    return [value for value in (*item.auc, total.low, total.high) if np.isfinite(value)]


def _limits(values: Sequence[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    room = max(0.08 * (max(values) - min(values)), 0.01)
    return max(min(values) - room, 0.0), min(max(values) + room, 1.0 + room)


def _dot_panel(axes: Axes, summary: Summary, group: Sequence[Measure], most: float) -> None:
    order = sorted(range(len(group)), key=lambda index: np.nan_to_num(group[index].spread.mean, nan=-1.0))
    for place, index in enumerate(order):
        item, total = group[index], group[index].spread
        colour, arm = look(summary, item.series.arm)["color"], item.series.arm
        values = np.array(item.auc)
        axes.plot(values, _lower(place, len(values)), "o", color=colour, alpha=0.4, **_DOT)
        if np.isfinite(total.low):
            axes.plot([total.low, total.high], [place + 0.12] * 2, color=colour, linewidth=1.6)
        axes.plot([total.mean], [place + 0.12], marker(summary, arm), color=colour, **MARK)
        label = f"{total.mean:.3f}" if np.isfinite(total.mean) else "one class only"
        _aside(axes, place, label)
    _rows(axes, [group[index].series.arm for index in order], most)


def _lower(place: int, count: int) -> NDArray[np.floating[Any]]:
    # Dots of folds are spread vertically, so that equal values do not overlap.
    return place - 0.2 - 0.07 * (np.arange(count) % 3 - 1)


def _aside(axes: Axes, row: float, label: str) -> None:
    """Write at the right of a row."""
    axes.text(1.01, row, label, va="center", fontsize=8.5, transform=axes.get_yaxis_transform())


def _rows(axes: Axes, names: Sequence[str], most: float) -> None:
    axes.set_yticks(range(len(names)), [folded(name, _name_letters(most), _lines(most)) for name in names])
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def external_dots(summary: Summary, most: float = WIDE) -> Figure | None:
    """Draw the internal (hollow) and the external (filled) AUC of every arm; None without external test sets."""
    panels: dict[tuple[tuple[str, str], str], list[tuple[Measure, Measure]]] = {}
    for arm, inside, outside in summary.external_measures:
        if outside.scored == main_class(arm.internal):
            panels.setdefault((arm.internal.setting, arm.name), []).append((inside, outside))
    if not panels:
        return None
    heights = [len(arms) + 0.9 for arms in panels.values()]
    with styled():
        figure = _frame(sum(heights) + 0.4 * (len(panels) - 1), most)
        drawn = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
        for axes, ((setting, name), arms) in zip(drawn, panels.items(), strict=True):
            for row, (inside, outside) in enumerate(arms):
                _sides(axes, summary, inside, outside, row)
            _rows(axes, [inside.series.arm for inside, _ in arms], most)
            _title(axes, f"{summary.heading(setting)}: {name}", most)
        drawn[-1].set_xlabel("ROC AUC")
    return figure


def _sides(axes: Axes, summary: Summary, inside: Measure, tested: Measure, row: int) -> None:
    outside, arm = tested.over_models, inside.series.arm
    colour = look(summary, arm)["color"]
    for total, shift, fill in ((inside.spread, 0.16, "none"), (outside, -0.16, colour)):
        if np.isfinite(total.low):
            axes.plot([total.low, total.high], [row + shift] * 2, color=colour, linewidth=1.6)
        style = {**MARK, "markeredgecolor": colour, "markeredgewidth": 1.4}
        axes.plot([total.mean], [row + shift], marker(summary, arm), markerfacecolor=fill, **style)
    label = f"{outside.mean:.3f}" if np.isfinite(outside.mean) else "one class only"
    _aside(axes, row, label)


def _best_arm(summary: Summary, setting: tuple[str, str]) -> str | None:
    """Find the best of the ranked arms."""
    found = summary.comparisons.get(setting)
    return found.ranked[0] if found is not None and found.ranked else None


def difference_dots(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure | None:
    """Draw the paired differences of the other arms to the best one, the nearest on top; None without a ranking."""
    best = _best_arm(summary, setting)
    if best is None:
        return None
    pairs = {arm: pair for arm, pair in against(summary.comparisons[setting], best).items() if pair.folds}
    order = sorted(pairs, key=lambda arm: ahead(pairs[arm], arm))
    with styled():
        figure = _frame(len(order) + 0.9, most)
        axes = figure.subplots()
        axes.axvline(0, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
        for place, arm in enumerate(order):
            pair, colour = pairs[arm], look(summary, arm)["color"]
            sign = 1 if pair.arms[0] == arm else -1
            values = sign * np.array(pair.differences)
            axes.plot(values, _lower(place, len(values)), "o", color=colour, alpha=0.4, **_DOT)
            ends = [sign * pair.adjusted_low, sign * pair.adjusted_high]
            axes.plot(ends, [place + 0.12] * 2, color=colour, linewidth=1.6)
            axes.plot([ahead(pair, arm)], [place + 0.12], marker(summary, arm), color=colour, **MARK)
            label = p_text(pairs[arm].adjusted_p) if np.isfinite(pairs[arm].adjusted_p) else "no test"
            _aside(axes, place, label)
        _rows(axes, order, most)
        _title(axes, f"{summary.heading(setting)}: difference to {best}", most)
        axes.set_xlabel("Difference in ROC AUC")
    return figure


def rank_dots(summary: Summary, setting: tuple[str, str], most: float = WIDE) -> Figure | None:
    """Draw the mean ranks of the arms over the folds; None without a ranking."""
    found = summary.comparisons.get(setting)
    if found is None or not found.ranked or (ranking := found.ranking) is None:
        return None
    order = sorted(range(len(ranking.arms)), key=lambda index: ranking.ranks[index])
    with styled():
        figure = _frame(len(order) + 0.9, most)
        axes = figure.subplots()
        for row, index in enumerate(order):
            arm = ranking.arms[index]
            axes.plot(
                [ranking.ranks[index]], [row], marker(summary, arm), color=look(summary, arm)["color"], **MARK
            )
        _rows(axes, [ranking.arms[index] for index in order], most)
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlim(0.8, len(order) + 0.2)
        _title(axes, summary.heading(setting), most)
        axes.set_xlabel("Mean rank over the folds (1 is best)")
    return figure
