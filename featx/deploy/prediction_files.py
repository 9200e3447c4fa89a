"""Files of predictions: CSV, JSON lines or Parquet by their ending, each written in one atomic step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featx.cells import csv_text
from featx.files import write_aside, write_text

__all__ = ["write_predictions"]

Rows = Sequence[Mapping[str, Any]]


def write_predictions(path: Path | str, rows: Rows) -> None:
    r"""Write rows of equal columns; a value of None is an empty cell, null, or missing.

    Parameters
    ----------
    path : Path or str
        File to write or to replace; it ends with ``.csv``, ``.jsonl`` or ``.parquet``.
    rows : sequence of mapping
        Column to value.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new.csv"
    >>> write_predictions(path, [{"id": "a", "score:melanoma": -0.5, "threshold": None}])
    >>> path.read_text()
    'id,score:melanoma,threshold\na,-0.5,\n'
    """
    _WRITERS[Path(path).suffix.lower()](Path(path), rows)


def _write_csv(path: Path, rows: Rows) -> None:
    write_text(path, csv_text([list(rows[0]), *(row.values() for row in rows)]))


def _write_lines(path: Path, rows: Rows) -> None:
    lines = (json.dumps(dict(row), ensure_ascii=False, allow_nan=False) for row in rows)
    write_text(path, "".join(f"{line}\n" for line in lines))


def _write_parquet(path: Path, rows: Rows) -> None:
    import pandas as pd

    table = pd.DataFrame([dict(row) for row in rows])
    with write_aside(path) as aside:
        table.to_parquet(aside, index=False)


_WRITERS = {".csv": _write_csv, ".jsonl": _write_lines, ".parquet": _write_parquet}
