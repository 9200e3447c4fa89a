"""Tables as data, written as Markdown, CSV, LaTeX (booktabs) and plain text.

Cells are texts, integers, numbers, `Score` (mean, standard deviation and number of folds) or None for a missing
value, which is shown as a dash.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from featx import cells
from featx.errors import ConfigError
from featx.files import write_text

from .typesetting import Grid, typeset

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DASH",
    "FORMATS",
    "Cell",
    "Column",
    "Filled",
    "Score",
    "Table",
    "csv_text",
    "escaped_markdown",
    "latex",
    "markdown",
    "p_text",
    "parquet_bytes",
    "plain",
    "records",
    "shown",
    "to_frame",
    "write_tables",
]

DASH = "–"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


@dataclass(frozen=True)
class Score:
    """Mean, standard deviation and number of folds in one cell.

    Attributes
    ----------
    mean : float
        Mean over the folds; NaN if no fold has a value.
    sd : float
        Standard deviation over the folds; NaN for a single fold.
    folds : int
        Number of folds in the mean.
    best : bool
        Whether it is printed in bold.
    mark : str
        Mark after the number, such as ``"†"``.
    """

    mean: float
    sd: float
    folds: int
    best: bool = False
    mark: str = ""

    def __str__(self) -> str:
        if not math.isfinite(self.mean):
            return DASH
        spread = f" ± {self.sd:.3f}" if math.isfinite(self.sd) else ""
        return f"{self.mean:.3f}{spread} ({self.folds}){self.mark}"


Cell = str | int | float | Score | None


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
        Column name in CSV files and data frames.
    title : str
        Column head elsewhere.
    digits : int or None
        Decimals of its numbers; None shows six significant digits. CSV files have the full number.
    text : bool
        Whether it holds text, which is aligned to the left.
    least : float
        Smaller numbers are shown as ``< least``, such as p values.
    unit : float
        Numbers are divided by it for display; CSV files have the undivided number.

    Examples
    --------
    >>> from featx.reporting.tables import shown
    >>> shown(0.00004, Column("p", "p value", least=0.001))
    '< 0.001'
    """

    name: str
    title: str
    digits: int | None = 3
    text: bool = False
    least: float = float("-inf")
    unit: float = 1.0


@dataclass(frozen=True)
class Table:
    """A table as data.

    Attributes
    ----------
    name : str
        File name without its ending.
    title : str
        Heading.
    note : str
        Caption: how to read the table.
    columns : tuple of Column
        Columns, in order.
    rows : tuple of tuple of Cell
        Rows, each as long as `columns`.

    Examples
    --------
    >>> columns = (Column("arm", "Arm", text=True), Column("auc", "AUC"))
    >>> print(plain(Table("auc", "AUC", "", columns, (("frozen", 0.81),))), end="")
    Arm       AUC
    ------  -----
    frozen  0.810
    """

    name: str
    title: str
    note: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @cached_property
    def lines(self) -> tuple[tuple[str, ...], ...]:
        """Rows as texts on one line each."""
        return tuple(
            tuple(
                " ".join(shown(cell, column).split()) for cell, column in zip(row, self.columns, strict=True)
            )
            for row in self.rows
        )


@dataclass(frozen=True)
class Filled:
    """What the runs give for a table: columns, rows and what its caption says of these runs alone."""

    columns: tuple[Column, ...]
    rows: Sequence[tuple[Cell, ...]]
    more: str = ""


def shown(cell: Cell, column: Column) -> str:
    """Format a cell for display.

    Examples
    --------
    >>> shown(0.80651, Column("mean", "Mean")), shown(None, Column("sd", "SD"))
    ('0.807', '–')
    """
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return DASH
    if isinstance(cell, int | float) and column.unit != 1.0:
        cell = cell / column.unit
    if isinstance(cell, float):
        if cell < column.least:
            return f"< {column.least:g}"
        text = f"{cell:.6g}" if column.digits is None else f"{cell:.{column.digits}f}"
        return text.replace("-", "−") if column.digits is not None else text
    return str(cell)


