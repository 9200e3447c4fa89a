"""Participants: what a data set loses on its way to the folds, and the images of each part with their columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from featx.data import TRAINING_SET, Manifest, training_set
from featx.digest import canonical
from featx.errors import listing
from featx.external import OVERLAP_KINDS
from featx.runs import Prediction, Run

from .series import ExternalArm, Series, scored_by_group

__all__ = [
    "KEPT",
    "OUT",
    "PART",
    "SET",
    "Flow",
    "FlowBox",
    "FlowSizes",
    "PartImage",
    "Span",
    "class_columns",
    "flows",
    "parts_of",
]

# Kinds of boxes: images that go on, images left out, parts of the folds, external test sets.
KEPT, OUT, PART, SET = "kept", "out", "part", "set"
_MOST_LABELS = 6


class Reported(Protocol):
    """What a report is made of, as far as participants are concerned."""

    @property
    def series(self) -> tuple[Series, ...]:
        """Arms on their tasks."""

    @property
    def external(self) -> tuple[ExternalArm, ...]:
        """Arms on external test sets."""

    @property
    def manifest(self) -> Manifest | None:
        """The manifest of the runs, where it was given."""


@dataclass(frozen=True)
class Span:
    """Smallest and largest count over the folds.

    Examples
    --------
    >>> str(Span(10, 10)), str(Span(9, 1200))
    ('10', '9 to 1,200')
    """

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"


@dataclass(frozen=True)
class FlowSizes:
    """Images and groups of a box; None for what the runs did not record.

    Attributes
    ----------
    images, groups : Span or None
        Of the whole box. Groups are those with an image in it.
    classes : mapping of str to (Span or None, Span or None)
        Class to its images, and groups with an image of it; empty where classes are unknown.
    """

    images: Span | None = None
    groups: Span | None = None
    classes: Mapping[str, tuple[Span | None, Span | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class FlowBox:
    """A box of a flow diagram: its kind, title, details and sizes."""

    kind: str
    title: str
    detail: str
    sizes: FlowSizes


@dataclass(frozen=True)
class Flow:
    """The way of the images into training and test sets.

    Attributes
    ----------
    arms : tuple of str
        Arms that share it.
    folds : int
        Number of folds that the sizes of the parts are a range over.
    recorded : bool
        Whether the runs recorded what was listed and left out; runs of earlier versions did not.
    grouped : bool
        Whether images have groups (patients, cases or lesions); else each image is one.
    boxes : tuple of FlowBox
        In order.
    """

    arms: tuple[str, ...]
    folds: int
    recorded: bool
    grouped: bool
    boxes: tuple[FlowBox, ...]


@dataclass(frozen=True)
class PartImage:
    """An image of a part: id, class, group, and its columns; None where they were not recorded."""

    id: str
    actual: str
    group: str
    strata: Mapping[str, str] | None


def class_columns(summary: Reported, setting: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Name the classes whose images are counted: the positive one of two, else all; with their words."""
    series = next(one for one in summary.series if one.setting == setting)
    if len(series.scored) == 1:
        return ((series.scored[0], "positive"),)
    return tuple((name, name) for name in series.classes)


# Reading the lists of training sets takes most of the time, and several tables need them.
_KNOWN: WeakKeyDictionary[Reported, dict[tuple[str, str], tuple[Flow, ...]]] = WeakKeyDictionary()
_PARTS: WeakKeyDictionary[Reported, dict[tuple[str, str], dict[str, list[list[PartImage]]]]] = (
    WeakKeyDictionary()
)


def flows(summary: Reported, setting: tuple[str, str]) -> tuple[Flow, ...]:
    """Return the flows of a task's arms, that of most arms first; arms with equal counts share one."""
    known = _KNOWN.setdefault(summary, {})
    if setting not in known:
        known[setting] = _flows(summary, setting)
    return known[setting]


def _flows(summary: Reported, setting: tuple[str, str]) -> tuple[Flow, ...]:
    made: dict[str, list[Series]] = {}
    for series in (one for one in summary.series if one.setting == setting):
        made.setdefault(_counted(series), []).append(series)
    outside = {one.name: one for one in summary.external if one.internal.setting == setting}
    found = [_flow(several, outside.values()) for several in made.values()]
    return tuple(sorted(found, key=lambda flow: -len(flow.arms)))


def _counted(series: Series) -> str:
    """Return what decides the flow of an arm, without reading its training sets."""
    records = [(run.record, (run.path / TRAINING_SET).is_file()) for run in series.runs]
    kept = ("train", "validation", "test", "groups", "left_out", "excluded", "flow")
    told = [
        (one.fold, one.folds_digest, scored_by_group(one), listed, {key: one.counts.get(key) for key in kept})
        for one, listed in records
    ]
    return json.dumps(canonical(told), sort_keys=True)


