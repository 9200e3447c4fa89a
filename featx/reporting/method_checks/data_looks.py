"""Checks of the data: leakage, groups, images left out, folds, and external test sets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from featx.data import first_picture
from featx.errors import listing
from featx.external import OVERLAP_KINDS
from featx.reporting.series import Series, train_groups, train_size
from featx.reporting.summary import Summary
from featx.runs import Prediction
from featx.stats import partition_warnings

from .outcomes import Look, named, outside

__all__ = [
    "external_missing",
    "external_overlap",
    "external_same",
    "has_several_arms",
    "has_svms",
    "images_left_out",
    "no_groups",
    "repeated_tests",
    "shared_groups",
    "shared_images",
    "undefined_folds",
]

MOST_LEFT_OUT = 0.05
_MOST_SHOWN = 3


def has_svms(summary: Summary) -> bool:
    """Tell whether runs of `featx train-svm` are among them, which record what training had to be warned of."""
    return any(run.record.kind == "svm" for run in summary.runs)


def has_several_arms(summary: Summary) -> bool:
    """Tell whether a task has several arms."""
    settings = [series.setting for series in summary.series]
    return len(set(settings)) < len(settings)


def shared_images(summary: Summary) -> Iterator[Look]:
    """Look for test images in the training set of their fold."""
    for series in summary.series:
        yield _shared(series, "images", "id")


def shared_groups(summary: Summary) -> Iterator[Look]:
    """Look for groups with images in the training set and in the test set of a fold."""
    for series in summary.series:
        yield _shared(series, "groups", "group")


def _shared(series: Series, what: str, name: str) -> Look:
    """Compare the training set, as the inner scores list it, with the test set."""
    if not all(series.inner):
        return Look(None, named(series), "runs without inner scores do not list their training set")
    found = []
    for run, trained in zip(series.runs, series.inner, strict=True):
        known = _values(trained, name)
        both = sorted(known & _values(run.predictions, name))
        if both:
            found.append(f"fold {run.record.fold}: {len(both)} {what} ({listing(both, _MOST_SHOWN)})")
    return Look(not found, named(series), listing(found, _MOST_SHOWN))


def _values(rows: tuple[Prediction, ...], name: str) -> set[str]:
    return {getattr(row, name) for row in rows}


def no_groups(summary: Summary) -> Iterator[Look]:
    """Look for data without groups, by what the runs say and by ids that look like further images of a lesion."""
    for series in summary.series:
        rows = [row for run in series.runs for row in run.predictions]
        record = series.runs[0].record
        if any("no column 'group'" in text for run in series.runs for text in run.record.warnings):
            yield Look(False, named(series), "the manifest has no column 'group'")
        elif any(row.id != row.group for row in rows) or train_groups(record) != train_size(record):
            yield Look(True, named(series))
        else:
            ids = {row.id for row in rows}
            pairs = sorted(name for name in ids if (first := first_picture(name)) != name and first in ids)
            text = f"every image is its own group, but {len(pairs)} ids name further images of a lesion ({listing(pairs, 3)})"
            yield Look(not pairs, named(series), text if pairs else "")


def images_left_out(summary: Summary) -> Iterator[Look]:
    """Look at the fraction of images without features, which could not be decoded or were not extracted."""
    for series in summary.series:
        counts = series.runs[0].record.counts
        out, parts = counts.get("left_out"), [counts.get(part) for part in ("train", "test")]
        if out is None or not all(isinstance(part, dict) for part in parts):
            yield Look(None, named(series), "the runs do not count images that were left out")
            continue
        total = out + sum(sum(part.values()) for part in parts if part)
        fraction = out / total if total else 0.0
        text = f"{out} of {total} images ({fraction * 100:.1f} %) were left out"
        yield Look(fraction <= MOST_LEFT_OUT, named(series), text)


def repeated_tests(summary: Summary) -> Iterator[Look]:
    """Look for folds with the same test images."""
    for series in summary.series:
        told = [text for run in series.runs for text in run.record.warnings if _equal_folds(text)]
        found = [*partition_warnings(series.scores), *dict.fromkeys(told)]
        yield Look(not found, named(series), "; ".join(found))


def _equal_folds(text: str) -> bool:
    return text.startswith("folds ") and text.endswith(" are equal")


def undefined_folds(summary: Summary) -> Iterator[Look]:
    """Look for test sets that lack a class."""
    for item in summary.overall:
        spread = item.spread
        text = f"{spread.undefined} of {spread.n + spread.undefined} folds have no AUC"
        yield Look(not spread.undefined, named(item.series), text if spread.undefined else "")


def external_same(summary: Summary) -> Iterator[Look]:
    """Look for external test sets that are, or share images with, the data that the arm was trained and tested on."""
    for arm in summary.external:
        run = arm.internal.runs[0]
        equal = arm.record.manifest.get("digest") == run.record.manifest.get("digest")
        own = arm.record.overlap.get("own_names")
        here = {row.id for one in arm.internal.runs for row in one.predictions}
        both = sorted(here & {row.id for row in arm.tested.runs[0].predictions}) if not own else []
        text = "it has the manifest of the internal data" if equal else ""
        text = text or (f"{len(both)} images are internal test images ({listing(both, 3)})" if both else "")
        yield Look(not text, outside(arm), text)
    if not summary.external:
        yield Look(None, text="no external test set was scored")


def external_overlap(summary: Summary) -> Iterator[Look]:
    """Look at external images that overlap with the training data, and at what was not compared."""
    for arm in summary.external:
        overlap = arm.record.overlap
        out = overlap.get("left_out") or {}
        kinds = [f"{count} {OVERLAP_KINDS[kind]}" for kind, count in (overlap.get("kinds") or {}).items()]
        found = [f"{len(out)} images were left out ({listing(kinds)})"] if out else []
        found += ["ids and groups were not compared (--own-names)"] if overlap.get("own_names") else []
        yield Look(not found, outside(arm), "; ".join(found))
    if not summary.external:
        yield Look(None, text="no external test set was scored")


def external_missing(summary: Summary) -> Iterator[Look]:
    """Look for tasks without an external test set."""
    tested = {arm.internal.setting for arm in summary.external}
    for (task, _), several in groupby(summary.series, key=lambda one: one.setting):
        yield Look(any(one.setting in tested for one in several), task, "no external test set was scored")
