"""What runs say of measures and results: one function for each answer of a checklist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featx.errors import listing
from featx.reporting.series import Series

from .checklist_facts import Answer, Facts, Filler

__all__ = ["RESULT_FILLERS"]

# Warnings that an answer shows.
_SHOWN = 3
# Arms whose AUC an answer states.
_ARMS = 8
# What a report measures, with the tables and figures that show it.
_MEASURES = (
    ("ROC AUC with 95 % confidence intervals", ("auc", "roc-*")),
    ("average precision, sensitivity, specificity and balanced accuracy", ("metrics",)),
    ("sensitivity and specificity at thresholds fixed on the training set", ("thresholds",)),
    ("predictive values", ("predictive-values",)),
    ("calibration (Brier score, slope, intercept, O:E, curves)", ("calibration",)),
    ("net benefit", ("net-benefit*",)),
    ("results in subgroups", ("strata",)),
    ("results by group", ("groups",)),
    ("external validation", ("external",)),
)


def measures(facts: Facts) -> Answer:
    """List the measures of this report, and how arms are compared."""
    found = [(words, facts.shown(*names)) for words, names in _MEASURES]
    text = f"{listing([words for words, shown in found if shown], 12)}."
    tests = list(dict.fromkeys(str(row["test"]) for row in _pairs(facts) if row.get("test")))
    text += f" Arms are compared by: {listing(tests)}." if tests else ""
    where = (*(name for _, shown in found for name in shown), "pairs-*")
    return Answer(text[:1].upper() + text[1:], where)


def _pairs(facts: Facts) -> list[dict[str, Any]]:
    return [row for name in facts.shown("pairs-*") for row in facts.rows(name)]


def uncertainty(facts: Facts) -> Answer:
    """State intervals and corrections."""
    text = (
        "95 % confidence intervals of every AUC: corrected for overlapping training sets over folds, DeLong's for a single test "
        "set; groups, not images, are the unit where a group has several images."
    )
    pairs = _pairs(facts)
    text += f" {len(pairs)} comparisons of arms, p adjusted by Holm's method." if pairs else ""
    return Answer(text, ("auc", "pairs-*", "p-*", "power"))


def performance(facts: Facts) -> Answer | None:
    """State the main results."""
    lines = [f"{one.title}: {one.lead}" for one in facts.findings]
    if not lines:
        return None
    arms = [
        f"{row['arm']}, {row['task']}: {_estimate(row, 'mean', '')}"
        for row in facts.rows("auc")
        if row["mean"] is not None
    ]
    where = ("auc", "strata", "external", "external-strata", "pairs-*")
    return Answer(f"{' '.join(lines)} AUC with 95 % confidence interval: {'; '.join(arms[:_ARMS])}.", where)


def internal(facts: Facts) -> Answer | None:
    """State the results on the protocol's own test sets."""
    found = performance(facts)
    return Answer(found.text, ("auc", "folds-*", "roc-*")) if found else None


def external(facts: Facts) -> Answer | None:
    """State internal and external AUC."""
    lines = [
        f"{row['arm']} on {row['set']}: {_estimate(row, 'external')}, internal {row['internal']:.3f}."
        for row in facts.rows("external")
        if row["external"] is not None and row["internal"] is not None
    ]
    return (
        Answer(" ".join(lines), ("external", "external-thresholds", "external-calibration"))
        if lines
        else None
    )


def _estimate(row: dict[str, Any], name: str, prefix: str | None = None) -> str:
    """Write an estimate of a row with its interval, whose columns begin with the name of the estimate or another prefix."""
    start = f"{name} " if prefix is None else prefix
    low, high = row.get(f"{start}low"), row.get(f"{start}high")
    known = isinstance(low, float) and isinstance(high, float)
    return f"{row[name]:.3f} ({f'{low:.3f} to {high:.3f}' if known else 'no interval'})"


def accuracy(facts: Facts) -> Answer:
    """State AUC, sensitivity and specificity of the best arm of each task."""

    def tell(series: tuple[Series, ...]) -> str:
        rows = _of_task(facts, "auc", series)
        best = max(
            (row for row in rows if row["mean"] is not None), key=lambda row: row["mean"], default=None
        )
        if best is None:
            return ""
        lines = [f"{best['arm']}, with 95 % confidence intervals: AUC {_estimate(best, 'mean', '')}"]
        lines += [
            f"at {row['threshold']}: sensitivity {_estimate(row, 'sensitivity')}, specificity {_estimate(row, 'specificity')}"
            for row in _of_task(facts, "thresholds", series)
            if row["arm"] == best["arm"] and row["sensitivity"] is not None and row["specificity"] is not None
        ][:4]
        return f"{'; '.join(lines)}."

    return Answer(facts.each(tell), ("auc", "thresholds", "predictive-values", "roc-*"))


def _of_task(facts: Facts, name: str, series: Sequence[Series]) -> list[dict[str, Any]]:
    return [row for row in facts.rows(name) if (row["task"], row["protocol"]) == series[0].setting]


def subgroups(facts: Facts) -> Answer | None:
    """State the columns that results are broken down by."""
    columns = list(dict.fromkeys(item.stratum for item in facts.summary.strata))
    if not columns:
        return None
    return Answer(
        f"Results by {listing(columns, 12)}, with images, positives and intervals.",
        ("strata", "stratum-*", "subgroup*"),
    )


def clusters(facts: Facts) -> Answer | None:
    """State the results on data of other sources, if there are any."""
    names = list(dict.fromkeys(one.name for one in facts.summary.external))
    if not names:
        return None
    return Answer(
        f"Internal test sets and {listing(names)} are shown side by side, with the difference.",
        ("external", "external-strata"),
    )


def errors(facts: Facts) -> Answer | None:
    """State the mistakes."""
    where = ("mistakes", "confusion-*", "thresholds")
    rows = facts.rows("mistakes")
    if not rows:
        return None
    first = max(rows, key=lambda row: float(row["margin"] or 0))
    text = f"{len(rows)} most confident mistakes are listed; the largest margin: {first['image']}, {first['class']} predicted {first['taken']}."
    return Answer(text, where)


def crosstab(facts: Facts) -> Answer | None:
    """State where predicted and true classes are tabulated."""
    rows = [row for name in facts.shown("confusion-*") for row in facts.rows(name)]
    if not rows:
        return None
    return Answer(
        f"True and predicted classes of {len({row['arm'] for row in rows})} arms.",
        ("confusion-*", "thresholds", "scores-*"),
    )


def robustness(facts: Facts) -> Answer | None:
    """Point to an analysis of robustness, if there is one."""
    shown = facts.shown("robustness*", "training-sizes")
    return Answer("Results under stated changes of images or of the training set.", shown) if shown else None


def warnings(facts: Facts) -> Answer | None:
    """State how many warnings the report has."""
    found = facts.warnings
    if not found:
        return None
    first = " ".join(found[:_SHOWN])
    return Answer(f"Warnings of this report: {len(found)}. {first}", ("warnings",))


RESULT_FILLERS: dict[str, Filler] = {
    function.__name__: function
    for function in (
        *(
            measures,
            uncertainty,
            performance,
            internal,
            external,
            accuracy,
            subgroups,
            clusters,
            errors,
            crosstab,
        ),
        *(robustness, warnings),
    )
}
