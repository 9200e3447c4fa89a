"""The verb `report`: runs come in, tables, figures and a page go out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from featx.data import Manifest, read_manifest
from featx.digest import canonical, digest_file
from featx.errors import RunError, listing
from featx.files import (
    aside_folder,
    find_files,
    remove_leftovers,
    sync_folder,
    write_bytes,
    write_json,
    write_text,
)
from featx.machine import rare_collections
from featx.options import verb
from featx.progress import Progress, Silent
from featx.runs import COMPLETE

from .checklists.checklist_facts import Facts
from .checklists.filled_checklist import FilledChecklist, checklist_markdown, fill_checklist
from .embedding_files import read_embedding
from .figures.canvas import ReportFigure, draw_all
from .maps.interactive_maps import map_views, shown_points
from .maps.overlays import gallery
from .method_checks.checked_runs import check_summary, known_codes, remaining_warnings
from .method_checks.outcomes import CheckResult
from .mlflow_log import log_to_mlflow, mlflow_client
from .page import PageSection, render_page
from .report_contents import CONTENTS, drawings, tables
from .report_settings import DEFAULT_FORMATS, ReportSettings
from .sections.mistakes import find_mistakes, thumbnails
from .sections.statements import Statement, findings
from .summary import Summary, summarise
from .tables import Table, plain, records, to_frame, write_tables

if TYPE_CHECKING:
    import pandas as pd

    from featx.stats import Comparison

__all__ = ["LIST", "Report", "changes", "compare_arms", "replaced_files", "report_runs", "report_tables"]

# List of a report's files, with their digests.
LIST = "files.json"

_Digests = Mapping[str, list[str]]


@contextmanager
def replaced_files(folder: Path | str) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder to fill; then move its files into a report's folder and remove files of the earlier report.

    Yields
    ------
    made : Path
        An empty folder. If the body raises, the report's folder is left unchanged.
    kept : list of str
        Empty at first; at the end the files of an earlier report that are kept because they were changed since.
    """
    target, kept = Path(folder), list[str]()
    remove_leftovers(target)
    with aside_folder(target / LIST) as aside:
        made = aside / "made"
        made.mkdir()
        yield made, kept
        old, new = _listed(target), _found(made)
        # Old and new files are listed before the first is moved: if the process is killed here, the next report knows
        # all of them.
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
    """Read an earlier report's list; empty if there is none, without names outside of the folder."""
    try:
        files = json.loads((folder / LIST).read_text(encoding="utf-8"))["files"]
        return {name: list(map(str, digests)) for name, digests in files.items() if _inside(name)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _inside(name: str) -> bool:
    return not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts


def _removed(path: Path, digests: list[str]) -> bool:
    """Remove a file if it was not changed; tell whether it is gone."""
    if path.is_symlink() or not path.is_file():
        return not path.exists()
    if digest_file(path) not in digests:
        return False
    path.unlink()
    with suppress(OSError):  # not empty
        path.parent.rmdir()
    return True


@dataclass(frozen=True)
class Report:
    """A written report.

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
    findings : tuple of Statement
        The summary in words.
    warnings : tuple of str
        Failed method checks but notes, and further warnings.
    checklists : tuple of FilledChecklist
        The guidelines that were asked for, as in ``checklists/``.
    checks : tuple of CheckResult
        Results of all method checks.
    """

    output: Path
    html: Path
    tables: tuple[Path, ...]
    figures: tuple[Path, ...]
    main: Table
    contents: tuple[Table, ...]
    findings: tuple[Statement, ...]
    warnings: tuple[str, ...]
    checklists: tuple[FilledChecklist, ...] = ()
    checks: tuple[CheckResult, ...] = ()

    @property
    def text(self) -> str:
        """The main table as aligned text."""
        return plain(self.main).rstrip("\n")

    @property
    def forms(self) -> tuple[Path, ...]:
        """Files of the checklists."""
        return tuple(self.output / "checklists" / f"{one.name}.md" for one in self.checklists)

    def to_frame(self) -> pd.DataFrame:
        """Return the main table as a pandas table."""
        return to_frame(self.main)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON types.

        Returns
        -------
        dict
            ``tables`` (name to a list of rows, each a mapping by the CSV's column names; null where there is no
            value), ``findings``, ``warnings``, ``checks``, ``checklists`` (name to the number of items by state) and
            ``files``.
        """
        return {
            "tables": {table.name: records(table) for table in self.contents},
            "findings": [canonical(finding) for finding in self.findings],
            "warnings": list(self.warnings),
            "checks": [canonical(check) for check in self.checks],
            "checklists": {one.name: one.counts for one in self.checklists},
            "files": [str(path) for path in (self.html, *self.tables, *self.figures, *self.forms)],
        }


# Width and height of the thumbnails of embedding maps, in pixels.
_SMALL = 72

_TITLE = "AUC of transfer learning arms"


@verb(ReportSettings)
@rare_collections()
def report_runs(paths: Sequence[Path | str] | Path | str, options: ReportSettings) -> Report:
    """Write tables, figures and an HTML page from finished runs.

    Only runs are read: no features, and images only if a manifest is given. Equal runs give equal bytes.

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
        If a folder has no finished run, two runs have the same arm, task and fold, runs of an arm differ in folds or
        manifest, or no run has a given column or arm.
    ManifestError
        If a manifest was given and cannot be read.
    ConfigError
        If a code to ignore is unknown, a given folder has no saliency or embedding maps, a planned comparison A:B can be
        split in several ways, or MLflow is not installed or cannot be reached.
    InputError
        If a planned comparison is of an arm with itself, or is given twice.
    """
    tell = options.progress or Silent()
    known_codes(options.ignore or ())
    client = mlflow_client(options.mlflow) if options.mlflow else None
    summary = _summary(paths, options, tell)
    target = Path(options.output or "reports/report")
    planned = drawings(summary) if options.figures else {}
    every = tuple(chain.from_iterable(planned.values()))
    # Figures are drawn beside everything else.
    with (
        replaced_files(target) as (aside, kept),
        draw_all(every, options.figure_formats or DEFAULT_FORMATS) as drawn,
    ):
        report = _fill(summary, options, aside, planned, drawn, tell)
    tell.finish()
    changed = (f"{target / name} is kept: it is of an earlier report and was changed since." for name in kept)
    report = replace(report, warnings=(*report.warnings, *changed))
    if client is not None:
        numbers = [path for path in report.tables if path.suffix == ".csv"]
        files = (report.html, *numbers, *report.forms)
        new, known = log_to_mlflow(client, summary.series, report.contents, target, files)
        tell.say(f"mlflow: {new} runs made, {known} were there and are up to date; {options.mlflow}")
    return report


def _summary(paths: Sequence[Path | str] | Path | str, options: ReportSettings, tell: Progress) -> Summary:
    found = summarise(
        *(_listed_paths(paths), options.strata, options.compare, options.planned or (), options.subgroups),
        progress=tell,
    )
    return replace(
        found,
        prevalence=options.prevalence,
        embedding=read_embedding(options.embedding) if options.embedding is not None else (),
        manifest=_manifest(options),
        ignored=tuple(options.ignore or ()),
    )


def _fill(
    summary: Summary,
    options: ReportSettings,
    folder: Path,
    planned: Mapping[str, tuple[ReportFigure, ...]],
    figures: Iterator[tuple[dict[str, bytes], ReportFigure] | None],
    tell: Progress,
) -> Report:
    """Write the files of a report into a folder, from which they are moved to the report's own."""
    target, title = Path(options.output or "reports/report"), options.title or _TITLE
    maps = gallery(options.saliency) if options.saliency is not None else {}
    checks = check_summary(summary)
    filled = _filled_tables(summary, tell)
    made = tuple(chain.from_iterable(filled.values()))
    said = findings(summary)
    pictures, small, missing = _pictures(summary, options.thumbnails)
    # The summary stays the same object, by which tables, figures and checklists find what they have in common.
    warnings = (*remaining_warnings(summary), *_other_manifest(summary), *missing)
    files = _write_tables(made, folder / "tables", tell)
    drawn, written = _written_figures(planned, figures, folder / "figures", tell)
    names = tuple(figure.name for several in drawn.values() for figure in several)
    checklists = _checklists(options, Facts(summary, made, names, said, warnings, bool(maps)), folder, title)
    views = {"embedding": map_views(summary, small)}
    sections = [
        PageSection(
            one.id,
            one.title,
            figures=drawn.get(one.id, ()),
            tables=filled[one.id],
            maps=views.get(one.id, ()),
        )
        for one in CONTENTS
    ]
    tell.start("report: page", 1, "files")
    page = render_page(summary, sections, said, title, pictures, options.refresh, maps, warnings)
    write_text(folder / "report.html", page)
    tell.advance()
    return Report(
        output=target,
        html=target / "report.html",
        tables=tuple(target / "tables" / path.name for path in files),
        figures=tuple(target / "figures" / path.name for path in written),
        main=next(table for table in made if table.name == "auc"),
        contents=made,
        findings=said,
        warnings=warnings,
        checklists=checklists,
        checks=checks,
    )


def _filled_tables(summary: Summary, tell: Progress) -> dict[str, tuple[Table, ...]]:
    tell.start("report: tables", len(CONTENTS), "sections")
    filled = {}
    for name, several in tables(summary):
        filled[name] = several
        tell.advance()
    return filled


def _checklists(
    options: ReportSettings, facts: Facts, folder: Path, title: str
) -> tuple[FilledChecklist, ...]:
    filled = tuple(fill_checklist(name, facts) for name in dict.fromkeys(options.checklist or ()))
    for one in filled:
        write_text(folder / "checklists" / f"{one.name}.md", checklist_markdown(one, title))
    return filled


def _write_tables(made: Sequence[Table], folder: Path, tell: Progress) -> tuple[Path, ...]:
    tell.start("report: table files", len(made), "tables")
    written: list[Path] = []
    for table in made:
        written += write_tables((table,), folder)
        tell.advance()
    return tuple(written)


def _written_figures(
    planned: Mapping[str, tuple[ReportFigure, ...]],
    pictured: Iterator[tuple[dict[str, bytes], ReportFigure] | None],
    folder: Path,
    tell: Progress,
) -> tuple[dict[str, tuple[ReportFigure, ...]], list[Path]]:
    """Write figures as they are drawn; return those that have data, by section, and their files."""
    if not planned:
        return {}, []
    tell.start("report: figures", sum(map(len, planned.values())), "figures")
    drawn, written = dict[str, tuple[ReportFigure, ...]](), list[Path]()
    for section, several in planned.items():
        having = []
        for _ in several:
            if (one := next(pictured)) is not None:
                having.append(one[1])
                for kind, content in one[0].items():
                    written.append(folder / f"{one[1].name}.{kind}")
                    write_bytes(written[-1], content)
            tell.advance()
        drawn[section] = tuple(having)
    return drawn, written


def report_tables(paths: Path | str | Sequence[Path | str]) -> tuple[Table, ...]:
    """Fill the tables of a report without writing it.

    Parameters
    ----------
    paths : path or sequence of paths
        Run folders, or folders that hold some.

    Returns
    -------
    tuple of Table
        Those for which the runs have data.
    """
    return tuple(table for _, several in tables(summarise(_listed_paths(paths))) for table in several)


def _manifest(options: ReportSettings) -> Manifest | None:
    if options.manifest is None:
        return None
    return read_manifest(
        options.manifest, root=options.root, check_files=False, allow_outside=options.allow_outside
    )


def _other_manifest(summary: Summary) -> tuple[str, ...]:
    known = {run.record.manifest.get("digest") for run in summary.runs}
    if summary.manifest is None or summary.manifest.digest in known:
        return ()
    return (
        f"{summary.manifest.source}: not the manifest of these runs, or changed since; Table 1 does not use its columns.",
    )


def _pictures(summary: Summary, wanted: bool) -> tuple[dict[str, str], dict[str, str], tuple[str, ...]]:
    """Make thumbnails of mistakes, and small ones of the points of embedding maps."""
    if summary.manifest is None or not wanted:
        return {}, {}, ()
    ids = [item.id for series in summary.series for item in find_mistakes(series)]
    pictures, missing = thumbnails(ids, summary.manifest)
    points = [point.id for _, one in summary.maps for point in shown_points(one)]
    small, lacking = thumbnails(points, summary.manifest, side=_SMALL)
    return pictures, small, tuple(dict.fromkeys((*missing, *lacking)))


def changes(
    paths: Sequence[Path | str], every: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[int]:
    """Yield whenever runs were finished or replaced.

    Parameters
    ----------
    paths : sequence of Path or str
        Folders with runs; they need not exist yet.
    every : float
        Seconds between two checks.
    sleep : callable
        Function that waits for some seconds.

    Yields
    ------
    int
        Number of finished runs, at least one. The iterator never ends.
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
        except FileNotFoundError:  # replaced at this moment: the next check finds it
            continue
    return frozenset(found)


def compare_arms(
    runs: Path | str | Sequence[Path | str], a: str, b: str, *, task: str | None = None
) -> Comparison:
    """Compare the AUC of two arms by the test that their protocol allows.

    The comparison is the one that a report of the two arms states: over the folds and images that both share.

    Parameters
    ----------
    runs : path or sequence of paths
        Run folders, or folders that hold some.
    a, b : str
        Names of the arms; the difference is a minus b.
    task : str, optional
        Name of the task, where the arms were run on several.

    Returns
    -------
    Comparison
        ``values`` (the two AUCs), ``finding`` (difference, confidence interval, p-value, test), and the folds. ``p`` is
        NaN where no test is possible; the warnings say why.

    Raises
    ------
    RunError
        If a folder holds no finished run, an arm is in no run, or the arms were run on several tasks or protocols.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from featx.runs import Prediction, RunRecord, write_run
    >>> folder = Path(mkdtemp())
    >>> for arm, scores in (("frozen", [1, 2, 4, 3, 5, 6]), ("tuned", [3, 1, 5, 2, 4, 6])):
    ...     record = RunRecord(
    ...         kind="svm", arm=arm, task="melanoma", classes=("nevus", "melanoma"), scored=("melanoma",),
    ...         protocol="holdout", fold="1", folds_digest="", seed=0, manifest={}, features={}, settings={},
    ...     )
    ...     rows = [
    ...         Prediction(str(i), "1", str(i), "melanoma" if i > 2 else "nevus", {"melanoma": float(score)})
    ...         for i, score in enumerate(scores)
    ...     ]
    ...     run = write_run(folder / arm, record, rows, {})
    >>> found = compare_arms(folder, "frozen", "tuned")
    >>> found.finding.test, round(found.finding.p, 3)
    ('DeLong 1988', 0.157)
    """
    found = summarise(_listed_paths(runs), None, [a, b], [(a, b)])
    settings = [one for one in found.comparisons if task in (None, one[0])]
    if len(settings) != 1:
        names = [f"{name} ({protocol})" for name, protocol in found.comparisons]
        raise RunError(
            f"The arms {a!r} and {b!r} must be compared on one task and protocol. Got {listing(names) or 'none'}; "
            "name the task"
        )
    return found.comparisons[settings[0]].pairs[0]


def _listed_paths(paths: Path | str | Sequence[Path | str]) -> list[Path | str]:
    return [paths] if isinstance(paths, str | Path) else list(paths)
