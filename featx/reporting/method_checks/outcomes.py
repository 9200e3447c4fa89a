"""What a method check is, and what it finds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from featx.reporting.series import ExternalArm, Series
from featx.reporting.summary import Summary

__all__ = ["CheckResult", "Look", "MethodCheck", "claimed", "named", "outside", "tell"]

# In the warnings that `featx.reporting.series.subset_warnings` writes.
_PARTS = " runs on parts of training sets: "


@dataclass(frozen=True)
class Look:
    """One look of a check: at an arm, an external test set or a task.

    Attributes
    ----------
    ok : bool or None
        Whether it passed; None if the runs do not tell.
    where : str
        What was looked at, such as ``"frozen (melanoma)"``; empty for all runs.
    text : str
        What was found.
    """

    ok: bool | None
    where: str = ""
    text: str = ""


@dataclass(frozen=True)
class MethodCheck:
    """A method check.

    Attributes
    ----------
    code : str
        Stable name, such as ``"FX101"``.
    name : str
        What is wrong if the check fails, in a few words.
    severity : str
        ``"error"``, ``"warning"`` or ``"note"``.
    reason : str
        Why it matters.
    threshold : str
        When the check fails.
    source : str
        Publication with its year.
    look : callable
        Takes the summary of a report, and yields a `Look` at each arm.
    claims : str
        Regular expression of the report's warnings that a failed check stands for.
    """

    code: str
    name: str
    severity: str
    reason: str
    threshold: str
    source: str
    look: Callable[[Summary], Iterable[Look]]
    claims: str = ""


@dataclass(frozen=True)
class CheckResult:
    """The result of a method check.

    Attributes
    ----------
    code, name, severity, reason, threshold, source : str
        As of the `MethodCheck`.
    state : str
        ``"failed"``, ``"passed"``, ``"cannot be told"`` or ``"ignored"``.
    found : tuple of str
        What failed, or could not be told, of which arm.
    page : str
        Section of the documentation.
    """

    code: str
    name: str
    severity: str
    reason: str
    threshold: str
    source: str
    state: str
    found: tuple[str, ...]
    page: str

    @property
    def failed(self) -> bool:
        """Whether the check failed."""
        return self.state == "failed"


def named(series: Series) -> str:
    """Name an arm on its task.

    Examples
    --------
    >>> named(Series("frozen", "melanoma", "5x2", ()))
    'frozen (melanoma)'
    """
    return f"{series.arm} ({series.task})"


def tell(pattern: str, known: Callable[[Summary], bool]) -> Callable[[Summary], Iterator[Look]]:
    """Make a check of the warnings of runs and report: it fails where one matches."""

    def look(summary: Summary) -> Iterator[Look]:
        found = [text for text in summary.warnings if claimed(text, pattern)]
        yield from (Look(False, text=text.rstrip(".")) for text in found)
        if not found:
            yield Look(True if known(summary) else None)

    return look


def claimed(warning: str, pattern: str) -> bool:
    """Tell whether a warning of whole training sets matches; parts of them are small on purpose."""
    return _PARTS not in warning and re.search(pattern, warning) is not None


def outside(arm: ExternalArm) -> str:
    """Name an arm on an external test set."""
    return f"{named(arm.internal)} on {arm.name}"
