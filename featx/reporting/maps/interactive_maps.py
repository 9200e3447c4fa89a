"""Embedding maps for the page: inline drawings whose points tell what they are, by mouse and by keyboard."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from featx.reporting.embedding_files import EmbeddedArm, MapPoint
from featx.reporting.summary import Summary

__all__ = ["MapView", "map_views", "shown_points"]

# Points of a map: more would make the page slow. Mistakes and label-noise candidates are always among them.
_MOST = 3000
# Colours of the page.
_COLOURS = 7
_WIDTH, _MARGIN = 720, 12


@dataclass(frozen=True)
class MapView:
    """An embedding map as the template shows it.

    Attributes
    ----------
    id, title, note : str
        Anchor, heading and caption.
    width, height : int
        Size of the drawing.
    spots : tuple of (str, str, str, str)
        CSS classes, and x, y and place in `data` of each point.
    keys : tuple of (str, tuple of (str, str))
        Legends: what is coloured, and colour and name of each value.
    data : Markup
        JSON list: for each point what the page tells of it, its colour by each legend, and its thumbnail.
    """

    id: str
    title: str
    note: str
    width: int
    height: int
    spots: tuple[tuple[str, str, str, str], ...]
    keys: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    data: Markup


def map_views(summary: Summary, pictures: Mapping[str, str]) -> tuple[MapView, ...]:
    """Prepare the maps of a report's arms.

    Parameters
    ----------
    summary : Summary
        The report, with maps.
    pictures : mapping of str to str
        Image id to the ``data:`` address of a thumbnail; may be empty.
    """
    return tuple(
        _view(f"map-{number}", summary.heading(series.setting), one, series.classes, pictures)
        for number, (series, one) in enumerate(summary.maps, 1)
    )


def shown_points(one: EmbeddedArm) -> list[MapPoint]:
    """Choose the points to draw: all doubtful ones, and others by the SHA-256 of their ids."""
    doubtful = {item.id for item in one.noise}
    order = sorted(
        one.points,
        key=lambda point: (
            not (point.value < 0 or point.id in doubtful),
            hashlib.sha256(point.id.encode()).digest(),
        ),
    )
    # Doubtful points are drawn last, on top of the others.
    return order[:_MOST][::-1]


def _view(
    anchor: str, task: str, one: EmbeddedArm, classes: Sequence[str], pictures: Mapping[str, str]
) -> MapView:
    points = shown_points(one)
    reach = _WIDTH - 2 * _MARGIN
    top = max((point.y for point in points), default=0.0)
    folds = sorted({_first_fold(point) for point in points})
    keys = (
        ("Class", tuple((f"c{place % _COLOURS}", name) for place, name in enumerate(classes))),
        ("Fold", tuple((f"c{place % _COLOURS}", name) for place, name in enumerate(folds))),
    )
    doubtful = {item.id for item in one.noise}
    spots, data = [], []
    for place, point in enumerate(points):
        colours = [classes.index(point.actual) % _COLOURS, folds.index(_first_fold(point)) % _COLOURS]
        marks = " wrong" * (point.value < 0) + " doubtful" * (point.id in doubtful)
        x, y = _MARGIN + reach * point.x, _MARGIN + reach * (top - point.y)
        spots.append((f"c{colours[0]}{marks}", f"{x:.1f}", f"{y:.1f}", str(place)))
        told = {"text": _told(point, point.id in doubtful), "colours": colours}
        data.append({**told, "picture": pictures[point.id]} if point.id in pictures else told)
    note = f"{one.method}. Features of fold {one.fold}. {len(points)} of {len(one.points)} images."
    note += "".join(f" {text[:1].upper()}{text[1:]}." for text in one.warnings)
    height = round(reach * top) + 2 * _MARGIN
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    # Nothing in a name can end the script element.
    safe = Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))
    return MapView(anchor, f"{one.arm}, {task}", note, _WIDTH, height, tuple(spots), keys, safe)


def _first_fold(point: MapPoint) -> str:
    return point.fold.partition(" ")[0] or "in no test set"


def _told(point: MapPoint, doubtful: bool) -> list[str]:
    lines = [point.id, f"label {point.actual}"]
    if point.predicted:
        lines.append(f"predicted {point.predicted} (decision value for the label {point.value:.2f})")
    if doubtful:
        lines.append("label-noise candidate")
    return [*lines, f"fold {point.fold}" if point.fold else "in no test set", f"group {point.group}"]
