"""What a report reads out of the free-form parts of a run's record: sizes, the search for C, convergence."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

from featx.files import open_regular
from featx.runs import Run, RunRecord

__all__ = ["SearchFacts", "history", "scored_by_group", "searches_of", "train_groups", "train_size"]


@dataclass(frozen=True)
class SearchFacts:
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


def searches_of(record: RunRecord) -> tuple[SearchFacts, ...]:
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
        SearchFacts(
            scored=name,
            grid=tuple(item["curve"]["C"]),
            auc=tuple(float("nan") if value is None else value for value in item["curve"]["mean"]),
            chosen=item["C"],
            edge=item["edge"],
        )
        for name, item in record.search.get("classes", {}).items()
    )


def train_size(record: RunRecord) -> int | None:
    """Read how many images a run was trained on.

    Parameters
    ----------
    record : RunRecord
        A run's record.

    Returns
    -------
    int or None
        None where it was not recorded.
    """
    part = record.counts.get("train")
    return sum(part.values()) if isinstance(part, Mapping) else None


def train_groups(record: RunRecord) -> int | None:
    """Read how many groups a run was trained on.

    Parameters
    ----------
    record : RunRecord
        A run's record.

    Returns
    -------
    int or None
        Patients, cases or lesions, and images without one; None where it was not recorded.
    """
    groups = record.counts.get("groups")
    return groups.get("train") if isinstance(groups, Mapping) else None


def scored_by_group(record: RunRecord) -> bool:
    """Tell whether a run's predictions are one a group.

    Parameters
    ----------
    record : RunRecord
        A run's record.

    Returns
    -------
    bool
        False where they are one an image, as also where every image is a group of its own.
    """
    pooled = record.settings.get("group_scores", "none") != "none"
    alone = train_groups(record) is not None and train_groups(record) == train_size(record)
    return pooled and not alone


def history(run: Run) -> tuple[dict[str, float], ...]:
    """Read the learning curve of a fine-tuning run.

    Parameters
    ----------
    run : Run
        A run that was fine-tuned.

    Returns
    -------
    tuple of dict
        One an epoch, with the numeric columns of ``history.csv``; NaN where a field is empty. Empty without that
        file.
    """
    path = run.path / "history.csv"
    if not path.is_file():
        return ()
    with io.TextIOWrapper(open_regular(path), encoding="utf-8", newline="") as file:
        return tuple({name: _number(text) for name, text in row.items()} for row in csv.DictReader(file))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float({"True": 1, "False": 0}.get(text, "nan"))
