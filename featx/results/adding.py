"""Rows of the results table from finished runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.data import CANONICAL, canonical_splits, read_canonical
from featx.digest import digest
from featx.errors import InputError, RunError, listing
from featx.files import write_text
from featx.reporting import Series, collect, cost_of, lineage_of, main_class, measure, origin
from featx.runs import Run
from featx.stats import summarise_arm

from .result_rows import read_results, results_text

__all__ = ["AddedResults", "add_results"]

# Kinds of recipes that are not of one network.
_MADE = {"joined": "fused", "imported": "imported"}


@dataclass(frozen=True)
class AddedResults:
    """Result of `add_results`.

    Attributes
    ----------
    path : Path
        The results file.
    added, known : int
        Number of rows that are new, and that the file had already.
    warnings : tuple of str
        What a reader of the rows has to know.
    """

    path: Path
    added: int
    known: int
    warnings: tuple[str, ...]


def add_results(
    runs: Path | str | Sequence[Path | str],
    dataset: str,
    *,
    path: Path | str = "results.csv",
    command: str = "",
) -> AddedResults:
    """Add the arms of finished runs to a results file.

    Parameters
    ----------
    runs : path or sequence of paths
        Run folders, or folders that hold some, such as that of a study.
    dataset : str
        Name of the data set that they were trained and tested on.
    path : Path or str
        Results file. It is made if there is none.
    command : str
        Command, or study file, that makes the runs.

    Returns
    -------
    AddedResults
        Where the rows are, and how many.

    Raises
    ------
    InputError
        If there is no name of a data set, or the file is no results file.
    RunError
        If a folder has no finished run, folds of a protocol are missing, an arm has no AUC, or the runs are of several
        data sets.

    Examples
    --------
    >>> import tempfile
    >>> from featx.runs import Prediction, RunRecord, write_run
    >>> home = Path(tempfile.mkdtemp())
    >>> record = RunRecord("svm", "A", "t", ("n", "y"), ("y",), "holdout", "holdout", "0", 0, {"digest": "1"}, {}, {})
    >>> rows = [Prediction(str(i), "holdout", str(i), "ny"[i % 2], {"y": i / 9}) for i in range(9)]
    >>> _ = write_run(home / "runs" / "a", record, rows, {})
    >>> add_results(home / "runs", "mine", path=home / "results.csv").added
    1
    >>> read_results(home / "results.csv").auc.round(2).tolist()
    [0.5]
    """
    if not dataset.strip():
        raise InputError("a result needs the name of its data set; give one (--dataset)")
    series, _ = collect([runs] if isinstance(runs, str | Path) else list(runs))
    _check(series)
    target = Path(path)
    old = read_results(target).to_dict("records") if target.exists() else []
    rows = [_row(one, dataset.strip(), command) for one in series]
    known = {row["runs_digest"] for row in old}
    new = [row for row in rows if row["runs_digest"] not in known]
    if new:
        write_text(target, results_text([*map(_plain, old), *new]))
    return AddedResults(target, len(new), len(rows) - len(new), tuple(_warnings(series, old, new)))


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Turn a row of a table into cells; a missing number is an empty one, and counts are whole."""
    return {
        name: None
        if value != value
        else int(value)
        if isinstance(value, float) and value == int(value)
        else value
        for name, value in row.items()
    }


def _check(series: Sequence[Series]) -> None:
    if not series:
        raise RunError("no run has scores on a test set; give folders of finished SVM runs")
    data = {str(run.record.manifest.get("digest")) for one in series for run in one.runs}
    if len(data) > 1:
        raise RunError(
            f"the runs are of {len(data)} manifests; add the runs of each data set by itself (--dataset)"
        )
    for one in series:
        expected = _expected(one.protocol)
        if expected and len(one.runs) != expected:
            raise RunError(
                f"arm {one.arm!r}, task {one.task!r}: {len(one.runs)} of the {expected} folds of {one.protocol} are "
                "finished; train the others first"
            )


def _expected(protocol: str) -> int | None:
    """Return the number of folds of a protocol; None if its name does not say it."""
    if protocol == "holdout":
        return 1
    if found := re.fullmatch(r"(\d+)x(\d+)", protocol):
        return int(found[1]) * int(found[2])
    kind, _, name = protocol.partition(":")
    if kind == CANONICAL and name in canonical_splits():
        return len(read_canonical(name))
    found = re.fullmatch(r"(?:kfold|bootstrap):(\d+)", protocol)
    return int(found[1]) if found else None


def _row(series: Series, dataset: str, command: str) -> dict[str, Any]:
    record, name = series.runs[0].record, main_class(series)
    taken = measure(series, name)
    total = summarise_arm(taken.scores, ratio=series.ratio)
    if total.mean != total.mean:
        raise RunError(f"arm {series.arm!r}, task {series.task!r}: no fold has an AUC; it cannot be added")
    cost, recipe = cost_of(series), record.features.get("recipe") or {}
    actual = {row.id: row.actual for part in series.parts for row in part}
    return {
        "dataset": dataset,
        "task": series.task,
        "scored": name,
        "split": series.protocol,
        "arm": series.arm,
        "transfer": _transfer(record.features, series.runs),
        "backbone": cost.backbone,
        "weights": origin(record),
        "image_size": recipe.get("image_size"),
        "layer": cost.layer,
        **{"auc": round(total.mean, 6), "low": _rounded(total.low), "high": _rounded(total.high)},
        **{"folds": len(series.scores), "images": len(actual)},
        "positives": sum(label == name for label in actual.values()) if name in series.scored else None,
        **{"parameters": cost.parameters, "multiply_adds": cost.multiply_adds},
        **{"images_per_second": cost.images_per_second, "measured": cost.measured},
        "split_digest": record.folds_digest,
        "task_digest": record.task_identity or "",
        "weights_digest": " ".join(_unique(_weights(run) for run in series.runs)),
        "features_digest": " ".join(
            _unique(str(run.record.features.get("digest") or "") for run in series.runs)
        ),
        "settings_digest": digest(dict(record.settings)),
        "runs_digest": digest([run.record.id for run in series.runs]),
        "featx": " ".join(_unique(str(run.record.versions.get("featx", "")) for run in series.runs)),
        "command": command,
    }


def _rounded(value: float) -> float | None:
    return round(value, 6) if value == value else None


def _weights(run: Run) -> str:
    return str((run.record.features.get("recipe") or {}).get("weights") or "")


def _unique(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]


def _transfer(features: Mapping[str, Any], runs: Sequence[Run]) -> str:
    recipe = features.get("recipe") or {}
    found = lineage_of(runs[0].record)
    if made := _MADE.get(str(recipe.get("kind"))):
        return made
    if found.tuned:
        return "fine-tuned"
    return "random" if found.start == "random" and not found.sources else "frozen"


def _warnings(
    series: Sequence[Series], old: Sequence[Mapping[Any, Any]], new: Sequence[Mapping[str, Any]]
) -> Iterable[str]:
    yield from dict.fromkeys(text for one in series for run in one.runs for text in run.record.warnings)
    for name in ("split_digest", "task_digest"):
        for row in new:
            others = [
                one
                for one in (*old, *new)
                if all(one[key] == row[key] for key in ("dataset", "task", "split"))
                and one[name] != row[name]
            ]
            if others:
                yield (
                    f"{row['dataset']}, {row['task']}, {row['split']}: arms {listing([row['arm'], others[0]['arm']])} have "
                    f"different {'folds' if name == 'split_digest' else 'images in the classes'}; do not compare them"
                )
