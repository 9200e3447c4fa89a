"""Tables of robustness: AUC and decisions at fixed thresholds on corrupted test images, beside the images as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np

from featx.external import CorruptedScores, corrupted_scores
from featx.reporting.series import Series
from featx.reporting.summary import Summary
from featx.reporting.tables import Cell, Column, Filled, Table
from featx.runs import Run
from featx.stats import Comparison, compare_pair, count_images, paired_difference

from .columns import CLASS, NOTE, PLACE, bounded, place
from .performance import THRESHOLD, fixed_cuts

__all__ = [
    "ROBUSTNESS_NEED",
    "ROBUSTNESS_TABLES",
    "CorruptionDrop",
    "corruption_drops",
    "drop_table",
    "drops_of",
]

ROBUSTNESS_NEED = "`featx robustness`"


@dataclass(frozen=True, eq=False)
class CorruptionDrop:
    """An arm on its test images before and after a corruption.

    Attributes
    ----------
    corruption : str
        Name of the corruption.
    severity : int
        1 to 5.
    parameters : mapping of str to float
        Its parameters at this severity.
    clean, corrupted : Series
        The folds that scored the corrupted images, with their predictions of these images before and after.
    comparison : Comparison
        AUC after minus AUC before, by the test that fits the protocol.
    warnings : tuple of str
        Folds that lack the corruption, few images or groups.
    """

    corruption: str
    severity: int
    parameters: Mapping[str, float]
    clean: Series
    corrupted: Series
    comparison: Comparison
    warnings: tuple[str, ...]


def corruption_drops(series: Sequence[Series]) -> tuple[CorruptionDrop, ...]:
    """Compare the scores of corrupted test images with those of the images as they are.

    Parameters
    ----------
    series : sequence of Series
        Arms; those whose runs have no scores of corrupted images are left out.

    Returns
    -------
    tuple of CorruptionDrop
        By arm, corruption and severity.

    Raises
    ------
    RunError
        If a file of the scores is damaged.
    """
    made = []
    for item in series:
        found: dict[tuple[str, int], list[tuple[Run, CorruptedScores]]] = {}
        for run in item.runs:
            for one in corrupted_scores(run):
                found.setdefault((one.record.name, one.record.severity), []).append((run, one))
        made += [_drop(item, found[key]) for key in sorted(found)]
    return tuple(made)


def _drop(series: Series, found: Sequence[tuple[Run, CorruptedScores]]) -> CorruptionDrop:
    before, after = [], []
    for run, one in found:
        recorded = {row.id: row for row in run.predictions}
        after.append(replace(run, predictions=one.predictions))
        before.append(replace(run, predictions=tuple(recorded[row.id] for row in one.predictions)))
    clean, corrupted = (replace(series, runs=tuple(runs)) for runs in (before, after))
    record = found[0][1].record
    # The tests of 5x2 alone are for two trainings; here each fold has one.
    pair = compare_pair(corrupted.scores, clean.scores, names=("corrupted", "clean"))
    lacking = [f"scored by {len(found)} of {len(series.runs)} folds"] * (len(found) < len(series.runs))
    return CorruptionDrop(
        record.name,
        record.severity,
        record.corruption["parameters"],
        clean,
        corrupted,
        pair,
        (*lacking, *pair.finding.warnings),
    )


# The tables and the figures have the drops of one summary in common.
_DROPS: WeakKeyDictionary[Summary, tuple[CorruptionDrop, ...]] = WeakKeyDictionary()


def drops_of(summary: Summary) -> tuple[CorruptionDrop, ...]:
    """Return the drops of a report's arms."""
    if summary not in _DROPS:
        _DROPS[summary] = corruption_drops(summary.series)
    return _DROPS[summary]


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
