"""The verb: runs in, tables, figures and a page out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.files import write_text
from featx.progress import Progress, Silent

from .contents import main_table, tables
from .drawing import save
from .html import page
from .plots import drawings
from .summary import summarise
from .tables import Table, plain, write_tables
from .words import Finding, findings

__all__ = ["Report", "report"]


@dataclass(frozen=True)
class Report:
    """A report as written.

    Attributes
    ----------
    output : Path
        Its folder.
    html : Path
        The page.
    tables, figures : tuple of Path
        Files in ``tables/`` and ``figures/``.
    main : Table
        AUC by task and arm, as data; `featx.reporting.tables.to_frame` makes a data frame of it.
    findings : tuple of Finding
        The summary in words.
    warnings : tuple of str
        What a reader has to know.
    """

    output: Path
    html: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    main: Table
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]

    @property
    def text(self) -> str:
        """The main table as aligned text."""
        return plain(self.main).rstrip("\n")


def report(
    paths: Sequence[Path | str] | Path | str,
    *,
    output: Path | str = "reports/report",
    title: str = "AUC of transfer learning arms",
    strata: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Report:
    """Write tables, figures and an HTML page from finished runs.

    Reads runs only: no network, no features, no images. Equal runs give equal bytes.

    Parameters
    ----------
    paths : path or sequence of paths
        Run folders, or folders that hold some.
    output : Path or str
        Folder for ``report.html``, ``tables/`` and ``figures/``; files of the same names are replaced.
    title : str
        Heading of the page.
    strata : sequence of str, optional
        Manifest columns to break results down by; by default those of 2 to 12 values.
    progress : Progress, optional
        Told how far it is.

    Returns
    -------
    Report
        The main table as data, the files written, findings and warnings.

    Raises
    ------
    RunError
        If a folder holds no finished run, two runs stand for one arm, task and fold, an arm is mixed from runs
        that do not belong together, or a stratum is in no run.
    """
    tell = progress or Silent()
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    summary = summarise(given, strata)
    target = Path(output)
    made, said = tables(summary), findings(summary)
    figures = drawings(summary)
    tell.start("report", len(figures) + 2, "files")
    written: list[Path] = []
    for drawing in figures:
        written += save(drawing, target / "figures")
        tell.advance()
    files = write_tables(made, target / "tables")
    tell.advance()
    write_text(target / "report.html", page(summary, made, figures, said, title))
    tell.advance()
    tell.finish()
    return Report(
        target, target / "report.html", files, tuple(written), main_table(summary), said, summary.warnings
    )