def p_text(value: float) -> str:
    """Format a p value.

    Examples
    --------
    >>> p_text(0.0421), p_text(0.00002)
    ('p = 0.042', 'p < 0.001')
    """
    if not math.isfinite(value):
        return "no p value"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def plain(table: Table) -> str:
    """Write a table as aligned text for a terminal.

    Parameters
    ----------
    table : Table
        Table to write.

    Returns
    -------
    str
        Column heads, a rule and a line for each row.

    Examples
    --------
    >>> columns = (Column("arm", "Arm", text=True), Column("mean", "AUC"))
    >>> print(plain(Table("auc", "AUC", "", columns, (("A", 0.7), ("B", 0.81)))), end="")
    Arm    AUC
    ---  -----
    A    0.700
    B    0.810
    """
    lines: list[Sequence[str]] = [[column.title for column in table.columns], *table.lines]
    widths = [max(len(line[index]) for line in lines) for index in range(len(table.columns))]
    lines.insert(1, ["-" * width for width in widths])

    def align(line: Sequence[str]) -> str:
        cells = zip(line, widths, table.columns, strict=True)
        return "  ".join(
            text.ljust(width) if column.text else text.rjust(width) for text, width, column in cells
        )

    return "".join(align(line).rstrip() + "\n" for line in lines)


def escaped_markdown(text: str) -> str:
    r"""Escape the special characters of Markdown.

    Examples
    --------
    >>> print(escaped_markdown("a|b_c"))
    a\|b\_c
    """
    return _MARKDOWN.sub(r"\\\1", text)


def markdown(table: Table) -> str:
    r"""Write a table as Markdown, with its title and note.

    Returns
    -------
    str
        A heading, a pipe table and the note; special characters of Markdown are escaped.

    Examples
    --------
    >>> columns = (Column("arm", "Arm", text=True), Column("mean", "AUC"))
    >>> print(markdown(Table("auc", "AUC", "Mean over folds.", columns, (("a|b_c", 0.7),))), end="")
    ## AUC
    <BLANKLINE>
    | Arm | AUC |
    | :--- | ---: |
    | a\|b\_c | 0.700 |
    <BLANKLINE>
    Mean over folds.
    """

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |\n"

    def strong(cell: Cell, text: str) -> str:
        return (
            f"**{escaped_markdown(text)}**"
            if isinstance(cell, Score) and cell.best
            else escaped_markdown(text)
        )

    head = line([escaped_markdown(column.title) for column in table.columns])
    rule = line([":---" if column.text else "---:" for column in table.columns])
    pairs = zip(table.rows, table.lines, strict=True)
    body = "".join(line([strong(cell, text) for cell, text in zip(*pair, strict=True)]) for pair in pairs)
    note = f"\n{escaped_markdown(table.note)}\n" if table.note else ""
    return f"## {escaped_markdown(table.title)}\n\n{head}{rule}{body}{note}"


def csv_text(table: Table) -> str:
    r"""Write a table as CSV with full numbers; a missing value is an empty field.

    Returns
    -------
    str
        A line of column names and a line for each row. A column of `Score` becomes three: mean, standard
        deviation (NAME sd) and number of folds (NAME folds).

    Examples
    --------
    >>> columns = (Column("arm", "Arm", text=True), Column("mean", "AUC"))
    >>> csv_text(Table("auc", "AUC", "", columns, (("a,b", 0.7), ("c", None))))
    'arm,mean\n"a,b",0.7\nc,\n'
    """

    def field(cell: Cell) -> str:
        return "" if cell is None else repr(float(cell)) if isinstance(cell, float) else str(cell)

    names, rows = _spread_out(table)
    return cells.csv_text([names, *([field(cell) for cell in row] for row in rows)])


def _spread_out(table: Table) -> tuple[list[str], list[list[str | int | float | None]]]:
    """Split `Score` columns into three fields each, and replace numbers that are not finite by None."""
    wide = [any(isinstance(row[index], Score) for row in table.rows) for index in range(len(table.columns))]
    names: list[str] = []
    for column, scores in zip(table.columns, wide, strict=True):
        names += [column.name, f"{column.name} sd", f"{column.name} folds"] if scores else [column.name]
    rows = []
    for row in table.rows:
        fields: list[str | int | float | None] = []
        for cell, scores in zip(row, wide, strict=True):
            if isinstance(cell, Score):
                fields += [_finite(cell.mean), _finite(cell.sd), cell.folds]
            else:
                fields += [_finite(cell), None, None] if scores else [_finite(cell)]
        rows.append(fields)
    return names, rows


