"""Tables of what made the arms: backbones and their cost, training-set sizes, choices of C."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from featx.reporting.arm_facts import SearchFacts, cost_of, origin, searches_of, size_points
from featx.reporting.series import Series
from featx.reporting.summary import Summary
from featx.reporting.tables import Cell, Column, Filled

from .columns import PLACE, SPREAD, place, spread

__all__ = ["SIZES_NEED", "SIZES_TABLE", "backbones", "searches", "training_sizes"]

SIZES_NEED = (
    "an arm trained on training sets of several sizes, or `featx train-svm --train-fraction` or `--shots`"
)


def backbones(summary: Summary) -> Filled | None:
    """Fill the table of each arm's backbone, its cost and its AUC; None if no run names a backbone."""
    costs = [cost_of(item.series) for item in summary.overall]
    if not any(one.backbone for one in costs):
        return None
    rows = [
        (
            *(*place(item.series), *spread(item.spread)),
            *(one.backbone or None, origin(item.series.runs[0].record) or None, one.layer or None),
            *(one.parameters, one.multiply_adds, one.images_per_second),
            one.measured or None,
        )
        for item, one in zip(summary.overall, costs, strict=True)
    ]
    columns = (
        *(*PLACE, *SPREAD),
        *(Column("backbone", "Backbone", text=True), Column("weights", "Weights", text=True)),
        Column("layer", "Layer", text=True),
        Column("parameters", "Parameters (M)", 2, unit=1e6),
        Column("multiply_adds", "Multiply-adds (G)", 3, unit=1e9),
        *(Column("images_per_second", "Images/s", 1), Column("measured", "Measured on", text=True)),
    )
    return Filled(columns, rows)


def training_sizes(summary: Summary) -> Filled:
    """Fill the table of the AUC by training-set size, of arms that were trained on several sizes."""
    rows = [
        (
            *(*place(point.series), point.images, *spread(point.total), point.events),
            *(point.drawn or "whole training set", point.draws or None),
        )
        for several in size_points(summary.series).values()
        for point in several
    ]
    columns = (
        *(*PLACE, Column("images", "Training images"), *SPREAD),
        *(Column("events", "Events"), Column("part", "Part", text=True), Column("draws", "Draws")),
    )
    return Filled(columns, rows)


SIZES_TABLE = (
    "training-sizes",
    "AUC by training-set size",
    "Training images: mean over the folds. Events: those of the positive class (of several classes, of the rarest). Folds "
    "whose sizes differ by at most 10 % are one row. Protocols differ in their test sets, so interpret only large steps "
    "between them. Part: of each training set, drawn by group within each class, smaller parts inside larger ones. Draws of a "
    "fold are not independent: their AUCs are averaged, and their mean is one value of the fold. Mean, SD and interval as in "
    "the table of AUCs; on a single test set the interval adds the variance over the draws to DeLong's variance of their "
    "mean, and is of draws from this training set alone.",
    SIZES_NEED,
    training_sizes,
)


def searches(summary: Summary) -> Filled:
    """Fill the table of the values of C that inner cross-validation chose, of arms with a search."""
    rows = []
    for series in summary.series:
        found = [item for run in series.runs for item in searches_of(run.record)]
        if found:
            edges = sum(item.edge != "" for item in found)
            rows.append(
                (*place(series), _chosen(found), *_logs(found), edges, *_fits(series), len(series.runs))
            )
    columns = (
        *PLACE,
        Column("chosen", "Chosen C (folds)", text=True),
        *(Column("log10_mean", "Mean log10 C", 2), Column("log10_sd", "SD", 2)),
        *(Column("edges", "At grid boundary"), Column("fits", "Fits")),
        *(Column("not_converged", "Not converged"), Column("folds", "Folds")),
    )
    return Filled(columns, rows)


def _chosen(found: Sequence[SearchFacts]) -> str:
    counts = Counter(item.chosen for item in found)
    return ", ".join(f"{value:g} ({counts[value]})" for value in sorted(counts))


def _logs(found: Sequence[SearchFacts]) -> tuple[float, float | None]:
    values = np.log10([item.chosen for item in found])
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def _fits(series: Series) -> tuple[Cell, Cell]:
    counts = [run.record.convergence for run in series.runs if "fits" in run.record.convergence]
    if not counts:
        return None, None
    return sum(item["fits"] for item in counts), sum(item["not_converged"] for item in counts)
