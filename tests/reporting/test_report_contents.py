"""Every table and figure is declared once, and the docs list it with what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.reporting.report_contents import CONTENTS, FigureEntry, TableEntry

ENTRIES = [entry for part in CONTENTS for entry in (*part.figures, *part.tables)]
DOCS = Path(__file__).parents[2] / "docs" / "reports.md"


def named(entry: TableEntry | FigureEntry) -> str:
    """The entry's name as the docs write it."""
    return "`" + entry.name.replace("{slug}", "TASK").replace("{place}", "N") + "`"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{type(entry).__name__}-{entry.name}")
def test_the_docs_list_every_entry_with_what_it_needs(entry: TableEntry | FigureEntry) -> None:
    rows = [line.strip("| ").split(" | ") for line in DOCS.read_text(encoding="utf-8").splitlines()]
    needs = [
        row[2].rstrip(" |") if len(row) > 2 else "" for row in rows if named(entry) in row[0].split(", ")
    ]
    # The figure of training sizes and the table of that name share a row, as others do.
    assert entry.needs in needs


def test_names_of_tables_and_of_figures_are_unique() -> None:
    for kind in (TableEntry, FigureEntry):
        names = [entry.name for entry in ENTRIES if isinstance(entry, kind)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{type(entry).__name__}-{entry.name}")
def test_every_entry_has_a_title_and_a_caption_in_sentences(entry: TableEntry | FigureEntry) -> None:
    assert not entry.title.endswith(".")
    assert entry.note.endswith(".")
    assert "  " not in entry.note
