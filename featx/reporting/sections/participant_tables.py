"""Tables of the participants: the way of the images into training and test sets, and Table 1, their characteristics by part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev

from featx.errors import listing
from featx.reporting.participants import (
    OUT,
    PART,
    FlowBox,
    FlowSizes,
    PartImage,
    Span,
    class_columns,
    flows,
    parts_of,
)
from featx.reporting.subgroup_columns import MOST_LEVELS, as_numbers, is_given, levels
from featx.reporting.summary import Summary
from featx.reporting.tables import Cell, Column, Filled

__all__ = ["FLOW_FIGURE", "PARTICIPANT_TABLES"]

_UNRECORDED = "not recorded"
# Columns with more values that are not numbers, such as names of patients, describe nothing.
_MOST_VALUES = 30


def _span_cell(span: Span | None) -> Cell:
    """Show a count, or its range over the folds."""
    if span is None:
        return _UNRECORDED
    return span.low if span.low == span.high else str(span)


def _flow(summary: Summary, setting: tuple[str, str]) -> Filled:
    """Fill the table of the flow: a row for each box."""
    found = flows(summary, setting)
    classes = class_columns(summary, setting)
    several = len(found) > 1
    columns = (
        *([Column("arms", "Arms", text=True)] if several else []),
        Column("box", "Box", text=True),
        Column("detail", "Detail", text=True),
        *(Column("images", "Images"), Column("groups", "Groups")),
        *(
            column
            for name, word in classes
            for column in (
                Column(f"{word} images", f"Images, {name}"),
                Column(f"{word} groups", f"Groups, {name}"),
            )
        ),
    )
    rows = [
        (*([listing(list(flow.arms), 8)] if several else []), *_box(box, [name for name, _ in classes]))
        for flow in found
        for box in flow.boxes
    ]
    more = [f"Ranges are over the {flow.folds} folds." for flow in found[:1] if flow.folds > 1]
    more += ["Images have no groups: each counts as its own."] if not found[0].grouped else []
    if not all(flow.recorded for flow in found):
        more.append("Not recorded: by the version of featx that trained these runs, or by fine-tuning.")
    return Filled(columns, rows, " ".join(more))


def _box(box: FlowBox, classes: Sequence[str]) -> tuple[Cell, ...]:
    title = f"Left out: {box.title[:1].lower()}{box.title[1:]}" if box.kind == OUT else box.title
    sizes = box.sizes
    by_class: list[Cell] = []
    for name in classes:
        # Before the task is applied there are no classes.
        images, groups = sizes.classes.get(name, (None, None))
        by_class += [_span_cell(images), _span_cell(groups)] if sizes.classes else [None, None]
    return (title, box.detail, _span_cell(sizes.images), _span_cell(sizes.groups), *by_class)


def _characteristics(summary: Summary, setting: tuple[str, str]) -> Filled:
    """Fill Table 1: a row for each class, and for each column of the manifest its mean or the counts of its values."""
    parts = parts_of(summary, setting)
    folds = max(len(parts["Training"]), len(parts["Test"]))
    parts = {"All": [_distinct(parts)], **parts}
    everyone = [one for several in parts.values() for fold in several for one in fold]
    names = list(dict.fromkeys(name for one in everyone for name in one.strata or ()))
    counted = {
        box.title.split()[0]: box.sizes for box in flows(summary, setting)[0].boxes if box.kind == PART
    }
    rows: list[tuple[Cell, ...]] = []
    for title, count in (("Images", len), ("Groups", _groups)):
        cells = (
            _range([count(fold) for fold in several]) or _recorded(counted.get(part), title)
            for part, several in parts.items()
        )
        rows.append((title, "", *cells))
    series = next(one for one in summary.series if one.setting == setting)
    actual = {part: [[one.actual for one in fold] for fold in several] for part, several in parts.items()}
    rows += [
        ("Class", name, *(_counts(several, name) for several in actual.values())) for name in series.classes
    ]
    skipped = []
    for name in names:
        made = _column(name, parts)
        rows += made
        skipped += [] if made else [name]
    columns = (
        Column("characteristic", "Characteristic", text=True),
        Column("value", "Value", text=True),
        *(
            Column(part.casefold() if part in _PARTS else f"external {part}", part, text=True)
            for part in parts
        ),
    )
    more = (
        [f"Training and test: ranges over the {folds} folds; of numbers, of their means."]
        if folds > 1
        else []
    )
    more += [f"Not shown, for more than {_MOST_VALUES} values: {listing(skipped)}."] if skipped else []
    return Filled(columns, rows, " ".join(more))


_PARTS = ("All", "Training", "Test")


def _distinct(parts: Mapping[str, list[list[PartImage]]]) -> list[PartImage]:
    """List every image of the training and test sets once; empty if one of them is not recorded."""
    if not (parts["Training"] and parts["Test"]):
        return []
    return list(
        {one.id: one for part in ("Test", "Training") for fold in parts[part] for one in fold}.values()
    )


def _groups(fold: Sequence[PartImage]) -> int:
    return len({one.group for one in fold})


def _range(counts: Sequence[int]) -> str:
    return str(Span(min(counts), max(counts))) if counts and max(counts) else ""


def _recorded(sizes: FlowSizes | None, title: str) -> Cell:
    """Return the number that the runs recorded of a part whose images they do not list."""
    span = getattr(sizes, title.casefold()) if sizes else None
    return str(span) if span else _UNRECORDED


def _counts(folds: Sequence[Sequence[str]], value: str) -> Cell:
    """Count a value, with its percentage; several folds as ranges."""
    if not folds or not all(folds):
        return _UNRECORDED
    counts = [sum(one == value for one in fold) for fold in folds]
    percent = [100 * count / len(fold) for count, fold in zip(counts, folds, strict=True)]
    low, high = f"{min(percent):.1f}", f"{max(percent):.1f}"
    return f"{Span(min(counts), max(counts))} ({low if low == high else f'{low} to {high}'} %)"


def _column(name: str, parts: Mapping[str, list[list[PartImage]]]) -> list[tuple[Cell, ...]]:
    """Fill the rows of a column of the manifest: one of numbers, else one for each value; and one of missing values."""
    cells = {part: [_cells(fold, name) for fold in several] for part, several in parts.items()}
    given = Counter(
        cell for several in cells.values() for fold in several for cell in fold or () if is_given(cell)
    )
    known = {part: [fold for fold in several if fold] for part, several in cells.items()}
    whole = {part: several if len(several) == len(cells[part]) else [] for part, several in known.items()}
    numeric = len(set(as_numbers(list(given)))) > MOST_LEVELS
    if numeric:
        rows = [(name, "mean ± SD", *(_mean(several) for several in whole.values()))]
    elif len(given) > _MOST_VALUES or not given:
        return []
    else:
        rows = [
            (name, level, *(_counts(several, level) for several in whole.values())) for level in levels(given)
        ]
    missing = {
        part: [
            ["given" if (as_numbers([cell]) if numeric else is_given(cell)) else "" for cell in fold]
            for fold in several
        ]
        for part, several in whole.items()
    }
    if any("" in fold for several in missing.values() for fold in several):
        rows.append((name, "missing", *(_counts(several, "") for several in missing.values())))
    return rows


def _cells(fold: Sequence[PartImage], name: str) -> list[str]:
    """Return a column of the images of a fold; empty if an image lacks it."""
    found = [one.strata[name] for one in fold if one.strata is not None and name in one.strata]
    return found if len(found) == len(fold) else []


def _mean(folds: Sequence[Sequence[str]]) -> Cell:
    numbers = [as_numbers([cell for cell in fold if is_given(cell)]) for fold in folds]
    if not numbers or not all(numbers):
        return _UNRECORDED
    if len(numbers) == 1:
        spread = f" ± {stdev(numbers[0]):.1f}" if len(numbers[0]) > 1 else ""
        return f"{fmean(numbers[0]):.1f}{spread}"
    means = [fmean(one) for one in numbers]
    return f"{min(means):.1f} to {max(means):.1f}"


# Name, title, caption, needs and text for screen readers, as `FigureEntry` has them.
FLOW_FIGURE = (
    "flow-{slug}",
    "Flow of images and groups: {task}",
    "From the images of the manifest to the training and test sets, with what was left out and why. Ranges are over the folds. "
    "Groups count in every box in which they have an image. If arms lack features of different images, it is the flow of most "
    "arms; the table has all.",
    "",
    "Flow diagram of {task} from the listed images to training and test sets; the table of the flow has the numbers.",
)

# Name, title, caption, needs and function of each table, as `TableEntry` has them.
PARTICIPANT_TABLES: tuple[tuple[str, str, str, str, Callable[..., Filled]], ...] = (
    (
        "flow-{slug}",
        "Flow of images and groups: {task}",
        "From the images of the manifest to the training and test sets. Groups (patients, cases or lesions) count in every "
        "box in which they have an image, so that they need not add up.",
        "",
        _flow,
    ),
    (
        "characteristics-{slug}",
        "Characteristics of training and test sets: {task}",
        "Table 1 of a paper. Counts are of images, with their percentage of the part; numbers are mean ± standard deviation. "
        "All: images of training or test sets, each counted once. Columns are those of the manifest. No p values: the parts "
        "were made by the protocol.",
        "",
        _characteristics,
    ),
)