def _flow(several: Sequence[Series], outside: Iterable[ExternalArm]) -> Flow:
    runs = several[0].runs
    told: Mapping[str, Any] = runs[0].record.counts.get("flow", {})
    parts = {name: [_part(run, name) for run in runs] for name in ("train", "validation", "test")}
    grouped = told["grouped"] if told else any(row.group != row.id for run in runs for row in run.predictions)
    boxes = [*(_recorded(told) if told else _unrecorded(runs[0])), *_neither(told, parts)]
    titles = {"train": "Training set", "validation": "Validation set", "test": "Test set"}
    boxes += [
        FlowBox(PART, titles[name], "", _over(sizes))
        for name, sizes in parts.items()
        if name != "validation" or any(one.images and one.images.high for one in sizes)
    ]
    boxes += [box for one in outside for box in _external(one)]
    arms = tuple(dict.fromkeys(series.arm for series in several))
    return Flow(arms, len(runs), bool(told), grouped, tuple(boxes))


def _sizes(told: Mapping[str, Any]) -> FlowSizes:
    classes = told.get("classes", {})
    return FlowSizes(
        _one(told["images"]),
        _one(told["groups"]),
        {name: (_one(item["images"]), _one(item["groups"])) for name, item in classes.items()},
    )


def _one(count: int) -> Span:
    return Span(count, count)


def _recorded(told: Mapping[str, Any]) -> list[FlowBox]:
    outside, lacking = told["no_class"], told["no_features"]
    boxes = [FlowBox(KEPT, "Images listed", "in the manifest", _sizes(told["listed"]))]
    if outside["images"]:
        labels = [f"{label} ({count:,})" for label, count in outside["labels"]]
        boxes.append(
            FlowBox(OUT, "Label without a class in the task", listing(labels, _MOST_LABELS), _sizes(outside))
        )
    boxes.append(FlowBox(KEPT, "Images of the task", "", _sizes(told["task"])))
    if lacking["images"]:
        reasons = {
            "failed in extraction": lacking["failed"],
            "file changed since extraction": lacking["changed"],
        }
        detail = ", ".join(f"{count:,} {text}" for text, count in reasons.items() if count)
        boxes.append(FlowBox(OUT, "Without features", detail, _sizes(lacking)))
    return boxes


def _unrecorded(run: Run) -> list[FlowBox]:
    """Make the boxes of a run of an earlier version, which recorded at most two numbers."""
    counts = run.record.counts
    reasons = {"excluded": "Label without a class in the task", "left_out": "Without features"}
    out = [
        FlowBox(OUT, title, "", FlowSizes(_one(counts[key]) if key in counts else None))
        for key, title in reasons.items()
        if counts.get(key) != 0
    ]
    return [FlowBox(KEPT, "Images listed", "in the manifest", FlowSizes()), *out]


def _neither(told: Mapping[str, Any], parts: Mapping[str, Sequence[FlowSizes]]) -> list[FlowBox]:
    """Make the box of images with features that a fold neither trains on nor tests."""
    if not told:
        return []
    usable = told["task"]["images"] - told["no_features"]["images"]
    used = [
        [one.images.high if one.images else 0 for one in sizes] for sizes in zip(*parts.values(), strict=True)
    ]
    rest = [usable - sum(images) for images in used]
    if not any(rest):
        return []
    sizes = FlowSizes(Span(min(rest), max(rest)))
    return [FlowBox(OUT, "In neither part of the fold", "by the protocol or its fold file", sizes)]


def _part(run: Run, part: str) -> FlowSizes:
    """Count the images of a part of a run's fold: by its list where there is one, else as recorded."""
    counted = run.record.counts.get(part)
    groups = run.record.counts.get("groups", {}).get(part)
    images = None if counted is None else {name: counted.get(name, 0) for name in run.record.classes}
    rows = [(image.actual, image.group) for image in _trained_on(run)] if part == "train" else []
    pooled = part == "test" and scored_by_group(run.record)
    if part == "test":
        rows = [(row.actual, row.group) for row in run.predictions]
    if rows:
        found = _of_rows(rows, run.record.classes)
        if not pooled:
            return found
        images = images or dict.fromkeys(run.record.classes)
        by_class = {name: (_known(images[name]), found.classes[name][1]) for name in run.record.classes}
        return FlowSizes(_total(images), found.groups, by_class)
    if images is None:
        return FlowSizes(_one(0)) if part == "validation" else FlowSizes()
    return FlowSizes(_total(images), _known(groups), {name: (_known(n), None) for name, n in images.items()})


def _known(count: int | None) -> Span | None:
    return None if count is None else _one(count)


def _total(images: Mapping[str, int | None]) -> Span | None:
    counts = [count for count in images.values() if count is not None]
    return _one(sum(counts)) if len(counts) == len(images) else None


def _of_rows(rows: Sequence[tuple[str, str]], classes: Sequence[str]) -> FlowSizes:
    by_class = {name: [group for actual, group in rows if actual == name] for name in classes}
    return FlowSizes(
        _one(len(rows)),
        _one(len({group for _, group in rows})),
        {name: (_one(len(groups)), _one(len(set(groups)))) for name, groups in by_class.items()},
    )


