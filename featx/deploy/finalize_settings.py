"""Options of `featx finalize`. This file imports no heavy library, so that help stays fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from featx.options import TaskOptions, texts
from featx.svm import SvmInputOptions

__all__ = ["FinalizeSettings"]


@dataclass(frozen=True, kw_only=True)
class FinalizeSettings(SvmInputOptions, TaskOptions):
    """Options of `featx.finalize`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds, two values exclude each other, or neither features nor an
        arm is given.

    Examples
    --------
    >>> FinalizeSettings.make({"arm": "frozen", "runs": "reports/runs/frozen"}).folders
    (PosixPath('reports/runs/frozen'),)
    """

    runs: Path | str | Sequence[Path | str] = texts(
        (),
        "Runs of `featx train-svm` of the same arm, task and settings, or their folder; may be repeated. Their AUC is "
        "recorded as what to expect of the final model.",
        types=(Path,),
    )

    @property
    def folders(self) -> tuple[Path, ...]:
        """The paths in `runs`."""
        return tuple(map(Path, cast(Sequence[Path | str], self.runs)))
