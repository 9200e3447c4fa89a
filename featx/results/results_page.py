"""The results table as one HTML page: a table that can be filtered and sorted, and AUC against cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.errors import InputError
from featx.files import write_text
from featx.reporting import Cell, Column, PageSection, Table, cost_scatter, render_sections

from .result_rows import read_results

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["write_results_page"]

_COLUMNS = (
    *(
        Column("dataset", "Data set", text=True),
        Column("task", "Task", text=True),
        Column("split", "Split", text=True),
    ),
    *(Column("arm", "Arm", text=True), Column("backbone", "Backbone", text=True)),
    *(
        Column("transfer", "Transfer", text=True),
        Column("auc", "AUC"),
        Column("low", "Low"),
        Column("high", "High"),
    ),
    *(Column("folds", "Folds"), Column("images", "Test images"), Column("positives", "Positives")),
    Column("parameters", "Parameters (M)", 2, unit=1e6),
    Column("multiply_adds", "Multiply-adds (G)", 3, unit=1e9),
    *(Column("images_per_second", "Images/s", 1), Column("measured", "Measured on", text=True)),
    Column("weights", "Weights", text=True),
)
_NOTE = (
    "Mean AUC over the folds with its 95 % confidence interval. Rows of one data set, task and split were tested on the "
    "same images. Images/s of different machines do not compare. `featx results show --format csv` has the digests of folds, "
    "weights and settings, and the commands."
)


def write_results_page(output: Path | str, path: Path | str | None = None) -> Path:
    """Write the results table as a page.

    Parameters
    ----------
    output : Path or str
        HTML file to write. It loads nothing from the internet.
    path : Path or str, optional
        A results file. Default: the rows that are shipped with featx.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If the file is no results file, or has no rows.

    Examples
    --------
    >>> import tempfile
    >>> page = write_results_page(f"{tempfile.mkdtemp()}/results.html")
    >>> "Multiply-adds" in page.read_text()
    True
    """
    table = read_results(path)
    if table.empty:
        raise InputError(f"{path}: has no rows; add some by `featx results add`")
    rows = tuple(tuple(_cell(row[one.name], one) for one in _COLUMNS) for row in table.to_dict("records"))
    sections = (
        PageSection("summary", "Results", tables=(Table("results", "AUC and cost", _NOTE, _COLUMNS, rows),)),
        PageSection("cost", "AUC against cost", figures=_figures(table)),
    )
    facts = (
        ("Rows", str(len(table))),
        ("Data sets", str(table.dataset.nunique())),
        ("Networks", str(table.backbone.nunique())),
    )
    target = Path(output)
    write_text(
        target,
        render_sections("Results of transfer learning", facts, sections, "Made by featx results page."),
    )
    return target


def _cell(value: Any, column: Column) -> Cell:
    if value != value or value is None:
        return None
    return str(value) if column.text else float(value) if isinstance(value, float) else value


def _figures(table: pd.DataFrame) -> tuple[Any, ...]:
    known = table[table.multiply_adds.notna() & (table.transfer != "fused")]
    points = {
        f"{data}, {task}": list(zip(rows.arm, rows.multiply_adds, rows.auc, strict=True))
        for (data, task), rows in known.groupby(["dataset", "task"], sort=False)
    }
    return (cost_scatter(points, "Multiply-adds per image"),) if points else ()
