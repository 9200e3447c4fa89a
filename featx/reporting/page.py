"""The page: one HTML file that holds everything it shows and asks no network for anything."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from featx import __version__
from featx.digest import canonical, short
from featx.reporting.overlays import Gallery, SaliencyMap
from featx.reporting.sections.images import find_mistakes
from featx.reporting.sections.labels import slugs, trainings
from featx.reporting.sections.statements import Statement
from featx.reporting.series import Series
from featx.reporting.summary import Summary
from featx.reporting.tables import Cell, Column, Score, Table, shown
from featx.runs import Run

__all__ = ["Block", "Cellview", "Origin", "PageSection", "Shot", "origins", "page", "places"]


_HEADS = ("Fold", "Run", "Folder", "Features", "Folds", "Manifest", "Train / test images")


@dataclass(frozen=True)
class Origin:
    """The provenance of one series.

    Attributes
    ----------
    id, title, hint : str
        Anchor, heading, and what stands behind it in small.
    facts : tuple of (str, tuple of str)
        Name and lines: what all runs of the series share, or how they differ.
    heads : tuple of str
        Headings of the list of runs.
    runs : tuple of tuple of str
        A row for each run.
    """

    id: str
    title: str
    hint: str
    facts: tuple[tuple[str, tuple[str, ...]], ...]
    heads: tuple[str, ...]
    runs: tuple[tuple[str, ...], ...]


def places(runs: tuple[Run, ...]) -> dict[Path, str]:
    """Name run folders relative to the folder that holds them all.

    Returns
    -------
    dict of Path to str
        The same text wherever the folder of runs lies, so that reports of equal runs are equal.
    """
    if not runs:
        return {}
    common = Path(os.path.commonpath([run.path.parent for run in runs]))
    return {run.path: run.path.relative_to(common).as_posix() for run in runs}


def origins(summary: Summary) -> tuple[Origin, ...]:
    """Collect the provenance of every series and of every arm's fine-tuning."""
    where = places((*summary.runs, *summary.training))
    made = [_origin(f"origin-{index + 1}", series, where) for index, series in enumerate(summary.series)]
    for index, ((name, task), runs) in enumerate(trainings(summary).items()):
        made.append(_made(f"training-{index + 1}", f"{name}: fine-tuning on {task}", runs, where))
    return tuple(made)


def _origin(name: str, series: Series, where: Mapping[Path, str]) -> Origin:
    return _made(name, f"{series.arm}, {series.task} ({series.protocol})", series.runs, where)


