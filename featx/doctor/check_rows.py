"""Rows of the table that `featx doctor` prints, and what every check is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Check", "CheckContext", "CheckRow", "Figures", "Trials", "existing", "note", "ok", "problem"]

Figures = Mapping[str, Any]
Trials = Mapping[str, Figures]


@dataclass(frozen=True)
class CheckRow:
    """One result of a check.

    Attributes
    ----------
    name : str
        What was checked.
    found : str
        What was found, in words.
    status : str
        ``"ok"``, ``"note"`` (works, but is worth knowing) or ``"problem"`` (something will not work).
    remedy : str
        What to do, in one sentence; every problem has one.
    place : str
        The folder that the row is about, if any.
    figures : mapping of str to Any
        What was measured, in JSON types.
    heading : str
        Group of the check.

    Raises
    ------
    ValueError
        For a problem without a remedy.
    """

    name: str
    found: str
    status: str = "ok"
    remedy: str = ""
    place: str = ""
    figures: Figures = field(default_factory=dict)
    heading: str = ""

    def __post_init__(self) -> None:
        if self.status == "problem" and not self.remedy:
            raise ValueError(f"the problem {self.name!r} has no remedy")


def ok(name: str, found: str, figures: Figures | None = None, *, place: str = "") -> CheckRow:
    """Make a row of something that works."""
    return CheckRow(name, found, place=place, figures=figures or {})


def note(
    name: str, found: str, remedy: str = "", figures: Figures | None = None, *, place: str = ""
) -> CheckRow:
    """Make a row of something that works, but is worth knowing."""
    return CheckRow(name, found, "note", remedy, place, figures or {})


def problem(
    name: str, found: str, remedy: str, figures: Figures | None = None, *, place: str = ""
) -> CheckRow:
    """Make a row of something that will not work."""
    return CheckRow(name, found, "problem", remedy, place, figures or {})


def existing(folder: Path) -> Path:
    """Return a folder, or the nearest folder above it that exists.

    Examples
    --------
    >>> existing(Path("/no/such/folder"))
    PosixPath('/')
    """
    place = folder.absolute()
    return next(one for one in (place, *place.parents) if one.is_dir())


def _no_trials() -> Trials:
    return {}


@dataclass(frozen=True)
class CheckContext:
    """What checks are given.

    Attributes
    ----------
    cache : Path
        Folder of caches.
    folders : tuple of Path
        Folders whose file systems are checked; they need not exist.
    verify : bool
        Whether weights files are compared with their checksums.
    root : Path
        Root of the files that describe the machine (``/proc``, ``/sys``, ``/dev``).
    environment : mapping of str to str
        Environment variables.
    ask : callable
        Gives the results of `featx.doctor.engine_trial`, by stage.
    """

    cache: Path = Path("cache")
    folders: tuple[Path, ...] = ()
    verify: bool = False
    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    ask: Callable[[], Trials] = _no_trials

    def trial(self, stage: str) -> Figures:
        """Return the result of a stage of the engine's trial; ``error`` says why there is none."""
        return self.ask().get(stage, {"error": "it was not tried"})


@dataclass(frozen=True)
class Check:
    """A check: its group, its function, and whether `quick` leaves it out."""

    heading: str
    run: Callable[[CheckContext], Iterator[CheckRow]]
    timed: bool = False

    @property
    def name(self) -> str:
        """What is checked, from the function's name."""
        return self.run.__name__.removeprefix("check_").replace("_", " ")
