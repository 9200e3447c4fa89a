"""Tables of predicted probabilities as a basis of decisions: net benefit, and their distribution by class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from featx.reporting.series import Series
from featx.reporting.summary import Summary
from featx.reporting.tables import Cell, Column, Filled
from featx.stats import decision_curve

from .columns import CLASS, PLACE, TESTED, bounded, place, tested_series

__all__ = ["RISK_TABLES"]

_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_SIZES = (Column("images", "Images"), Column("positives", "Positives"), Column("groups", "Groups"))


def net_benefits(summary: Summary) -> Filled:
    """Fill the table of net benefit: a row for each calibrated arm, test set, scored class and threshold probability."""
    rows = [
        (*place(arm), tested, name, *cells)
        for arm, tested, series in tested_series(summary)
        if series.calibrated
        for name in series.scored
        for cells in _benefits(series, name)
    ]
    columns = (
        *(*PLACE, TESTED, CLASS, Column("threshold", "Threshold probability", digits=2)),
        *bounded("net benefit", "Net benefit"),
        Column("treat all", "Treat all"),
        *bounded("gain", "Gain over treating all"),
        *bounded("standardised", "Standardised net benefit"),
        *_SIZES,
    )
    return Filled(columns, rows)


def _benefits(series: Series, name: str) -> list[tuple[Cell, ...]]:
    actual, values, images, groups = series.probabilities(name)
    curve = decision_curve(actual, values, _THRESHOLDS, groups=groups)
    sizes = len(np.unique(images)), len(np.unique(images[actual])), curve.groups
    several = (curve.model, curve.treat_all, curve.gain, curve.standardised)
    return [
        (cut, *model, everyone.value, *gain, *standardised, *sizes)
        for cut, model, everyone, gain, standardised in zip(_THRESHOLDS, *several, strict=True)
    ]


def distributions(summary: Summary) -> Filled:
    """Fill the table of the distribution of probabilities: a row for the positives and one for the others."""
    rows: list[tuple[Cell, ...]] = []
    for arm, tested, series in tested_series(summary):
        for name in series.scored if series.calibrated else ():
            actual, values, images, groups = series.probabilities(name)
            for positive, of in ((True, name), (False, "others")):
                kept = actual == positive
                counts = len(np.unique(images[kept])), len(np.unique(groups[kept]))
                shown = np.quantile(values[kept], _QUANTILES).tolist() if kept.any() else [None] * 5
                rows.append((*place(arm), tested, name, of, *shown, *counts))
    columns = (
        *(*PLACE, TESTED, CLASS, Column("of", "Images of", text=True)),
        *(Column(f"quantile {one:g}", "Median" if one == 0.5 else f"{one * 100:g} %") for one in _QUANTILES),
        *(Column("images", "Images"), Column("groups", "Groups")),
    )
    return Filled(columns, rows)


_NEED = "`featx train-svm --calibrate`"

# Name, title, caption, needs and function of each table, as `TableEntry` has them.
RISK_TABLES: tuple[tuple[str, str, str, str, Callable[[Summary], Filled]], ...] = (
    (
        "net-benefit",
        "Net benefit",
        "Net benefit of treating images whose calibrated probability is at least the threshold probability: true positives "
        "minus false positives times threshold / (1 - threshold), as a fraction of all images (Vickers & Elkin 2006). "
        "Treating none has net benefit 0. Gain over treating all: on the same images. Standardised: divided by the "
        "prevalence of the test set; 1 is best. All folds together; the 95 % confidence intervals are for these models and new "
        "patients, by group (Marsh et al. 2020). There is no interval if fewer than five groups have a true or a false "
        "positive (of the gain: a false or a true negative). Choose the threshold probability by what a false positive costs, "
        "not by this table.",
        _NEED,
        net_benefits,
    ),
    (
        "probabilities",
        "Predicted probabilities by class",
        "Quantiles of the calibrated probability of the class among its own test images and among the others, all folds "
        "together. Images and groups are counted once, even if several folds test them.",
        _NEED,
        distributions,
    ),
)