def _made(name: str, title: str, runs: tuple[Run, ...], where: Mapping[Path, str]) -> Origin:
    records = [run.record for run in runs]
    facts = (
        ("Weights lineage", _shared([" → ".join(record.lineage) or "not recorded" for record in records])),
        ("Recipe of the features", _fields([record.features.get("recipe") or {} for record in records])),
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
    """Say a value once if all runs share it, else each with the runs that have it, in their order."""
    counts = Counter(values)
    if len(counts) == 1:
        return tuple(counts)
    return tuple(value if count == 1 else f"{value} ({count} runs)" for value, count in counts.items())


def _fields(values: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Write mappings of several runs field by field; of numbers that differ the range, of others how many."""
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
            lines.append(f"{name}: {len(distinct)} values, see run.json of each run")
    return tuple(lines)


def _flattened(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flattened(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


_FILTER_FROM = 8


# Letters from which names, and other texts, stand on several lines.
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
        What sorting compares: the full number, or the text; empty for no value.
    classes : str
        CSS classes.
    link : str
        Anchor of the provenance behind it, or empty.
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
        As in the table or drawing.
    alt : str
        Of a figure: what it shows.
    svg : Markup or None
        Of a figure: its drawing for wide pages, and that for narrow ones, of which one is shown.
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
        What it shows, and what stands below it.
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
    findings : tuple of Finding
        The summary in words.
    warnings : tuple of str
        What a reader has to know.
    blocks : tuple of Block
        Tables and figures.
    origins : tuple of Origin
        Where the numbers come from.
    shots : tuple of Shot
        Pictures of mistakes.
    """

    id: str
    title: str
    text: str = ""
    findings: tuple[Statement, ...] = ()
    warnings: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
    origins: tuple[Origin, ...] = ()
    shots: tuple[Shot, ...] = ()


def page(
    summary: Summary,
    tables: Sequence[Table],
    drawings: Sequence[Block],
    findings: Sequence[Statement],
    title: str,
    pictures: Mapping[str, str] | None = None,
    refresh: float | None = None,
    saliency: Gallery | None = None,
) -> str:
    """Write the page."""
    environment = Environment(
        loader=PackageLoader("featx.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2").render(
        title=title,
        facts=_facts(summary),
        sections=_sections(
            summary, tables, drawings, findings, _shots(summary, pictures or {}, saliency or {})
        ),
        refresh=refresh,
        footer=f"Made by featx {__version__} from finished runs alone. Tables and figures lie beside this page "
        "in tables/ (CSV, LaTeX, Markdown) and figures/ (PDF, PNG).",
        css=Markup(_asset("report.css")),
        script=Markup(_asset("report.js")),
    )


def _asset(name: str) -> str:
    return resources.files("featx.reporting").joinpath("templates", name).read_text(encoding="utf-8")


def _facts(summary: Summary) -> tuple[tuple[str, str], ...]:
    names = dict.fromkeys(str(run.record.manifest.get("name") or "unnamed") for run in summary.runs)
    return (
        ("Arms", str(len(summary.arms))),
        ("Tasks", str(len({task for task, _ in summary.settings}))),
        ("Scored runs", str(len(summary.runs))),
        ("Data set" if len(names) == 1 else "Data sets", ", ".join(names)),
        ("Warnings", str(len(summary.warnings))),
    )


def _sections(
    summary: Summary,
    tables: Sequence[Table],
    drawings: Sequence[Block],
    findings: Sequence[Statement],
    shots: tuple[Shot, ...],
) -> list[PageSection]:
    links = _links(summary)

    def blocks(*starts: str) -> tuple[Block, ...]:
        pictures = [item for item in drawings if _begins(item.name, starts)]
        return (*pictures, *(_table(item, links) for item in tables if _begins(item.name, starts)))

    sections = [
        PageSection("summary", "Summary", findings=tuple(findings)),
        PageSection("warnings", "Warnings", warnings=summary.warnings),
        PageSection("auc", "AUC", blocks=blocks("auc")),
        PageSection(
            "comparisons", "Comparisons", blocks=blocks("differences", "pairs", "p-", "ranks", "power")
        ),
        PageSection("factors", "Factors", blocks=blocks("anova")),
        PageSection("cost", "Cost", blocks=blocks("cost", "backbones")),
        PageSection("sizes", "Training size", blocks=blocks("training-sizes")),
        PageSection("curves", "Curves", blocks=blocks("roc", "precision-recall")),
        PageSection(
            "metrics",
            "Further metrics",
            blocks=blocks("scores", "calibration", "metrics", "thresholds", "predictive-values", "confusion"),
        ),
        PageSection("folds", "By fold", blocks=blocks("folds")),
        PageSection("classes", "By class", blocks=blocks("classes")),
        PageSection("strata", "By stratum", blocks=blocks("strat")),
        PageSection("groups", "By group", blocks=blocks("groups")),
        PageSection("search", "Choice of C", blocks=blocks("search")),
        PageSection("mistakes", "Mistakes", shots=shots, blocks=blocks("mistakes")),
        PageSection("training", "Fine-tuning", blocks=blocks("learning")),
        PageSection(
            "provenance",
            "Provenance",
            text="Where every number comes from. Open an arm for its recipe, settings, versions and runs.",
            origins=origins(summary),
        ),
    ]
    return [item for item in sections if item.findings or item.warnings or item.blocks or item.origins]


def _begins(name: str, starts: Sequence[str]) -> bool:
    return any(name.startswith(start) for start in starts)


def _links(summary: Summary) -> dict[tuple[str, ...], str]:
    """Anchors of provenance by task, protocol and arm; by a task's own tables and arm; by a task's column and arm."""
    names = slugs(summary)
    links: dict[tuple[str, ...], str] = {}
    for index, series in enumerate(summary.series):
        anchor = f"origin-{index + 1}"
        links[series.task, series.protocol, series.arm] = anchor
        links[names[series.setting], series.arm] = anchor
        links[" ".join(series.setting), series.arm] = anchor
    return links


def _table(table: Table, links: Mapping[tuple[str, ...], str]) -> Block:
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
    """Show the mistakes of the best arm of each task, each followed by its saliency map."""
    made = []
    for setting in summary.settings:
        items = [item for item in summary.overall if item.series.setting == setting]
        best = max(items, key=lambda item: np.nan_to_num(item.spread.mean, nan=-1.0)).series
        for item in find_mistakes(best):
            if item.id in pictures:
                alt = f"Image {item.id}: {item.actual}, taken for {item.taken}"
                caption = f"{item.id}: {item.actual}, taken for {item.taken} by {best.arm} (margin {item.margin:.2f})"
                made.append(Shot(pictures[item.id], alt, caption))
            if found := saliency.get((*setting, best.arm, item.id)):
                made.append(_saliency_shot(*found))
    return tuple(made)


def _saliency_shot(item: SaliencyMap, source: str) -> Shot:
    alt = f"Saliency map of image {item.image}: what speaks for {item.towards}"
    caption = (
        f"{item.image}: what speaks for {item.towards} (decision value {item.value:.2f}, fold {item.fold}), least "
        f"in violet, most in yellow; layer {item.layer}"
    )
    return Shot(source, alt, caption)
