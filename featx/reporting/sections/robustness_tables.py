"""Tables of robustness: AUC and decisions at fixed thresholds on corrupted test images, beside the images as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from featx.reporting.robustness_drops import ROBUSTNESS_NEED, CorruptionDrop, drops_of
from featx.reporting.summary import Summary
from featx.reporting.tables import Cell, Column, Filled, Table
from featx.stats import count_images, paired_difference

from .columns import CLASS, NOTE, PLACE, bounded, place
from .performance import THRESHOLD, fixed_cuts

__all__ = ["ROBUSTNESS_TABLES", "drop_table"]

_WHAT = (
    *PLACE,
    Column("corruption", "Corruption", text=True),
    Column("severity", "Severity"),
)


def _what(one: CorruptionDrop) -> tuple[Cell, ...]:
    return *place(one.clean), one.corruption, one.severity


def _filled(drops: Sequence[CorruptionDrop]) -> Filled:
    rows: list[tuple[Cell, ...]] = []
    for one in drops:
        after, before = one.comparison.values
        finding = one.comparison.finding
        images, positives = count_images(one.clean.scores)
        parameters = ", ".join(f"{name} {value:.3g}" for name, value in one.parameters.items())
        cells = (before, after, after - before, finding.low, finding.high)
        counts = (len(one.comparison.folds), images, positives)
        rows.append((*_what(one), parameters, *cells, *counts, "; ".join(one.warnings) or None))
    columns = (
        *(*_WHAT, Column("parameters", "Parameters", text=True)),
        *(Column("clean", "AUC, clean"), Column("corrupted", "AUC, corrupted")),
        *bounded("difference", "Difference"),
        *(Column("folds", "Folds"), Column("images", "Images"), Column("positives", "Positives")),
        NOTE,
    )
    return Filled(columns, rows)


def drop_table(drops: Sequence[CorruptionDrop]) -> Table:
    """Make the table of AUCs before and after each corruption."""
    name, title, note, *_ = ROBUSTNESS_TABLES[0]
    found = _filled(drops)
    return Table(name, title, note, found.columns, tuple(found.rows))


def _areas(summary: Summary) -> Filled:
    return _filled(drops_of(summary))


def _decisions(summary: Summary) -> Filled:
    """Fill the table of sensitivity and specificity at the thresholds that were fixed on the training sets."""
    rows: list[tuple[Cell, ...]] = []
    for one in drops_of(summary):
        for name in one.clean.scored:
            fixed = [fixed_cuts(inner, name) for inner in one.clean.inner]
            for rule in fixed[0]:
                cells = _rates(one, name, [cuts[rule] for cuts in fixed])
                rows += [(*_what(one), name, rule, *cells)] if cells else []
    columns = (
        *(*_WHAT, CLASS, THRESHOLD),
        *(
            column
            for rate in ("sensitivity", "specificity")
            for column in (
                Column(f"{rate} clean", f"{rate.capitalize()}, clean"),
                Column(f"{rate} corrupted", f"{rate.capitalize()}, corrupted"),
                *bounded(f"{rate} difference", "Difference"),
                Column(f"{rate} rows", "Positives" if rate == "sensitivity" else "Negatives"),
            )
        ),
    )
    return Filled(columns, rows)


def _rates(one: CorruptionDrop, name: str, cuts: Sequence[float]) -> tuple[Cell, ...]:
    """Fill both rates of a class at one threshold for each fold; empty where no fold has a threshold."""
    rows = [
        (
            before.scores[name] >= cut,
            after.scores[name] >= cut,
            before.actual == name,
            before.group,
            before.id,
        )
        for cut, here, there in zip(cuts, one.clean.runs, one.corrupted.runs, strict=True)
        if not np.isnan(cut)
        for before, after in zip(here.predictions, there.predictions, strict=True)
    ]
    if not rows:
        return ()
    before, after, actual = (np.array([row[place] for row in rows]) for place in range(3))
    groups = np.array([row[3] for row in rows])
    cells: list[Cell] = []
    for positive in (True, False):
        kept = actual == positive
        hits, later = before[kept] == positive, after[kept] == positive
        shares = (float(hits.mean()), float(later.mean())) if kept.any() else (None, None)
        images = len({row[4] for row, keep in zip(rows, kept, strict=True) if keep})
        cells += [*shares, *paired_difference(hits, later, groups[kept]), images]
    return tuple(cells)


# Name, title, caption, needs and function of each table, as `TableEntry` has them.
ROBUSTNESS_TABLES: tuple[tuple[str, str, str, str, Callable[[Summary], Filled]], ...] = (
    (
        "robustness",
        "AUC on corrupted test images",
        "Synthetic corruptions of the test images at severities 1 to 5 (docs/robustness.md states all parameters); each SVM "
        "scores its own test images before and after. AUC: mean over the folds. Difference: after minus before on the same "
        "images, with a 95 % confidence interval: of several folds the corrected resampled t interval, of one test set "
        "DeLong's, by groups if groups have several images. The intervals are not adjusted for their number.",
        ROBUSTNESS_NEED,
        _areas,
    ),
    (
        "robustness-thresholds",
        "Decisions on corrupted test images",
        "Thresholds are fixed on the training set of each fold, as in the table of fixed thresholds; nothing is adjusted to "
        "corrupted images. Sensitivity and specificity over all folds together. Difference: after minus before of the same "
        "rows, with a 95 % t interval between groups; there is none if no decision or every decision changed. Positives and "
        "negatives are images, each counted once.",
        f"{ROBUSTNESS_NEED}, and inner scores of the training set",
        _decisions,
    ),
)