def _trained_on(run: Run) -> list[PartImage]:
    """Read the list of a run's training set, with the classes as reports name them."""
    return [
        PartImage(one.id, run.names.get(one.actual, one.actual), one.group, one.strata or None)
        for one in training_set(run)
    ]


def _over(folds: Sequence[FlowSizes]) -> FlowSizes:
    """Return the range of the folds' sizes; what a fold does not know is unknown."""
    classes = folds[0].classes
    return FlowSizes(
        _range([one.images for one in folds]),
        _range([one.groups for one in folds]),
        {
            name: (
                _range([one.classes.get(name, (None, None))[0] for one in folds]),
                _range([one.classes.get(name, (None, None))[1] for one in folds]),
            )
            for name in classes
        },
    )


def _range(spans: Sequence[Span | None]) -> Span | None:
    known = [one for one in spans if one is not None]
    if len(known) < len(spans):
        return None
    return Span(min(one.low for one in known), max(one.high for one in known))


def _external(arm: ExternalArm) -> list[FlowBox]:
    """Make the boxes of an external test set: what was left out and why, and what was scored."""
    record, run = arm.record, arm.tested.runs[0]
    where = f"External test set {arm.name}"
    kinds = [
        f"{OVERLAP_KINDS[kind]} ({record.overlap['kinds'][kind]:,})"
        for kind in OVERLAP_KINDS
        if record.overlap.get("kinds", {}).get(kind)
    ]
    out = (
        ("overlap with the training data", listing(kinds), len(record.overlap.get("left_out", ()))),
        ("label without a class in the task", "", record.counts.get("excluded", 0)),
        ("without features", "", record.counts.get("left_out", 0)),
    )
    boxes = [
        FlowBox(OUT, f"{where}: {title}", detail, FlowSizes(_one(count)))
        for title, detail, count in out
        if count
    ]
    rows = [(row.actual, row.group) for row in run.predictions]
    scored = _of_rows(rows, run.record.classes)
    if scored_by_group(run.record):
        scored = replace(
            scored, images=None, classes={name: (None, n) for name, (_, n) in scored.classes.items()}
        )
    return [*boxes, FlowBox(SET, where, "", scored)]


def parts_of(summary: Reported, setting: tuple[str, str]) -> dict[str, list[list[PartImage]]]:
    """Return the images of training and test set of each fold, and of each external test set, of one arm of a task.

    An arm is taken whose runs list their training sets and score images, not groups, if there is one.

    Returns
    -------
    dict
        ``"Training"`` and ``"Test"`` to a list of images for each fold, empty where they are not recorded; the name of each
        external test set to one list.
    """
    known = _PARTS.setdefault(summary, {})
    if setting not in known:
        known[setting] = _parts_of(summary, setting)
    return known[setting]


def _parts_of(summary: Reported, setting: tuple[str, str]) -> dict[str, list[list[PartImage]]]:
    series = min((one for one in summary.series if one.setting == setting), key=_unlisted)
    rows = {"Training": [_trained_on(run) for run in series.runs]}
    if not _pooled(series):
        rows["Test"] = [list(map(_predicted, run.predictions)) for run in series.runs]
    known = _known_columns(summary, series, rows)
    filled = {
        name: [[replace(one, strata=one.strata or known.get(one.id)) for one in fold] for fold in folds]
        for name, folds in {"Training": [], "Test": [], **rows}.items()
        if all(folds)
    }
    outside = {one.name: one for one in summary.external if one.internal.setting == setting}
    return {"Training": [], "Test": [], **filled} | {
        name: [list(map(_predicted, one.tested.runs[0].predictions))]
        for name, one in outside.items()
        if not _pooled(one.tested)
    }


def _unlisted(series: Series) -> tuple[bool, bool]:
    return not all((run.path / TRAINING_SET).is_file() for run in series.runs), _pooled(series)


def _pooled(series: Series) -> bool:
    return any(scored_by_group(run.record) for run in series.runs)


def _predicted(row: Prediction) -> PartImage:
    return PartImage(row.id, row.actual, row.group, row.strata or None)


def _known_columns(
    summary: Reported, series: Series, rows: Mapping[str, list[list[PartImage]]]
) -> dict[str, Mapping[str, str]]:
    """Map ids to the columns that a manifest, or another part of the same runs, gives them."""
    known: dict[str, Mapping[str, str]] = {}
    manifest = summary.manifest
    if manifest is not None and manifest.digest == series.runs[0].record.manifest.get("digest"):
        columns = list(manifest.strata)
        cells = manifest.table[columns].to_dict("records")
        known |= {
            name: {str(key): str(value) for key, value in row.items()}
            for name, row in zip(manifest.ids, cells, strict=True)
        }
    for one in (one for folds in rows.values() for fold in folds for one in fold):
        if one.strata:
            known[one.id] = one.strata
    return known
