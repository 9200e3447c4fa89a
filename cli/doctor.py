"""`featx doctor`: what of featx will not work on this machine, and what to do."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import flags
from .bars import progress

if TYPE_CHECKING:
    from featx.doctor import CheckRow

__all__ = ["doctor"]

_WIDTH = 110


@click.command(epilog=flags.example("featx doctor"))
@click.argument("folders", nargs=-1, metavar="[FOLDER]...", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Leave out the trial extraction and the timings.")
@click.option("--verify", is_flag=True, help="Compare the weights files that are found with their checksums.")
@click.option(
    "--only",
    multiple=True,
    metavar="HEADING",
    help="Check software, engines, machine, folders, weights or trial only; may be repeated.",
)
@flags.CACHE
@flags.JSON
def doctor(folders: tuple[Path, ...], as_json: bool, **values: Any) -> int:
    """Check this machine: libraries, engines, GPUs, memory, file systems and weights, with a remedy for each problem.

    Each FOLDER is tried with temporary files, which are removed: can a file be replaced in one step, do locks hold?
    Default: the cache folder, `reports` and the temporary folder. The exit code is 1 if something will not work.
    """
    from featx.doctor import check_machine

    done = check_machine(folders, progress=progress(), **values)
    if as_json:
        flags.print_json(done.record())
    else:
        for line in _lines(done.rows, done.problems):
            click.echo(line)
    return 1 if done.problems else 0


def _lines(rows: Sequence[CheckRow], problems: Sequence[CheckRow]) -> Iterator[str]:
    """Lay out a row for each result, under its heading, and the problems again at the end."""
    width = max(len(row.name) for row in rows)
    for heading, group in itertools.groupby(rows, lambda row: row.heading):
        yield heading
        for row, places in _merged(group):
            where = f"{', '.join(places)}: " if places else ""
            advice = f" -> {row.remedy}" if row.remedy and row.status == "note" else ""
            yield from _wrapped(f"  {row.status:7}  {row.name:{width}}  ", f"{where}{row.found}{advice}")
    notes = sum(row.status == "note" for row in rows)
    yield ""
    yield f"{_count(len(problems), 'problem')}, {_count(notes, 'note')}"
    for row, places in _merged(problems):
        where = f" ({', '.join(places)})" if places else ""
        yield from _wrapped("  ", f"{row.name}{where}: {row.found}. {row.remedy}")


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


def _merged(rows: Iterator[CheckRow] | Sequence[CheckRow]) -> Iterator[tuple[CheckRow, list[str]]]:
    """Join rows that say the same of several folders."""
    places: dict[tuple[str, ...], tuple[CheckRow, list[str]]] = {}
    for row in rows:
        _, names = places.setdefault((row.name, row.found, row.status, row.remedy), (row, []))
        names += [row.place] if row.place else []
    yield from places.values()


def _wrapped(begin: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )
