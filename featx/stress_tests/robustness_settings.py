"""Options of `featx robustness`. This file imports no heavy library, so that help stays fast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featx.errors import ConfigError
from featx.features import EngineOptions
from featx.options import REQUIRED, RunWeightsOptions, WorkerOptions, choices, path, switch, texts, whole

if TYPE_CHECKING:
    from featx.data import Manifest

__all__ = ["RobustnessSettings"]

# The names in `featx.images`, which imports numpy and Pillow; a test compares them.
_NAMES = (
    "blur",
    "noise",
    "brightness",
    "darkness",
    "contrast",
    "jpeg",
    "colour",
    "vignette",
    "dark-corners",
    "hair",
    "ruler",
    "ink",
)
_LEVELS = ("1", "2", "3", "4", "5")


@dataclass(frozen=True, kw_only=True)
class RobustnessSettings(WorkerOptions, EngineOptions, RunWeightsOptions):
    """Options of `featx.robustness`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds.

    Examples
    --------
    >>> RobustnessSettings(manifest="lesions.csv", corruptions=["hair"], severities=[1, "3"]).levels
    (1, 3)
    """

    manifest: Path | str | Manifest = path(REQUIRED, "Manifest of the images.", types=(object,))
    corruptions: Sequence[str] = choices(
        _NAMES,
        _NAMES,
        "Corruption of the test images; may be repeated.",
        flag="corruption",
        default_text="all",
    )
    severities: Sequence[int | str] = texts(
        _LEVELS,
        "Severity of the corruptions, 1 to 5; may be repeated.",
        flag="severity",
        types=(int,),
        default_text="all",
    )
    limit: int | None = whole(
        None,
        "Corrupt at most this number of test images of each fold, chosen by their ids in the proportions of the classes.",
        low=2,
        default_text="all test images",
    )
    overwrite: bool = switch(False, "Recompute and replace finished results.")

    def check(self) -> None:
        """Refuse severities that do not exist, and lists without an item."""
        super().check()
        odd = [one for one in self.severities if str(one) not in _LEVELS]
        if odd:
            raise ConfigError(
                f"The 'severities' parameter must be whole numbers from 1 to 5. Got {odd[0]!r} instead."
            )
        for name in ("corruptions", "severities"):
            if not getattr(self, name):
                raise ConfigError(f"The {name!r} parameter must have at least one item. Got none.")

    @property
    def levels(self) -> tuple[int, ...]:
        """The severities as numbers, each once."""
        return tuple(dict.fromkeys(int(one) for one in self.severities))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The corruptions, each once."""
        return tuple(dict.fromkeys(self.corruptions))
