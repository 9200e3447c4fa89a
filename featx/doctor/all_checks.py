"""The list of checks, and the table that they make."""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx import __version__
from featx.digest import canonical
from featx.errors import ConfigError
from featx.progress import Progress, Silent

from . import disk_checks, engine_checks, libraries, resources, timings, weights_checks
from .check_rows import Check, CheckContext, CheckRow, problem
from .engine_trial import ask_engines

__all__ = ["CHECKS", "MachineCheck", "check_machine"]

# In the order of the table. A new check is a function that yields rows, an entry here, and a test.
CHECKS = (
    Check("Software", libraries.check_python),
    Check("Software", libraries.check_mandatory_libraries),
    Check("Software", libraries.check_optional_libraries),
    Check("Software", libraries.check_environment_variables),
    Check("Engines", engine_checks.check_backend),
    Check("Engines", engine_checks.check_openvino),
    Check("Engines", engine_checks.check_precision),
    Check("Engines", engine_checks.check_gpus),
    Check("Machine", resources.check_cores),
    Check("Machine", resources.check_threads),
    Check("Machine", resources.check_memory),
    Check("Machine", resources.check_shared_memory),
    Check("Machine", resources.check_limits),
    Check("Folders", disk_checks.check_file_system),
    Check("Folders", disk_checks.check_free_space),
    Check("Folders", disk_checks.check_writing),
    Check("Folders", disk_checks.check_rename),
    Check("Folders", disk_checks.check_exchange),
    Check("Folders", disk_checks.check_flush),
    Check("Folders", disk_checks.check_locks),
    Check("Folders", disk_checks.check_time_stamps),
    Check("Folders", disk_checks.check_names),
    Check("Weights", weights_checks.check_weights),
    Check("Trial", timings.check_round_trip, timed=True),
    Check("Trial", timings.check_decode, timed=True),
    Check("Trial", timings.check_forward, timed=True),
    Check("Trial", timings.check_write, timed=True),
)


@dataclass(frozen=True)
class MachineCheck:
    """The rows of all checks.

    Attributes
    ----------
    rows : tuple of CheckRow
        In the order of `CHECKS`.
    """

    rows: tuple[CheckRow, ...]

    @property
    def problems(self) -> tuple[CheckRow, ...]:
        """The rows of what will not work."""
        return tuple(row for row in self.rows if row.status == "problem")

    def record(self) -> dict[str, Any]:
        """Return everything in JSON types.

        Examples
        --------
        >>> MachineCheck((CheckRow("cores", "2 of 2 usable"),)).record()["problems"]
        0
        """
        return {
            "featx": __version__,
            "platform": platform.platform(),
            "problems": len(self.problems),
            "notes": sum(row.status == "note" for row in self.rows),
            "checks": [canonical(row) for row in self.rows],
        }


def check_machine(
    folders: Sequence[Path | str] = (),
    *,
    cache: Path | str = "cache",
    quick: bool = False,
    verify: bool = False,
    only: Sequence[str] = (),
    progress: Progress | None = None,
) -> MachineCheck:
    """Check what featx needs of this machine.

    A check that fails unexpectedly is a problem in the table, too.

    Parameters
    ----------
    folders : sequence of Path or str
        Folders whose file systems are checked; by default the cache folder, ``reports`` and the temporary folder.
        They need not exist. What is written there is removed.
    cache : Path or str
        Folder of caches.
    quick : bool
        Leave out the trial extraction and the timings.
    verify : bool
        Compare the weights files that are found with their checksums.
    only : sequence of str
        Headings of the table to check; by default all.
    progress : Progress, optional
        Receiver of progress.

    Returns
    -------
    MachineCheck
        The rows.

    Raises
    ------
    ConfigError
        If `only` names no heading.

    Examples
    --------
    >>> done = check_machine(["."], only=["folders"])
    >>> [row.status for row in done.rows if row.name == "rename"]
    ['ok']
    """
    checks = _chosen(quick, only)
    context = CheckContext(
        cache=Path(cache),
        folders=tuple(map(Path, folders)) or (Path(cache), Path("reports"), _temporary()),
        verify=verify,
        ask=functools.cache(functools.partial(ask_engines, Path(cache), quick=not _timed(checks))),
    )
    return MachineCheck(tuple(_rows(checks, context, progress or Silent())))


def _chosen(quick: bool, only: Sequence[str]) -> list[Check]:
    known = dict.fromkeys(check.heading.lower() for check in CHECKS)
    if unknown := [name for name in only if name not in known]:
        raise ConfigError(
            f"The 'only' parameter must be some of {', '.join(known)}. Got {unknown[0]!r} instead."
        )
    return [
        check
        for check in CHECKS
        if not (quick and check.timed) and (not only or check.heading.lower() in only)
    ]


def _timed(checks: Sequence[Check]) -> bool:
    return any(check.timed for check in checks)


def _temporary() -> Path:
    """Return the temporary folder, or the one that was meant where none can be written to."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return Path(os.environ.get("TMPDIR") or "/tmp")


def _rows(checks: Sequence[Check], context: CheckContext, progress: Progress) -> Iterator[CheckRow]:
    progress.start("checking the machine", len(checks), "checks")
    for check in checks:
        for row in _safely(check, context):
            yield dataclasses.replace(row, heading=check.heading)
        progress.advance()
    progress.finish()


def _safely(check: Check, context: CheckContext) -> Iterator[CheckRow]:
    try:
        yield from check.run(context)
    except Exception as error:  # whatever a broken machine raises
        text = f"the check failed: {type(error).__name__}: {' '.join(str(error).split())}"
        remedy = "Report this error with the output of `featx doctor --json`; the other rows are valid."
        yield problem(check.name, text, remedy)
