"""The page: one self-contained HTML file that loads nothing from the internet."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from featx import __version__
from featx.digest import canonical, short
from featx.runs import Run

from .arm_facts import trainings
from .figures.canvas import ReportFigure, markup
from .maps.interactive_maps import MapView
from .maps.overlays import Gallery, SaliencyMap
from .sections.mistakes import find_mistakes
from .sections.statements import Statement
from .summary import Summary
from .tables import Cell, Column, Score, Table, shown

__all__ = [
    "Block",
    "Cellview",
    "Origin",
    "PageSection",
    "Shot",
    "origins",
    "page_templates",
    "relative_paths",
    "render_page",
    "render_sections",
]


_HEADS = ("Fold", "Run", "Folder", "Features", "Folds", "Manifest", "Test images")


@dataclass(frozen=True)
class Origin:
    """Where the numbers of one arm on one task come from.

    Attributes
    ----------
    id, title, hint : str
        Anchor, heading, and the number of runs.
    facts : tuple of (str, tuple of str)
        Name and lines: what all runs share, or how they differ.
    heads : tuple of str
        Column heads of the list of runs.
    runs : tuple of tuple of str
        A row for each run.
    """

    id: str
    title: str
    hint: str
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    heads: tuple[str, ...]
    runs: tuple[tuple[str, ...], ...]


def relative_paths(runs: tuple[Run, ...]) -> dict[Path, str]:
    """Name run folders relative to their common folder, so that reports of equal runs are equal anywhere."""
    if not runs:
        return {}
    common = Path(os.path.commonpath([run.path.parent for run in runs]))
    return {run.path: run.path.relative_to(common).as_posix() for run in runs}


def origins(summary: Summary) -> tuple[Origin, ...]:
    """Collect the provenance of every series and of every arm's fine-tuning."""
    where = relative_paths((*summary.runs, *summary.training))
    made = [
        _origin(f"origin-{number}", f"{one.arm}, {one.task} ({one.protocol})", one.runs, where)
        for number, one in enumerate(summary.series, 1)
    ]
    for number, ((name, task), runs) in enumerate(trainings(summary.training).items(), 1):
        made.append(_origin(f"training-{number}", f"{name}: fine-tuning on {task}", runs, where))
    return tuple(made)


def _origin(name: str, title: str, runs: tuple[Run, ...], where: Mapping[Path, str]) -> Origin:
    records = [run.record for run in runs]
    facts = (
        ("Weights lineage", _shared([" → ".join(record.lineage) or "not recorded" for record in records])),
        ("Feature recipe", _fields([record.features.get("recipe") or {} for record in records])),
        ("Cost", _fields([record.features.get("cost") or {} for record in records])),
        ("Settings", _fields([record.settings for record in records])),
        ("Seed", _shared([str(record.seed) for record in records])),
        ("Versions", _fields([record.versions for record in records])),
        ("Counts", _fields([record.counts for record in records])),
        ("Convergence", _fields([record.convergence for record in records])),
        ("SHA-256 of the folds", _shared([record.folds_digest for record in records])),
        ("SHA-256 of the manifest", _shared([str(record.manifest.get("digest")) for record in records])),
    )
    rows = tuple(
        (
            run.record.fold,
            short(run.record.id),
            where[run.path],
            short(str(run.record.features.get("digest", "not recorded"))),
            short(run.record.folds_digest),
            short(str(run.record.manifest.get("digest"))),
            str(len(run.predictions)),
        )
        for run in runs
    )
    hint = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
    return Origin(name, title, hint, tuple(item for item in facts if item[1]), _HEADS, rows)


def _shared(values: Sequence[str]) -> tuple[str, ...]:
    """List the distinct values, in order, with the number of runs that have each."""
    counts = Counter(values)
    if len(counts) == 1:
        return tuple(counts)
    return tuple(value if count == 1 else f"{value} ({count} runs)" for value, count in counts.items())


