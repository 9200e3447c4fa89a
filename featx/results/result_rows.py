"""Rows of the results table, and the files that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.cells import csv_text, unguarded
from featx.documents import read_text
from featx.errors import InputError, listing

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "read_results", "results_text"]

COLUMNS: Mapping[str, str] = {
    "dataset": "name of the data set",
    "task": "name of the task",
    "scored": "class whose AUC it is; macro: mean of all classes, one against the rest",
    "split": "protocol",
    "arm": "name of the arm",
    "transfer": "random, frozen, fine-tuned, fused or imported",
    "backbone": "pre-trained network",
    "weights": "weights source and lineage",
    "image_size": "input size in pixels",
    "layer": "layer of the features",
    "auc": "mean AUC over the folds",
    "low": "lower limit of its 95 % confidence interval",
    "high": "upper limit",
    "folds": "number of folds",
    "images": "number of test images of all folds, each counted once",
    "positives": "how many of them are of the scored class",
    "parameters": "parameters of the network up to the layer",
    "multiply_adds": "multiply-adds for one image",
    "images_per_second": "extraction speed",
    "measured": "engine and device of that speed",
    "split_digest": "SHA-256 of the folds' image ids",
    "task_digest": "SHA-256 of the images of each class",
    "weights_digest": "SHA-256 of the weights; several for fine-tuned folds",
    "features_digest": "SHA-256 of the recipe of the features",
    "settings_digest": "SHA-256 of the settings of the classifier",
    "runs_digest": "SHA-256 of the inputs of all runs",
    "featx": "version of featx",
    "command": "command or study file that makes the runs",
}
"""Columns of a results file, and what each holds."""

_LIMIT = 2**26
_TEXTS = {name for name in COLUMNS if name.endswith("digest")} | {
    "dataset",
    "task",
    "arm",
    "featx",
    "command",
}


def read_results(path: Path | str | None = None, **wanted: str | None) -> pd.DataFrame:
    """Read the results table.

    Parameters
    ----------
    path : Path or str, optional
        A results file, as `add_results` writes it. Default: the rows that are shipped with featx.
    **wanted : str
        Keep rows with this value of a column; ``dataset="isic2017"``.

    Returns
    -------
    pandas.DataFrame
        The columns of `COLUMNS`, sorted by data set, task and split, best AUC first.

    Raises
    ------
    InputError
        If the file is no results file, or has no such column.

    Examples
    --------
    >>> table = read_results(dataset="isic2017", task="melanoma-vs-rest", split="canonical:isic2017")
    >>> bool((table.low < table.auc).all() and table.auc.is_monotonic_decreasing)
    True
    """
    import pandas as pd

    tables = [_read(_text(path), str(path or "shipped"))] if path else [_read(*one) for one in _shipped()]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(COLUMNS))
    for name, value in wanted.items():
        if name not in COLUMNS:
            raise InputError(
                f"the results table has no column {name!r}; columns are {listing(list(COLUMNS), 30)}"
            )
        if value is not None:
            table = table[table[name] == value]
    order = table.sort_values("auc", ascending=False, kind="stable")
    return order.sort_values(["dataset", "task", "split"], kind="stable").reset_index(drop=True)


def _text(path: Path | str) -> str:
    try:
        return read_text(Path(path), _LIMIT)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as a results file: {getattr(error, 'strerror', None) or error}; "
            "give a file that `featx results add` has written"
        ) from error


def _shipped() -> list[tuple[str, str]]:
    folder = files("featx.results") / "shipped"
    found = sorted(
        (item for item in folder.iterdir() if item.name.endswith(".csv")), key=lambda item: item.name
    )
    return [(item.read_text(encoding="utf-8"), item.name) for item in found]


def _read(text: str, where: str) -> pd.DataFrame:
    import pandas as pd

    try:
        table = pd.read_csv(StringIO(text), dtype=dict.fromkeys(_TEXTS, str), keep_default_na=True)
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{where}: cannot be read as a results file: {error}") from error
    lacking = [name for name in COLUMNS if name not in table]
    if lacking:
        raise InputError(
            f"{where}: no column {listing(lacking)}; give a file that `featx results add` has written"
        )
    return table[list(COLUMNS)].map(unguarded)


def results_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as a results file."""
    return csv_text([tuple(COLUMNS), *(tuple(row.get(name) for name in COLUMNS) for row in rows)])