def _finite(cell: str | int | float | None) -> str | int | float | None:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def latex(table: Table) -> str:
    r"""Write a table as LaTeX, no wider than a page.

    Examples
    --------
    >>> columns = (Column("arm", "Arm", text=True), Column("mean", "AUC"))
    >>> "50\\% \\& more & 0.700 \\\\" in latex(Table("auc", "AUC", "", columns, (("50% & more", 0.7),)))
    True
    """
    bold = frozenset(
        (number, place)
        for number, row in enumerate(table.rows)
        for place, cell in enumerate(row)
        if isinstance(cell, Score) and cell.best
    )
    grid = Grid(
        tuple(column.title for column in table.columns),
        tuple(column.text for column in table.columns),
        table.lines,
        bold,
    )
    return typeset(table.name, table.title, table.note, grid)


FORMATS: Mapping[str, tuple[str, Callable[[Table], str]]] = {
    "csv": (".csv", csv_text),
    "latex": (".tex", latex),
    "markdown": (".md", markdown),
}


def records(table: Table) -> list[dict[str, str | int | float | None]]:
    """Return a table's rows as mappings.

    Examples
    --------
    >>> records(Table("auc", "AUC", "", (Column("mean", "AUC"),), ((float("nan"),),)))
    [{'mean': None}]
    """
    names, rows = _spread_out(table)
    return [dict(zip(names, row, strict=True)) for row in rows]


def to_frame(table: Table) -> pd.DataFrame:
    """Return a table as a data frame.

    Examples
    --------
    >>> columns = (Column("arm", "Arm", text=True), Column("auc", "AUC"))
    >>> to_frame(Table("auc", "AUC", "", columns, (("frozen", 0.81),))).to_dict("records")
    [{'arm': 'frozen', 'auc': 0.81}]
    """
    import pandas as pd

    return pd.DataFrame(records(table), columns=_spread_out(table)[0])


def parquet_bytes(tables: Mapping[str, Table]) -> bytes:
    """Write a table as a Parquet file; several under each other, with a column ``report`` for their names.

    Parameters
    ----------
    tables : mapping of str to Table
        Name to a table; all have equal columns.

    Raises
    ------
    ConfigError
        If pyarrow is not installed.

    Examples
    --------
    >>> import io, pandas
    >>> table = Table("auc", "AUC", "", (Column("arm", "Arm", text=True), Column("mean", "AUC")), (("A", 0.7), ("B", None)))
    >>> pandas.read_parquet(io.BytesIO(parquet_bytes({"lesions": table})))["mean"].tolist()
    [0.7, nan]
    """
    import pandas as pd

    frames = {name: to_frame(table) for name, table in tables.items()}
    frame = pd.concat(frames.values(), ignore_index=True)
    texts = {column.name for table in tables.values() for column in table.columns if column.text}
    # A column in which every value is missing keeps its type.
    frame = frame.astype(
        {name: "string" if name in texts else "float64" for name in frame if frame[name].isna().all()}
    )
    if len(frames) > 1:
        frame.insert(0, "report", [name for name, one in frames.items() for _ in range(len(one))])
    buffer = BytesIO()
    try:
        frame.to_parquet(buffer, index=False)
    except ImportError as error:
        raise ConfigError(
            "--format parquet needs pyarrow; run `pip install 'featx[parquet]'`, or give csv"
        ) from error
    return buffer.getvalue()


def write_tables(tables: tuple[Table, ...], folder: Path | str) -> tuple[Path, ...]:
    """Write every table in every format."""
    written = []
    for table in tables:
        for ending, write in FORMATS.values():
            path = Path(folder) / f"{table.name}{ending}"
            write_text(path, write(table))
            written.append(path)
    return tuple(written)