def _fields(values: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Write mappings of several runs field by field; numbers that differ as a range, other values as a count."""
    flat = [dict(_flattened(canonical(value))) for value in values]
    lines = []
    for name in dict.fromkeys(key for fields in flat for key in fields):
        found = [fields.get(name) for fields in flat]
        distinct = {json.dumps(item, sort_keys=True): item for item in found}
        if len(distinct) == 1:
            (item,) = distinct.values()
            lines.append(
                f"{name}: {(item or '–') if isinstance(item, str) else json.dumps(item, ensure_ascii=False)}"
            )
        elif len(numbers := [item for item in found if isinstance(item, int | float)]) == len(found):
            lines.append(f"{name}: {min(numbers)!r} to {max(numbers)!r}")
        else:
            lines.append(f"{name}: {len(distinct)} values; see run.json of each run")
    return tuple(lines)


def _flattened(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flattened(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


# Tables with at least as many rows have a filter.
_FILTER_FROM = 8
# Names, and other texts, with more letters are wrapped.
_LONG_FROM, _WRAP_FROM = 22, 48
# Columns that name an arm.
_ARMS = frozenset({"arm", "a", "b"})


@dataclass(frozen=True)
class Cellview:
    """A table's cell as the template shows it.

    Attributes
    ----------
    shown : str
        Text.
    sort : str
        Value to sort by: the full number, or the text; empty for no value.
    classes : str
        CSS classes.
    link : str
        Anchor of its provenance, or empty.
    """

    shown: str
    sort: str
    classes: str
    link: str = ""


@dataclass(frozen=True)
class Block:
    """A table or a figure as the template shows it.

    Attributes
    ----------
    name, title, note : str
        As in the table or figure.
    alt : str
        Of a figure: text for screen readers.
    svg : Markup or None
        Of a figure: its drawings for wide and for narrow pages; the page shows one of them.
    heads : tuple of Column
        Of a table: its columns.
    rows : tuple of tuple of Cellview
        Of a table: its rows.
    sortable, filter : bool
        Of a table: more than one row; enough rows for a filter.
    """

    name: str
    title: str
    note: str
    alt: str = ""
    svg: Markup | None = None
    heads: tuple[Column, ...] = ()
    rows: tuple[tuple[Cellview, ...], ...] = ()
    sortable: bool = False
    filter: bool = False


@dataclass(frozen=True)
class Shot:
    """A picture of the gallery.

    Attributes
    ----------
    source : str
        A ``data:`` address.
    alt, caption : str
        Text for screen readers, and caption.
    """

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class PageSection:
    """A section of the page.

    Attributes
    ----------
    id, title : str
        Anchor and heading.
    text : str
        A paragraph.
    findings : tuple of Statement
        Summary in words.
    warnings : tuple of str
        Warnings.
    figures : tuple of ReportFigure
        Figures.
    tables : tuple of Table
        Tables.
    blocks : tuple of Block
        Figures and tables as the template shows them; `render_page` makes them.
    origins : tuple of Origin
        Provenance.
    shots : tuple of Shot
        Images of mistakes.
    maps : tuple of MapView
        Embedding maps, in place of the figures.
    """

    id: str
    title: str
    text: str = ""
    findings: tuple[Statement, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: tuple[ReportFigure, ...] = ()
    tables: tuple[Table, ...] = ()
    blocks: tuple[Block, ...] = ()
    origins: tuple[Origin, ...] = ()
    shots: tuple[Shot, ...] = ()
    maps: tuple[MapView, ...] = ()


def page_templates(room: str) -> Environment:
    """Load the HTML templates of a room; every text is escaped, and a name without a value is an error."""
    return Environment(
        loader=PackageLoader(room),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )


def render_page(
    summary: Summary,
    sections: Sequence[PageSection],
    findings: Sequence[Statement],
    title: str,
    pictures: Mapping[str, str] | None = None,
    refresh: float | None = None,
    saliency: Gallery | None = None,
    warnings: tuple[str, ...] | None = None,
) -> str:
    """Write the page: summary, warnings (by default those of the runs), sections with figures or tables, provenance."""
    said = summary.warnings if warnings is None else warnings
    links, shots = _links(summary), _shots(summary, pictures or {}, saliency or {})
    every = (
        PageSection("summary", "Summary", findings=tuple(findings)),
        PageSection("warnings", "Warnings", warnings=said),
        *(replace(one, shots=shots if one.id == "mistakes" else ()) for one in sections),
        PageSection(
            "provenance",
            "Provenance",
            text="Open an arm for its lineage, recipe, settings, versions and runs.",
            origins=origins(summary),
        ),
    )
    footer = (
        f"Made by featx {__version__} from finished runs. Tables are also in tables/ (CSV, LaTeX, "
        "Markdown), figures in figures/ beside this page."
    )
    return render_sections(title, _facts(summary, len(said)), every, footer, refresh=refresh, links=links)


def render_sections(
    title: str,
    facts: Sequence[tuple[str, str]],
    sections: Sequence[PageSection],
    footer: str,
    *,
    refresh: float | None = None,
    links: Mapping[tuple[str, ...], str] | None = None,
) -> str:
    """Write a page of sections; the first one has the id ``summary``. Sections without content are left out."""
    made = [replace(one, blocks=_blocks(one, links or {})) for one in sections]
    return (
        page_templates("featx.reporting")
        .get_template("report.html.j2")
        .render(
            title=title,
            facts=facts,
            sections=[one for one in made if one.findings or one.warnings or one.blocks or one.origins],
            refresh=refresh,
            footer=footer,
            css=Markup(_asset("report.css")),
            script=Markup(_asset("report.js")),
        )
    )


def _blocks(section: PageSection, links: Mapping[tuple[str, ...], str]) -> tuple[Block, ...]:
    """Prepare a section's figures, each drawn for wide and for narrow screens, and its tables."""
    drawn = (
        Block(one.name, one.title, one.note, one.alt, Markup(markup(one)))
        for one in (() if section.maps else section.figures)
    )
    return (*drawn, *(_table(one, links) for one in section.tables))


def _asset(name: str) -> str:
    return resources.files("featx.reporting").joinpath("templates", name).read_text(encoding="utf-8")


def _facts(summary: Summary, warnings: int) -> tuple[tuple[str, str], ...]:
    names = dict.fromkeys(str(run.record.manifest.get("name") or "unnamed") for run in summary.runs)
    return (
        ("Arms", str(len(summary.arms))),
        ("Tasks", str(len({task for task, _ in summary.settings}))),
        ("Scored runs", str(len(summary.runs))),
        ("Data set" if len(names) == 1 else "Data sets", ", ".join(names)),
        ("Warnings", str(warnings)),
    )


def _links(summary: Summary) -> dict[tuple[str, ...], str]:
    """Map task, protocol and arm; a task's tables and arm; and a task's column and arm to anchors of provenance."""
    names = summary.slugs
    links: dict[tuple[str, ...], str] = {}
    for index, series in enumerate(summary.series):
        anchor = f"origin-{index + 1}"
        links[series.task, series.protocol, series.arm] = anchor
        links[names[series.setting], series.arm] = anchor
        links[" ".join(series.setting), series.arm] = anchor
    return links


def _table(table: Table, links: Mapping[tuple[str, ...], str]) -> Block:
    """Prepare a table for the template; the names of arms lead to their provenance."""
    names = [column.name for column in table.columns]
    slug = table.name.partition("-")[2]
    # The leading columns of text name the row.
    naming = next((place for place, column in enumerate(table.columns) if not column.text), len(names))

    def link(row: tuple[Cell, ...], column: Column) -> str:
        if column.name not in _ARMS:
            return links.get((column.name, str(row[0])), "")
        here = [str(row[names.index(name)]) for name in ("task", "protocol", column.name) if name in names]
        return links.get(tuple(here) if len(here) == 3 else (slug, here[-1]), "")

    rows = tuple(
        tuple(
            _cell(cell, column, link(row, column), place < naming)
            for place, (cell, column) in enumerate(zip(row, table.columns, strict=True))
        )
        for row in table.rows
    )
    many = len(rows)
    return Block(
        table.name,
        table.title,
        table.note,
        heads=table.columns,
        rows=rows,
        sortable=many > 1,
        filter=many >= _FILTER_FROM,
    )


def _cell(cell: Cell, column: Column, link: str, names: bool) -> Cellview:
    classes = ["text"] if column.text else []
    value = cell.mean if isinstance(cell, Score) else cell
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return Cellview(shown(cell, column), "", "none")
    if isinstance(cell, Score) and cell.best:
        classes.append("best")
    if column.text and len(str(value)) > (_LONG_FROM if names else _WRAP_FROM):
        classes.append("long" if names else "wrap")
    return Cellview(shown(cell, column), str(value), " ".join(classes), link)


def _shots(summary: Summary, pictures: Mapping[str, str], saliency: Gallery) -> tuple[Shot, ...]:
    """Collect the mistakes of the best arm of each task, each followed by its saliency map."""
    made = []
    for setting in summary.settings:
        best = max(
            summary.of_task(setting), key=lambda item: np.nan_to_num(item.spread.mean, nan=-1.0)
        ).series
        for item in find_mistakes(best):
            if item.id in pictures:
                alt = f"Image {item.id}: {item.actual}, predicted {item.taken}"
                caption = f"{item.id}: {item.actual}, predicted {item.taken} by {best.arm} (margin {item.margin:.2f})"
                made.append(Shot(pictures[item.id], alt, caption))
            if found := saliency.get((*setting, best.arm, item.id)):
                made.append(_saliency_shot(*found))
    return tuple(made)


def _saliency_shot(item: SaliencyMap, source: str) -> Shot:
    alt = f"Saliency map of image {item.image}: evidence for {item.towards}"
    caption = (
        f"{item.image}: evidence for {item.towards} (decision value {item.value:.2f}, fold {item.fold}), from violet "
        f"(least) to yellow (most); layer {item.layer}"
    )
    return Shot(source, alt, caption)
