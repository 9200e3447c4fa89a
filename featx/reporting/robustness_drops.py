"""Drops of robustness: the AUC of arms on their test images before and after each corruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from weakref import WeakKeyDictionary

from featx.external import CorruptedScores, corrupted_scores
from featx.runs import Run
from featx.stats import Comparison, compare_pair

from .series import Series

__all__ = ["ROBUSTNESS_NEED", "CorruptionDrop", "corruption_drops", "drops_of"]

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
    clean, corrupted = (replace(series, runs=tuple(runs), models=series) for runs in (before, after))
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
        (*lacking, *(text.replace("both arms", "clean and corrupted") for text in pair.finding.warnings)),
    )


class _Reported(Protocol):
    @property
    def series(self) -> tuple[Series, ...]: ...


# The tables and the figures of a report have the drops in common.
_DROPS: WeakKeyDictionary[_Reported, tuple[CorruptionDrop, ...]] = WeakKeyDictionary()


def drops_of(summary: _Reported) -> tuple[CorruptionDrop, ...]:
    """Return the drops of a report's arms."""
    if summary not in _DROPS:
        _DROPS[summary] = corruption_drops(summary.series)
    return _DROPS[summary]
