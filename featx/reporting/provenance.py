"""Where the numbers come from: recipe, folds, lineage, settings and versions of every arm, and its runs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.digest import canonical, short
from featx.runs import Run

from .names import trainings
from .series import Series
from .summary import Summary

__all__ = ["Origin", "origins", "places"]

_HEADS = ("Fold", "Run", "Folder", "Features", "Folds", "Manifest", "Train / test images")


@dataclass(frozen=True)
class Origin:
    """The provenance of one series.

    Attributes
    ----------
    id, title, hint : str
        Anchor, heading, and what stands behind it in small.
    facts : tuple of (str, tuple of str)
        Name and lines: what all runs of the series share, or how they differ.
    heads : tuple of str
        Headings of the list of runs.
    runs : tuple of tuple of str
        A row for each run.
    """

    id: str
    title: str
    hint: str
    facts: tuple[tuple[str, tuple[str, ...]], ...]
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
    for index, ((name, task), runs) in enumerate(trainings(summary).items()):
        made.append(_made(f"training-{index + 1}", f"{name}: fine-tuning on {task}", runs, where))
    return tuple(made)


def _origin(name: str, series: Series, where: Mapping[Path, str]) -> Origin:
    return _made(name, f"{series.arm}, {series.task} ({series.protocol})", series.runs, where)


def _made(name: str, title: str, runs: tuple[Run, ...], where: Mapping[Path, str]) -> Origin:
    records = [run.record for run in runs]
    facts = (
        ("Weights lineage", _shared([" → ".join(record.lineage) or "not recorded" for record in records])),
        ("Recipe of the features", _fields([record.features.get("recipe") or {} for record in records])),
        ("Cost", _fields([record.features.get("cost") or {} for record in records])),
        ("Settings", _fields([record.settings for record in records])),
        ("Seed", _shared([str(record.seed) for record in records])),
        ("Versions", _fields([record.versions for record in records])),
        ("Counts", _fields([record.counts for record in records])),
        ("Convergence", _fields([record.convergence for record in records])),
        ("SHA-256 of the folds", _shared([record.folds_digest for record in records])),
        ("SHA-256 of the manifest", _shared([str(record.manifest.get("digest")) for record in records])),
    )
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


def _shared(values: Sequence[str]) -> tuple[str, ...]:
    """Say a value once if all runs share it, else each with the runs that have it, in their order."""
    counts = Counter(values)
    if len(counts) == 1:
        return tuple(counts)
    return tuple(value if count == 1 else f"{value} ({count} runs)" for value, count in counts.items())


def _fields(values: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Write mappings of several runs field by field; of numbers that differ the range, of others how many."""
    flat = [dict(_flattened(canonical(value))) for value in values]
    lines = []
    for name in dict.fromkeys(key for fields in flat for key in fields):
        found = [fields.get(name) for fields in flat]
        distinct = {json.dumps(item, sort_keys=True): item for item in found}
        if len(distinct) == 1:
            (item,) = distinct.values()
            lines.append(
                f"{name}: {(item or '–') if isinstance(item, str) else json.dumps(item, ensure_ascii=False)}"
            )
        elif len(numbers := [item for item in found if isinstance(item, int | float)]) == len(found):
            lines.append(f"{name}: {min(numbers)!r} to {max(numbers)!r}")
        else:
            lines.append(f"{name}: {len(distinct)} values, see run.json of each run")
    return tuple(lines)


def _flattened(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if isinstance(item, Mapping):
            yield from _flattened(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item
