"""What checklists are filled from: the report's summary, tables and figures, and what records of its runs share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from featx.errors import listing
from featx.reporting.sections.statements import Statement
from featx.reporting.series import Series
from featx.reporting.summary import Summary
from featx.reporting.tables import Table, records
from featx.runs import RunRecord

__all__ = ["Answer", "Facts", "Filler", "NotApplicable", "counted"]


def counted(count: object, word: str) -> str:
    """Write a number, or its range, with its noun.

    Examples
    --------
    >>> counted(1, "image"), counted("2 to 3", "image")
    ('1 image', '2 to 3 images')
    """
    return f"{count} {word}{'' if str(count) == '1' else 's'}"


@dataclass(frozen=True)
class Answer:
    """What runs say to an item.

    Attributes
    ----------
    text : str
        Sentences with figures.
    where : tuple of str
        Names of tables and figures that show it; with ``*`` for those of every task.
    """

    text: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class NotApplicable:
    """The reason why an item does not apply to these runs."""

    reason: str


@dataclass(frozen=True)
class Facts:
    """The report that checklists are filled from.

    Attributes
    ----------
    summary : Summary
        Runs and comparisons.
    tables : tuple of Table
        Every table of the report.
    figures : tuple of str
        Names of its figures.
    findings : tuple of Statement
        Its summary in words.
    warnings : tuple of str
        Its warnings.
    maps : bool
        Whether it shows saliency maps.
    """

    summary: Summary
    tables: tuple[Table, ...]
    figures: tuple[str, ...]
    findings: tuple[Statement, ...]
    warnings: tuple[str, ...] = ()
    maps: bool = False

    @property
    def records(self) -> tuple[RunRecord, ...]:
        """Records of the scored runs."""
        return tuple(run.record for run in self.summary.runs)

    def shown(self, *patterns: str) -> tuple[str, ...]:
        """Name the tables and figures of this report that match."""
        names = dict.fromkeys((*(table.name for table in self.tables), *self.figures))
        return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a table by the names of its columns; none if there is no such table."""
        return [row for table in self.tables if table.name == name for row in records(table)]

    def by_task(self) -> Iterator[tuple[str, tuple[Series, ...]]]:
        """Yield each task's words, empty if there is one task, and its arms."""
        settings = self.summary.settings
        for setting in settings:
            words = f"{self.summary.heading(setting)}: " if len(settings) > 1 else ""
            yield words, tuple(one for one in self.summary.series if one.setting == setting)

    def each(self, tell: Callable[[tuple[Series, ...]], str]) -> str:
        """Write a sentence for each task; tasks of which nothing is known are left out."""
        found = ((words, tell(series)) for words, series in self.by_task())
        return " ".join(f"{words}{text}" for words, text in found if text)

    def values(self, tell: Callable[[RunRecord], Any]) -> list[str]:
        """Return what the records say, each value once, without what is not recorded."""
        found = (tell(record) for record in self.records)
        return list(dict.fromkeys(str(value) for value in found if value not in (None, "")))

    def setting(self, name: str) -> str:
        """Write a setting of the SVMs; several values are joined."""
        return listing(self.values(lambda record: _text(record.settings.get(name))), 6)

    def recipe(self, tell: Callable[[Mapping[str, Any]], Any]) -> list[str]:
        """Return what the recipes of the features say, each value once."""
        return list(
            dict.fromkeys(str(value) for one in self._recipes() if (value := tell(one)) not in (None, ""))
        )

    def _recipes(self) -> Iterable[Mapping[str, Any]]:
        for record in self.records:
            yield from (
                one.get("recipe") or {} for one in (record.features, *record.features.get("alternatives", ()))
            )


def _text(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


Filler = Callable[[Facts], Answer | NotApplicable | None]
