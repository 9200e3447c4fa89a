"""Tables of external validation: AUC, calibration, fixed thresholds and subgroups, beside those of the internal test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from featx.errors import listing
from featx.external import OVERLAP_KINDS
from featx.reporting.series import ExternalArm, Series
from featx.reporting.summary import MACRO, Measure, Summary, by_level
from featx.reporting.tables import Cell, Column, Filled
from featx.stats import Estimate, independent_difference

from .columns import CLASS, NOTE, PLACE, bounded, note, place
from .performance import (
    CALIBRATION,
    DECISIONS,
    THRESHOLD,
    calibration_cells,
    decision_cells,
    decisions,
)

__all__ = ["EXTERNAL_NEED", "EXTERNAL_TABLES"]

_SET = Column("set", "External set", text=True)
_TESTED = Column("tested", "Test set", text=True)
_INTERNAL = "internal"
_SIDES = (
    *bounded("internal", "Internal AUC"),
    *bounded("external", "External AUC"),
    *bounded("difference", "Difference"),
    *(Column("internal images", "Internal images"), Column("internal positives", "Internal positives")),
    *(Column("external images", "External images"), Column("external positives", "External positives")),
)
_MOST_NAMES = 12


def _main(summary: Summary) -> Filled:
    """Fill the main table: internal and external AUC of each arm, external set and scored class."""
    rows = []
    for arm, inside, outside in summary.external_measures:
        total, groups = outside.over_models, len(set(outside.scores[0].groups))
        models = (groups, total.sd, len(outside.scores))
        cells = _sides(inside, outside)
        rows.append((*place(arm.internal), arm.name, outside.scored, *cells, *models, *note(total)))
    more = (
        *(Column("groups", "External groups"), Column("sd", "SD over models"), Column("models", "Models")),
        NOTE,
    )
    several = any(len(arm.internal.scored) > 1 for arm in summary.external)
    words = f"{MACRO.capitalize()}: the positives are those of the rarest class." * several
    return Filled((*PLACE, _SET, CLASS, *_SIDES, *more), rows, words)


def _sides(inside: Measure, outside: Measure) -> tuple[Cell, ...]:
    total = outside.over_models
    here = Estimate(inside.spread.mean, inside.spread.low, inside.spread.high)
    there = Estimate(total.mean, total.low, total.high)
    return (*here, *there, *independent_difference(there, here), *inside.distinct, *outside.distinct)


def _strata(summary: Summary) -> Filled:
    """Fill the table of internal and external AUC at each value of the columns that both test sets have."""
    rows = []
    for arm in summary.external:
        for column in summary.columns:
            inside = {
                item.level: item
                for item in summary.strata
                if item.series is arm.internal and item.stratum == column.name
            }
            for item in by_level(arm.tested, column):
                if item.level in inside:
                    cells = (*_sides(inside[item.level], item), *note(item.over_models))
                    rows.append((*place(arm.internal), arm.name, column.name, item.level, *cells))
    level = (Column("stratum", "Column", text=True), Column("level", "Value", text=True))
    return Filled((*PLACE, _SET, *level, *_SIDES, NOTE), rows)


def _both(summary: Summary) -> Iterator[tuple[ExternalArm, str, Series]]:
    """Yield each arm on its internal test sets and on each external one."""
    for arm in summary.external:
        yield arm, _INTERNAL, arm.internal
        yield arm, arm.name, arm.tested


def _calibration(summary: Summary) -> Filled:
    """Fill the table of calibration on internal and external test sets."""
    found = [
        (arm, tested, name, *calibration_cells(series, name))
        for arm, tested, series in _once(summary)
        if series.calibrated
        for name in series.scored
    ]
    rows = [(*place(arm.internal), tested, name, *cells) for arm, tested, name, cells, _ in found]
    more = " ".join(
        f"{arm.internal.arm}, {tested}, {name}: {text}."
        for arm, tested, name, _, texts in found
        for text in texts
    )
    return Filled((*PLACE, _TESTED, CLASS, *CALIBRATION), rows, more)


def _once(summary: Summary) -> Iterator[tuple[ExternalArm, str, Series]]:
    """Yield as `_both`, an arm with several external sets once on its internal test sets."""
    seen = set()
    for arm, tested, series in _both(summary):
        key = (place(arm.internal), tested)
        if key not in seen:
            seen.add(key)
            yield arm, tested, series


def _thresholds(summary: Summary) -> Filled:
    """Fill the table of decisions at thresholds that were fixed on the training sets."""
    rows = [
        (*place(arm.internal), tested, name, rule, *decision_cells(series, found))
        for arm, tested, series in _once(summary)
        for _, name, rule, found in decisions(summary, series)
    ]
    return Filled((*PLACE, _TESTED, CLASS, THRESHOLD, *DECISIONS), rows)


def _left_out(summary: Summary) -> Filled:
    """Fill the table of external images that were left out."""
    rows: list[tuple[Cell, ...]] = []
    for arm in summary.external:
        left_out = arm.record.overlap["left_out"]
        kinds = arm.record.overlap["kinds"]
        for kind, count in ((kind, kinds[kind]) for kind in OVERLAP_KINDS if kind in kinds):
            names = [name for name, kinds in left_out.items() if kind in kinds]
            rows.append(
                (*place(arm.internal), arm.name, OVERLAP_KINDS[kind], count, listing(names, _MOST_NAMES))
            )
        told = (("without features", "left_out"), ("without a class in the task", "excluded"))
        rows += [
            (*place(arm.internal), arm.name, words, arm.record.counts[key], None)
            for words, key in told
            if arm.record.counts[key]
        ]
    columns = (
        Column("reason", "Reason", text=True),
        Column("images", "Images"),
        Column("ids", "Ids", text=True),
    )
    return Filled((*PLACE, _SET, *columns), rows)


EXTERNAL_NEED = "`featx train-svm --test`"

# Name, title, caption, needs and function of each table, as `TableEntry` has them.
EXTERNAL_TABLES: tuple[tuple[str, str, str, str, Callable[[Summary], Filled]], ...] = (
    (
        "external",
        "Internal and external AUC",
        "Internal: as in the table of AUCs. External: mean over the models of the folds, each of which scored all "
        "external images. Its 95 % confidence interval is DeLong's for the mean of the models, clustered by group, "
        "on the logit scale; it is for these models and new patients. SD: over the models, for the choice of the "
        "training set. Difference: external minus internal, with the interval of two independent estimates "
        "(Newcombe 1998; Zou & Donner 2008). There is no external AUC if a class has no external image.",
        EXTERNAL_NEED,
        _main,
    ),
    (
        "external-thresholds",
        "Decisions at fixed thresholds, internal and external",
        "Thresholds are fixed on the training set of each fold, as in the table of fixed thresholds; nothing is "
        "adjusted to the external set. Intervals: Wilson's over all models together; an image that several models "
        "score, and images of one group, do not count as independent. TP, FN, FP and TN are summed over the models.",
        EXTERNAL_NEED,
        _thresholds,
    ),
    (
        "external-calibration",
        "Calibration, internal and external",
        "Columns are those of the table of calibration. The calibration curves are fitted on the training set of each "
        "fold; nothing is adjusted to the external set.",
        "`featx train-svm --test --calibrate`",
        _calibration,
    ),
    (
        "external-strata",
        "Internal and external AUC by subgroup",
        "As the table of internal and external AUC, for the values that a column has in both. Bins of numbers are those "
        "of the internal test sets.",
        "`featx train-svm --test`, and a column that both manifests have",
        _strata,
    ),
    (
        "external-overlap",
        "External images left out",
        "Images that overlap with the training data count under each kind of overlap that they have; external.json in "
        "the folder of each run lists all of them.",
        "`featx train-svm --test --overlap drop`, or images without features or class",
        _left_out,
    ),
)
