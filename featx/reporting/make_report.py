"""The verb: runs in, tables, figures and a page out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from featx.data import read_manifest
from featx.digest import canonical, digest_file
from featx.files import aside_folder, find_files, remove_leftovers, sync_folder, write_json, write_text
from featx.options import verb
from featx.progress import Silent
from featx.reporting.figures.canvas import ReportFigure, save, svg
from featx.reporting.figures.plots import drawings
from featx.reporting.overlays import gallery
from featx.reporting.page import Block, page
from featx.reporting.report_settings import ReportSettings
from featx.reporting.sections.all_tables import main_table, tables
from featx.reporting.sections.images import find_mistakes, thumbnails
from featx.reporting.sections.statements import Statement, findings
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import Table, plain, records, to_frame, write_tables
from featx.runs import COMPLETE

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LIST", "Report", "changes", "replaced_files", "report_runs"]


LIST = "files.json"


_Digests = Mapping[str, list[str]]


@contextmanager
def replaced_files(folder: Path | str) -> Iterator[tuple[Path, list[str]]]:
    """Give a folder to fill, then move its files into a report's folder and remove those of the report before.

    Yields
    ------
    made : Path
        An empty folder. If the body raises, the report's folder stays as it was.
    kept : list of str
        Empty; in the end the names of files of an earlier report that stay because they were changed.
    """
    target, kept = Path(folder), list[str]()
    remove_leftovers(target)
    with aside_folder(target / LIST) as aside:
        made = aside / "made"
        made.mkdir()
        yield made, kept
        old, new = _listed(target), _found(made)
        # Both are listed before the first is moved: whoever is killed here leaves nothing that the next report does
        # not know.
        _write(target, {name: [*old.get(name, []), *new.get(name, [])] for name in {*old, *new}})
        for name in new:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).replace(target / name)
        kept += [name for name in sorted({*old} - {*new}) if not _removed(target / name, old[name])]
        for place in sorted({(target / name).parent for name in new}):
            sync_folder(place)
        _write(target, new)


def _found(folder: Path) -> _Digests:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): [digest_file(path)] for path in files}


def _write(folder: Path, files: _Digests) -> None:
    write_json(folder / LIST, {"files": {name: sorted(set(digests)) for name, digests in files.items()}})


def _listed(folder: Path) -> _Digests:
    """Read the list of an earlier report: empty if there is none, without names that lead out of the folder."""
    try:
        files = json.loads((folder / LIST).read_text(encoding="utf-8"))["files"]
        return {name: list(map(str, digests)) for name, digests in files.items() if _inside(name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _inside(name: str) -> bool:
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _removed(path: Path, digests: list[str]) -> bool:
    """Remove a file if it is as it was written; whether it is gone."""
    if path.is_symlink() or not path.is_file():
        return not path.exists()
    if digest_file(path) not in digests:
        return False
    path.unlink()
    with suppress(OSError):  # other files stand there
        path.parent.rmdir()
    return True


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
        AUC by task and arm, as data; `to_frame` makes a pandas table of it.
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

    def to_frame(self) -> pd.DataFrame:
        """Return the main table as a pandas table."""
        return to_frame(self.main)

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


_TITLE = "AUC of transfer learning arms"


@verb(ReportSettings)
def report_runs(paths: Sequence[Path | str] | Path | str, options: ReportSettings) -> Report:
    """Write tables, figures and an HTML page from finished runs.

    Reads runs only, no network, no features, and no images unless a manifest is given. Equal runs give equal bytes.

    Parameters
    ----------
    paths : path or sequence of paths
        Run folders, or folders that hold some.
    {options}

    Returns
    -------
    Report
        The main table as data, the files written, statements and warnings.

    Raises
    ------
    RunError
        If a folder holds no finished run, two runs stand for one arm, task and fold, an arm is mixed from runs
        that do not belong together, or a stratum, a chosen arm or one of a planned text is in no run.
    ManifestError
        If a manifest was given and cannot be read.
    ConfigError
        If a folder of saliency maps was given and holds none, or the text of a planned comparison can be read in
        several ways.
    InputError
        If a planned comparison is of an arm with itself, or stands twice.
    """
    tell = options.progress or Silent()
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    found = summarise(given, options.strata, options.compare, options.planned or ())
    summary = replace(found, prevalence=options.prevalence)
    target = Path(options.output or "reports/report")
    made, said = tables(summary), findings(summary)
    pictures, missing = _pictures(summary, options)
    maps = gallery(options.saliency) if options.saliency is not None else {}
    summary = replace(summary, warnings=(*summary.warnings, *missing))
    drawn = drawings(summary) if options.figures else ()
    tell.start("report", len(drawn) + 2, "files")
    written: list[Path] = []
    with replaced_files(target) as (aside, kept):
        for drawing in drawn:
            written += save(drawing, aside / "figures")
            tell.advance()
        files = write_tables(made, aside / "tables")
        tell.advance()
        write_text(
            aside / "report.html",
            page(
                summary,
                made,
                page_figures(drawn),
                said,
                options.title or _TITLE,
                pictures,
                options.refresh,
                maps,
            ),
        )
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


def _pictures(summary: Summary, options: ReportSettings) -> tuple[dict[str, str], tuple[str, ...]]:
    if options.manifest is None:
        return {}, ()
    read = read_manifest(
        options.manifest, root=options.root, check_files=False, allow_outside=options.allow_outside
    )
    return thumbnails([item.id for series in summary.series for item in find_mistakes(series)], read)


def changes(
    paths: Sequence[Path | str], every: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[int]:
    """Yield whenever runs have been finished or replaced since the last time.

    Parameters
    ----------
    paths : sequence of Path or str
        Folders that hold runs, or will; one that does not exist yet is waited for.
    every : float
        Seconds between two looks.
    sleep : callable
        What waits.

    Yields
    ------
    int
        How many finished runs there are, at least one. Goes on for ever.
    """
    seen: frozenset[tuple[Path, int]] = frozenset()
    while True:
        found = _marks(paths)
        if found and found != seen:
            seen = found
            yield len(found)
        sleep(every)


def _marks(paths: Sequence[Path | str]) -> frozenset[tuple[Path, int]]:
    found = set()
    for mark in (mark for path in paths for mark in find_files(path, COMPLETE)):
        try:
            found.add((mark, mark.stat().st_mtime_ns))
        except FileNotFoundError:  # replaced at this moment: the next look sees it
            continue
    return frozenset(found)


def page_figures(figures: Sequence[ReportFigure]) -> list[Block]:
    """Draw figures for the page, each once for wide and once for narrow screens."""
    return [
        Block(one.name, one.title, one.note, one.alt, Markup(svg(one) + svg(one, narrow=True)))
        for one in figures
    ]
