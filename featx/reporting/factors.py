"""The factors of a study, read from what differs between its arms, and how much each of them matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featx.errors import InputError
from featx.runs import Run
from featx.stats import Anova, factorial_anova

from .lineage import lineage_of
from .names import heading, slugs
from .series import Series
from .summary import Measure, Summary
from .tables import Cell, Column, Table

__all__ = ["Analysis", "analyse", "anova_tables", "factors_of"]

_FOLD = "fold"
# No choice of a study: what follows from others, or decides nothing.
_TECHNICAL = frozenset({"left_out", "preset", "solver"})


@dataclass(frozen=True)
class Analysis:
    """The analysis of variance of a task.

    Attributes
    ----------
    anova : Anova
        Effects of the factors and of the fold.
    levels : mapping of str to tuple of str
        The factors that were analysed, with their levels.
    confounded : tuple of str
        Factors that change with others, so that they have no effect of their own to be told.
    """

    anova: Anova
    levels: Mapping[str, tuple[str, ...]]
    confounded: tuple[str, ...]


def factors_of(series: Series) -> dict[str, str]:
    """Name the choices that make an arm.

    Parameters
    ----------
    series : Series
        An arm on a task.

    Returns
    -------
    dict of str to str
        Factor to level; what differs between the arm's own runs is left out.
    """
    levels = [_choices(run) for run in series.runs]
    return {name: value for name, value in levels[0].items() if all(one.get(name) == value for one in levels)}


def _choices(run: Run) -> dict[str, str]:
    record, recipe = run.record, run.record.features.get("recipe") or {}
    found = lineage_of(record)
    named = {
        "backbone": recipe.get("backbone"),
        "starting weights": found.start,
        "sources": " → ".join(found.sources) or "none",
        "fine-tuning": "yes" if found.tuned else "no",
        "layer": recipe.get("layer"),
        "pooling": recipe.get("pool"),
        "image size": recipe.get("image_size"),
        "preparation": (recipe.get("preparation") or {}).get("name"),
        "precision": recipe.get("precision"),
        "views": (recipe.get("views") or {"count": 1}).get("count"),
        "classifier": record.kind,
    }
    settings = {f"SVM {name}": value for name, value in record.settings.items() if name not in _TECHNICAL}
    several = {**named, **(settings if record.kind == "svm" else {})}
    return {name: str(value) for name, value in several.items() if value not in (None, "")}


def analyse(summary: Summary, setting: tuple[str, str]) -> Analysis | None:
    """Analyse how the factors of a task's arms explain the AUC of their folds.

    Parameters
    ----------
    summary : Summary
        What the report is made of.
    setting : tuple of (str, str)
        Task and protocol.

    Returns
    -------
    Analysis or None
        With interactions of two factors where the arms hold them all; None with fewer than three arms, or where no
        factor differs or there are too few folds to tell.
    """
    items = [item for item in summary.overall if item.series.setting == setting]
    arms = [factors_of(item.series) for item in items]
    rows = [row for item, levels in zip(items, arms, strict=True) for row in _rows(item, levels)]
    if len(items) < 3:
        return None
    varying = [name for name in _ordered(arms) if len({row.get(name) for row in rows} - {None}) > 1]
    kept: list[str] = []
    for name in varying:
        if _fitted(rows, [*kept, name], 1):
            kept.append(name)
    anova = _fitted(rows, kept, 2) or _fitted(rows, kept, 1)
    if anova is None:
        return None
    levels = {name: tuple(dict.fromkeys(str(row[name]) for row in rows)) for name in kept}
    return Analysis(anova, levels, tuple(name for name in varying if name not in kept))


def _rows(item: Measure, levels: Mapping[str, str]) -> list[dict[str, object]]:
    pairs = zip(item.folds, item.auc, strict=True)
    return [{**levels, _FOLD: fold, "auc": auc} for fold, auc in pairs if np.isfinite(auc)]


def _ordered(arms: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for arm in arms for name in arm))


def _fitted(rows: Sequence[Mapping[str, object]], factors: Sequence[str], interactions: int) -> Anova | None:
    if not factors:
        return None
    block = _FOLD if len({row[_FOLD] for row in rows}) > 1 else None
    try:
        return factorial_anova(rows, "auc", factors, interactions=interactions, block=block)
    except InputError:  # the arms do not hold such an effect apart from the others
        return None


def anova_tables(summary: Summary) -> tuple[Table, ...]:
    """Fill the table of the factors' effects for each task.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Table
        A row for each effect, what no effect explains last; no table for a task without an analysis.
    """
    made = []
    for setting, slug in slugs(summary).items():
        if found := analyse(summary, setting):
            title = f"What the study's choices explain: {heading(summary, setting)}"
            made.append(Table(f"anova-{slug}", title, _note(found), _COLUMNS, tuple(_effects(found.anova))))
    return tuple(made)


_COLUMNS = (
    Column("effect", "Effect", text=True),
    *(Column("sum of squares", "Sum of squares", 4), Column("freedom", "Degrees of freedom", 0)),
    *(Column("eta squared", "η²"), Column("partial eta squared", "Partial η²")),
    Column("omega squared", "ω²"),
)


def _effects(anova: Anova) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = [
        (
            *(one.name, one.sum_of_squares, one.freedom),
            *(one.eta_squared, one.partial_eta_squared, one.omega_squared),
        )
        for one in anova.effects
    ]
    rest = (anova.residual_sum_of_squares, anova.residual_freedom)
    return [*rows, ("not explained", *rest, None, None, None)]


def _note(found: Analysis) -> str:
    factors = "; ".join(f"{name}: {', '.join(levels)}" for name, levels in found.levels.items())
    confounded = (
        f" Not told apart from these, since they change together: {', '.join(found.confounded)}."
        if found.confounded
        else ""
    )
    warned = f" Note: {'; '.join(found.anova.warnings)}." if found.anova.warnings else ""
    return (
        f"{found.anova.test[0].upper()}{found.anova.test[1:]}, of {found.anova.n} AUCs, one for each arm and "
        f"fold. η²: share of the whole variation; ω²: the same without its upward bias. {factors}.{confounded}{warned}"
    )
