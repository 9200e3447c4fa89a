"""Checklists filled from a report: read the items, fill what runs answer, and write a form of Markdown tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib import resources
from typing import Any

from featx.documents import parse_yaml
from featx.reporting.tables import escaped_markdown

from .checklist_facts import Answer, Facts, Filler, NotApplicable
from .data_fillers import DATA_FILLERS
from .model_fillers import MODEL_FILLERS
from .result_fillers import RESULT_FILLERS

__all__ = [
    "FILLERS",
    "ChecklistItem",
    "FilledChecklist",
    "FilledItem",
    "checklist_markdown",
    "fill_checklist",
    "read_items",
]

FILLERS: dict[str, Filler] = {**DATA_FILLERS, **MODEL_FILLERS, **RESULT_FILLERS}

FILLED, BLANK, NOT_APPLICABLE = "filled", "blank", "not applicable"
# Sections of the page that answers point to, beside tables and figures.
_SECTIONS = ("provenance", "warnings")
_LINE = "\\_" * 10


@dataclass(frozen=True)
class ChecklistItem:
    """An item of a guideline.

    Attributes
    ----------
    number, part, topic : str
        Number in the original, its part and heading.
    asks : str
        What to report, in our own words.
    answer : tuple of str
        Names in `FILLERS` that are asked in turn; what they say is joined.
    add : str
        What is left to write by hand beside the answer.
    never : str
        Why the item does not apply to any study made with featx; empty if it may.
    """

    number: str
    part: str
    topic: str
    asks: str
    answer: tuple[str, ...] = ()
    add: str = ""
    never: str = ""


@dataclass(frozen=True)
class FilledItem:
    """An item with its state (``"filled"``, ``"blank"`` or ``"not applicable"``), text, and where the report shows it."""

    item: ChecklistItem
    state: str
    text: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class FilledChecklist:
    """A checklist, filled.

    Attributes
    ----------
    name : str
        Name of its file: ``"tripod-ai"``, ``"stard-ai"`` or ``"claim"``.
    title, source : str
        Title and reference of the guideline.
    items : tuple of FilledItem
        In order.
    """

    name: str
    title: str
    source: str
    items: tuple[FilledItem, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of items by state, and of filled ones with words to add."""
        found = Counter(one.state for one in self.items)
        added = sum(one.state == FILLED and bool(one.item.add) for one in self.items)
        return {**{state: found[state] for state in (FILLED, BLANK, NOT_APPLICABLE)}, "to add": added}

    @property
    def told(self) -> str:
        """The counts as a sentence."""
        counts = self.counts
        return (
            f"{len(self.items)} items: {counts[FILLED]} filled from the runs ({counts['to add']} of them need words by hand), "
            f"{counts[BLANK]} blank, {counts[NOT_APPLICABLE]} not applicable"
        )


def read_items(name: str) -> tuple[dict[str, Any], tuple[ChecklistItem, ...]]:
    """Read a checklist of this package.

    Returns
    -------
    head : dict
        ``name``, ``version``, ``title`` and ``source``.
    items : tuple of ChecklistItem
        In order.

    Examples
    --------
    >>> head, items = read_items("tripod-ai")
    >>> head["version"], len(items), items[0].topic
    ('2024', 52, 'Title')
    """
    folder = resources.files("featx.reporting.checklists")
    head = parse_yaml(folder.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), plain=True)
    items = tuple(
        ChecklistItem(
            number=row["item"],
            part=part["part"],
            topic=row["topic"],
            asks=row["asks"],
            answer=tuple(row.get("answer", ())),
            add=row.get("add", ""),
            never=row.get("never", ""),
        )
        for part in head.pop("parts")
        for row in part["items"]
    )
    return head, items


def fill_checklist(name: str, facts: Facts) -> FilledChecklist:
    """Fill a checklist from a report."""
    head, items = read_items(name)
    return FilledChecklist(name, head["title"], head["source"], tuple(_filled(item, facts) for item in items))


def _filled(item: ChecklistItem, facts: Facts) -> FilledItem:
    if item.never:
        return FilledItem(item, NOT_APPLICABLE, item.never)
    found = [FILLERS[name](facts) for name in item.answer]
    answers = [one for one in found if isinstance(one, Answer)]
    reasons = [one.reason for one in found if isinstance(one, NotApplicable)]
    if answers:
        where = [name for one in answers for name in _where(one, facts)]
        return FilledItem(item, FILLED, " ".join(one.text for one in answers), tuple(dict.fromkeys(where)))
    if reasons:
        return FilledItem(item, NOT_APPLICABLE, " ".join(reasons))
    return FilledItem(item, BLANK, "")


def _where(answer: Answer, facts: Facts) -> tuple[str, ...]:
    return (*facts.shown(*answer.where), *(name for name in answer.where if name in _SECTIONS))


def checklist_markdown(filled: FilledChecklist, title: str) -> str:
    """Write a filled checklist as Markdown: a pipe table for each part, which pandoc turns into a document to edit.

    Parameters
    ----------
    filled : FilledChecklist
        A filled checklist.
    title : str
        Title of the report.
    """
    lines = [
        f"# {escaped_markdown(filled.title)}",
        "",
        f"Report: {escaped_markdown(title)}. {filled.told}.",
        "",
        f"Source: {escaped_markdown(filled.source)}. Items have the numbers of the original; what they ask for is in our own "
        "words, so submit the original form where a journal wants it. Filled: from finished runs, with the tables, figures and "
        "sections of report.html that show it. Check each of them, add what no run can know, and fill the blanks. A full list says "
        "that things are reported, not that they were done well.",
    ]
    for part in dict.fromkeys(one.item.part for one in filled.items):
        lines += [
            "",
            f"## {escaped_markdown(part)}",
            "",
            *_table([one for one in filled.items if one.item.part == part]),
        ]
    return "\n".join([*lines, ""])


def _table(items: list[FilledItem]) -> list[str]:
    # The dashes give pandoc the widths of the columns.
    rule = f"|{'-' * 6}|{'-' * 26}|{'-' * 50}|{'-' * 18}|"
    return ["| Item | Asks for | Answer | Where |", rule, *map(_row, items)]


def _row(one: FilledItem) -> str:
    asks = f"**{escaped_markdown(one.item.topic)}.** {escaped_markdown(one.item.asks)}"
    if one.state == NOT_APPLICABLE:
        text = f"Not applicable: {escaped_markdown(one.text)}"
    elif one.state == BLANK:
        text = _LINE
    else:
        text = escaped_markdown(one.text)
        text += f" **To add:** {escaped_markdown(one.item.add)}: {_LINE}" if one.item.add else ""
    where = ", ".join(map(escaped_markdown, one.where)) or ("page: " + _LINE if one.state == BLANK else "")
    return "| " + " | ".join(" ".join(cell.split()) for cell in (one.item.number, asks, text, where)) + " |"
