"""What a report reads out of the free-form parts of a run's record: sizes, the search for C, convergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featx.runs import Run, RunRecord

__all__ = ["Search", "fold_ratio", "searches_of"]


@dataclass(frozen=True)
class Search:
    """The search for C behind one SVM.

    Attributes
    ----------
    scored : str
        Class that the SVM scores.
    grid : tuple of float
        Values of C, rising.
    auc : tuple of float
        Mean AUC of the inner splits at each; NaN where no split has one.
    chosen : float
        The value taken.
    edge : str
        ``"lower"`` or ``"upper"`` if the choice stands at that edge of the grid, else empty.
    """

    scored: str
    grid: tuple[float, ...]
    auc: tuple[float, ...]
    chosen: float
    edge: str


def searches_of(record: RunRecord) -> tuple[Search, ...]:
    """Read the searches for C of a run.

    Parameters
    ----------
    record : RunRecord
        A run's record.

    Returns
    -------
    tuple of Search
        One for each SVM of the run; empty where C was not searched.
    """
    return tuple(
        Search(
            scored=name,
            grid=tuple(item["curve"]["C"]),
            auc=tuple(float("nan") if value is None else value for value in item["curve"]["mean"]),
            chosen=item["C"],
            edge=item["edge"],
        )
        for name, item in record.search.get("classes", {}).items()
    )


def fold_ratio(runs: Sequence[Run]) -> float | None:
    """Size of the test part over that of the training part, averaged over the folds.

    Parameters
    ----------
    runs : sequence of Run
        The runs of one series.

    Returns
    -------
    float or None
        From the protocol where it fixes the ratio (1 for 5x2, 1 / (K - 1) for K folds), else from the recorded
        counts; None where those are missing.
    """
    protocol = runs[0].record.protocol
    if protocol == "5x2":
        return 1.0
    if protocol.startswith("kfold:"):
        return 1 / (int(protocol.removeprefix("kfold:")) - 1)
    sizes = [(len(run.predictions), _train_size(run.record.counts)) for run in runs]
    if any(not train for _, train in sizes):
        return None
    return sum(test / train for test, train in sizes) / len(sizes)


def _train_size(counts: Mapping[str, Any]) -> int:
    part = counts.get("train", {})
    return sum(part.values()) if isinstance(part, Mapping) else int(part)
