"""Where the numbers come from: recipe, folds, lineage, settings and versions of every arm, and its runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.digest import canonical, short
from featx.runs import Run

from .summary import Series, Summary

__all__ = ["Origin", "origins", "places"]

_HEADS = ("Fold", "Run", "Folder", "Features", "Folds", "Manifest", "Train / test images")


@dataclass(frozen=True)
class Origin:
    """The provenance of one series.

    Attributes
    ----------
    id, title, hint : str
        Anchor, heading, and what stands behind it in small.
    facts : tuple of (str, str)
        What all runs of the series share, or the different values.
    heads : tuple of str
        Headings of the list of runs.
    runs : tuple of tuple of str
        A row for each run.
    """

    id: str
    title: str
    hint: str
    facts: tuple[tuple[str, str], ...]
    heads: tuple[str, ...]
    runs: tuple[tuple[str, ...], ...]


def places(runs: tuple[Run, ...]) -> dict[Path, str]:
    """Name run folders relative to the folder that holds them all.

    Parameters
    ----------
    runs : tuple of Run
        Runs.

    Returns
    -------
    dict of Path to str
        The same text wherever the folder of runs lies, so that reports of equal runs are equal.
    """
    if not runs:
        return {}
    common = Path(os.path.commonpath([run.path.parent for run in runs]))
    return {run.path: run.path.relative_to(common).as_posix() for run in runs}


def origins(summary: Summary) -> tuple[Origin, ...]:
    """Collect the provenance of every series and of every arm's fine-tuning.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Origin
        In order of the series.
    """
    where = places((*summary.runs, *summary.training))
    made = [_origin(f"origin-{index + 1}", series, where) for index, series in enumerate(summary.series)]
    arms: dict[str, list[Run]] = {}
    for run in summary.training:
        arms.setdefault(f"{run.record.arm}: fine-tuning on {run.record.task}", []).append(run)
    for index, (title, runs) in enumerate(arms.items()):
        made.append(_made(f"training-{index + 1}", title, tuple(runs), where))
    return tuple(made)


def _origin(name: str, series: Series, where: Mapping[Path, str]) -> Origin:
    return _made(name, f"{series.arm}, {series.task} ({series.protocol})", series.runs, where)


def _made(name: str, title: str, runs: tuple[Run, ...], where: Mapping[Path, str]) -> Origin:
    records = [run.record for run in runs]
    facts = [
        ("Weights lineage", _shared(" → ".join(record.lineage) or "not recorded" for record in records)),
        ("Recipe of the features", _shared(_text(record.features.get("recipe", {})) for record in records)),
        ("Settings", _shared(_text(record.settings) for record in records)),
        ("Seed", _shared(str(record.seed) for record in records)),
        ("Versions", _shared(_text(record.versions) for record in records)),
        ("Counts", _shared(_text(record.counts) for record in records)),
        ("Convergence", _shared(_text(record.convergence) for record in records)),
        ("SHA-256 of the folds", _shared(record.folds_digest for record in records)),
        ("SHA-256 of the manifest", _shared(str(record.manifest.get("digest")) for record in records)),
    ]
    rows = tuple(
        (
            run.record.fold,
            short(run.record.id),
            where[run.path],
            short(str(run.record.features.get("digest", "not recorded"))),
            short(run.record.folds_digest),
            short(str(run.record.manifest.get("digest"))),
            str(len(run.predictions)),
        )
        for run in runs
    )
    hint = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
    return Origin(name, title, hint, tuple(item for item in facts if item[1]), _HEADS, rows)


def _shared(values: Any) -> str:
    """Say a value once if all runs share it, else each with how many runs have it."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    if len(counts) == 1:
        return next(iter(counts))
    return "; ".join(f"{value} ({count} runs)" for value, count in counts.items())


def _text(value: Any) -> str:
    """Write a mapping for people: ``name: value``, nested ones as JSON."""
    items = canonical(value).items()
    return ", ".join(f"{name}: {item if isinstance(item, str) else json.dumps(item)}" for name, item in items)
