"""The verb: runs in, tables, figures and a page out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featx.data import Manifest, read_manifest
from featx.digest import canonical
from featx.files import write_text
from featx.progress import Progress, Silent
from featx.stats import check_share

from .contents import main_table, tables
from .drawing import save
from .html import page
from .mistakes import find_mistakes, thumbnails
from .output import replaced_files
from .overlays import gallery
from .plots import drawings
from .summary import Summary, summarise
from .tables import Table, plain, records, write_tables
from .words import Statement, findings

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
    contents : tuple of Table
        All tables as data.
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
    contents: tuple[Table, ...]
    findings: tuple[Statement, ...]
    warnings: tuple[str, ...]

    @property
    def text(self) -> str:
        """The main table as aligned text."""
        return plain(self.main).rstrip("\n")

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON types.

        Returns
        -------
        dict
            ``tables`` (name to a list of rows, each a mapping by the CSV's column names; null where there is no
            value), ``findings``, ``warnings`` and ``files``.
        """
        return {
            "tables": {table.name: records(table) for table in self.contents},
            "findings": [canonical(finding) for finding in self.findings],
            "warnings": list(self.warnings),
            "files": [str(path) for path in (self.html, *self.tables, *self.figures)],
        }


def report(
    paths: Sequence[Path | str] | Path | str,
    *,
    output: Path | str = "reports/report",
    title: str = "AUC of transfer learning arms",
    strata: Sequence[str] | None = None,
    compare: Sequence[str] | None = None,
    planned: Sequence[str | tuple[str, str]] = (),
    manifest: Path | str | Manifest | None = None,
    root: Path | str | None = None,
    allow_outside: bool = False,
    saliency: Path | str | None = None,
    refresh: float | None = None,
    prevalence: float | None = None,
    figures: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Write tables, figures and an HTML page from finished runs.

    Reads runs only, no network, no features, and no images unless a manifest is given. Equal runs give equal bytes.

    Parameters
    ----------
    paths : path or sequence of paths
        Run folders, or folders that hold some.
    output : Path or str
        Folder for ``report.html``, ``tables/`` and ``figures/``; files of the same names are replaced. What an
        earlier report wrote there and this one does not is removed, unless it was changed since.
    title : str
        Heading of the page.
    strata : sequence of str, optional
        Manifest columns to break results down by; by default those of 2 to 12 values.
    compare : sequence of str, optional
        Arms to report; all if left out.
    planned : sequence of (str, str) or str
        Comparisons that were chosen before the results were seen: pairs of arms, or text such as ``"A:B"``, which
        is split where an arm of these runs stands on both sides of the colon. They are stated first, first minus
        second, and corrected among themselves; all other pairs are exploratory. A planned pair that has no runs
        is named as untested.
    manifest : Path, str or Manifest, optional
        Where image files stand. If given, the page holds thumbnails of the most confident mistakes: mind who may
        see them.
    root : Path or str, optional
        Folder that the manifest's paths are relative to.
    allow_outside : bool
        Whether image paths may lead out of it.
    saliency : Path or str, optional
        Folder of saliency maps that `featx.saliency.maps.saliency_maps` has written, to be shown beside them.
    refresh : float, optional
        Seconds after which the page loads itself again, for a study under way.
    prevalence : float, optional
        Share of positives at which predictive values are stated; by default that of each arm's training parts.
    figures : bool
        Draw figures, which takes most of the time.
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
        that do not belong together, or a stratum, a chosen arm or one of a planned text is in no run.
    ManifestError
        If a manifest was given and cannot be read.
    ConfigError
        If a folder of saliency maps was given and holds none, `prevalence` is not between 0 and 1, or the text of a
        planned comparison can be read in several ways.
    InputError
        If a planned comparison is of an arm with itself, or stands twice.
    """
    tell = progress or Silent()
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if prevalence is not None:
        check_share("prevalence", prevalence)
    summary = replace(summarise(given, strata, compare, planned), prevalence=prevalence)
    target = Path(output)
    made, said = tables(summary), findings(summary)
    pictures, missing = _pictures(summary, manifest, root, allow_outside)
    maps = gallery(saliency) if saliency is not None else {}
    summary = replace(summary, warnings=(*summary.warnings, *missing))
    drawn = drawings(summary) if figures else ()
    tell.start("report", len(drawn) + 2, "files")
    written: list[Path] = []
    with replaced_files(target) as (aside, kept):
        for drawing in drawn:
            written += save(drawing, aside / "figures")
            tell.advance()
        files = write_tables(made, aside / "tables")
        tell.advance()
        write_text(aside / "report.html", page(summary, made, drawn, said, title, pictures, refresh, maps))
        tell.advance()
    tell.finish()
    changed = (f"{target / name} is of an earlier report and was changed: it stays" for name in kept)
    return Report(
        output=target,
        html=target / "report.html",
        tables=tuple(target / "tables" / path.name for path in files),
        figures=tuple(target / "figures" / path.name for path in written),
        main=main_table(summary),
        contents=made,
        findings=said,
        warnings=(*summary.warnings, *changed),
    )


def _pictures(
    summary: Summary, manifest: Path | str | Manifest | None, root: Path | str | None, allow_outside: bool
) -> tuple[dict[str, str], tuple[str, ...]]:
    if manifest is None:
        return {}, ()
    read = read_manifest(manifest, root=root, check_files=False, allow_outside=allow_outside)
    return thumbnails([item.id for series in summary.series for item in find_mistakes(series)], read)
