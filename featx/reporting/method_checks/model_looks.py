"""Checks of training and evaluation: events, search for C, convergence, intervals, comparisons, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from featx.reporting.arm_facts import searches_of, width_of
from featx.reporting.series import train_groups, train_size
from featx.reporting.summary import Summary, main_class
from featx.runs import RunRecord
from featx.stats import Estimate, FoldScores, FoldSummary, fit_recalibration

from .outcomes import Look, named, outside

__all__ = [
    "calibration_missing",
    "events_per_variable",
    "few_events",
    "grid_boundary",
    "has_probabilities",
    "inner_groups",
    "miscalibrated",
    "missing_intervals",
    "not_converged",
    "single_training",
    "unplanned_arms",
    "very_few_events",
    "weighted_classes",
]

FEWEST_PER_VARIABLE = 10
FEWEST, FEW = 10, 100
MOST_ARMS = 2


def events_per_variable(summary: Summary) -> Iterator[Look]:
    """Look at the training images of the smaller class for each feature."""
    for series in summary.series:
        record = series.runs[0].record
        part, width = record.counts.get("train"), width_of(record)
        if not part or width is None:
            yield Look(None, named(series), "the runs do not tell the number of features")
            continue
        ratio = min(part.values()) / width
        text = f"{min(part.values())} images of the smaller class for {width} features, {ratio:.2g} each"
        yield Look(ratio >= FEWEST_PER_VARIABLE, named(series), text)


def grid_boundary(summary: Summary) -> Iterator[Look]:
    """Look for choices of C at the boundary of the grid."""
    for series in summary.series:
        found = [one for run in series.runs for one in searches_of(run.record)]
        if not found:
            yield Look(None, named(series), "the runs have no search for C")
            continue
        ends = [one.edge for one in found if one.edge]
        text = (
            f"{len(ends)} of {len(found)} choices ({', '.join(sorted(set(ends)))} boundary)" if ends else ""
        )
        yield Look(not ends, named(series), text)


def not_converged(summary: Summary) -> Iterator[Look]:
    """Look for fits above the tolerance of the solver."""
    for series in summary.series:
        counts = [run.record.convergence for run in series.runs]
        if not all("not_converged" in one for one in counts):
            yield Look(None, named(series), "the runs do not measure convergence")
            continue
        odd, fits = (sum(one.get(name, 0) for one in counts) for name in ("not_converged", "fits"))
        yield Look(not odd, named(series), f"{odd} of {fits} fits" if odd else "")


def inner_groups(summary: Summary) -> Iterator[Look]:
    """Look for inner splits that ignore groups of several images."""
    for series in summary.series:
        record = series.runs[0].record
        inner, groups = record.settings.get("inner"), train_groups(record)
        if inner is None or groups is None:
            yield Look(None, named(series), "the runs do not tell their inner splits")
            continue
        odd = inner == "stratified" and groups != train_size(record)
        text = f"{train_size(record)} training images of {groups} groups are split by image" if odd else ""
        yield Look(not odd, named(series), text)


def single_training(summary: Summary) -> Iterator[Look]:
    """Look for arms that were trained once: with one training set and one seed."""
    for series in summary.series:
        alone = len(series.runs) == 1
        text = f"one training set with the seed {series.runs[0].record.seed}" if alone else ""
        yield Look(not alone, named(series), text)


def very_few_events(summary: Summary) -> Iterator[Look]:
    """Look for test sets with so few independent cases of a class that no interval can be believed."""
    return _fewer(summary, FEWEST)


def few_events(summary: Summary) -> Iterator[Look]:
    """Look for test sets with few independent cases of a class."""
    return _fewer(summary, FEW)


def _fewer(summary: Summary, least: int) -> Iterator[Look]:
    tested = [(named(one), one.scores, one) for one in summary.series]
    tested += [(outside(one), one.tested.scores, one.internal) for one in summary.external]
    for where, scores, series in tested:
        count = _fewest(scores, max(2, len(series.scored)))
        yield Look(count >= least, where, f"{count} independent test cases of the rarest class")


def _fewest(folds: Sequence[FoldScores], classes: int) -> int:
    """Count the groups of the rarest class; a group that several folds test counts once."""
    units: dict[int, set[str]] = {place: set() for place in range(classes)}
    for fold in folds:
        for group, place in zip(fold.groups, fold.actual.tolist(), strict=True):
            units[place].add(group)
    return min(map(len, units.values()))


def missing_intervals(summary: Summary) -> Iterator[Look]:
    """Look for AUCs without a confidence interval."""
    found = [(named(item.series), item.spread) for item in summary.overall]
    found += [
        (outside(arm), tested.over_models)
        for arm, _, tested in summary.external_measures
        if tested.scored == main_class(arm.internal)
    ]
    for where, total in found:
        yield Look(bool(np.isfinite(total.low)), where, _reason(total))


def _reason(total: FoldSummary) -> str:
    if np.isfinite(total.low):
        return ""
    return "; ".join(total.warnings) or "the protocol allows no interval"


def unplanned_arms(summary: Summary) -> Iterator[Look]:
    """Look for tasks with several arms of which no comparison was planned: the best is chosen on the test sets."""
    for setting in summary.settings:
        arms = [one for one in summary.series if one.setting == setting]
        compared = summary.comparisons.get(setting)
        planned = compared is not None and any(pair.planned for pair in compared.pairs)
        text = f"{len(arms)} arms were scored on the same test sets, and no comparison was planned"
        odd = len(arms) > MOST_ARMS and not planned
        yield Look(not odd, setting[0], text if odd else "")


def has_probabilities(summary: Summary) -> bool:
    """Tell whether an arm has predicted probabilities."""
    return any(series.calibrated for series in summary.series)


def calibration_missing(summary: Summary) -> Iterator[Look]:
    """Look for arms without predicted probabilities, whose calibration nobody can assess."""
    for series in summary.series:
        yield Look(
            series.calibrated, named(series), "" if series.calibrated else "no predicted probabilities"
        )


def weighted_classes(summary: Summary) -> Iterator[Look]:
    """Look for scores of weighted or resampled classes that were not recalibrated to the prevalence."""
    for series in summary.series:
        record = series.runs[0].record
        name = "class_weight" if record.kind == "svm" else "balance"
        weights = record.settings.get(name)
        if weights is None:
            yield Look(None, named(series), "the runs do not tell the weights of classes")
            continue
        odd = weights != "none" and not series.calibrated
        text = f"{name.replace('_', ' ')} {weights} at a training prevalence of {_prevalence(record)}"
        yield Look(not odd, named(series), text if odd else "")


def _prevalence(record: RunRecord) -> str:
    part = record.counts.get("train") or {}
    total = sum(part.values())
    return f"{min(part.values()) / total * 100:.0f} %" if total else "unknown size"


def miscalibrated(summary: Summary) -> Iterator[Look]:
    """Look for probabilities whose calibration slope, or observed over expected positives, differs from 1."""
    for series in summary.series:
        if not series.calibrated:
            yield Look(None, named(series), "no predicted probabilities")
            continue
        for name in series.scored:
            actual, values, _, groups = series.probabilities(name)
            found = fit_recalibration(actual, values, groups=groups)
            off = [
                f"{what} {one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
                for what, one in (("slope", found.slope), ("O:E", found.observed_expected))
                if _excludes(one, 1.0)
            ]
            yield Look(not off, f"{named(series)}, {name}", ", ".join(off))


def _excludes(found: Estimate, value: float) -> bool:
    return bool(np.isfinite(found.low)) and not found.low <= value <= found.high
