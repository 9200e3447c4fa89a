"""Options of `featx cache import`. This file imports no heavy library, so that help stays fast."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from featx.errors import ConfigError
from featx.features.extract_settings import check_arm
from featx.options import REQUIRED, PlaceOptions, choice, path, switch, text

__all__ = ["ImportSettings"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}")


@dataclass(frozen=True, kw_only=True)
class ImportSettings(PlaceOptions):
    """Options of `featx.import_features`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type, or the name cannot be that of a network.

    Examples
    --------
    >>> ImportSettings.make({"name": "derm-foundation", "manifest": "lesions.csv"}).missing
    'fail'
    """

    name: str = text(
        REQUIRED, "Name of the network that made the features, as reports show it.", metavar="NAME"
    )
    manifest: Path | str = path(REQUIRED, "Manifest of the images that the rows belong to.")
    pool: str = choice(
        "none",
        ("none", "mean"),
        "What makes one row of the patches of an image or slide: their mean. With none, patches are refused.",
    )
    in_manifest_order: bool = switch(
        False, "Take the rows in the order of the manifest's images, for files that name no images."
    )
    missing: str = choice(
        "fail",
        ("fail", "leave-out"),
        "What missing images lead to. For images without a row: an error, or a gap.",
    )
    unmatched: str = choice(
        "fail", ("fail", "ignore"), "What rows of images that the manifest does not have lead to."
    )
    arm: str | None = text(None, "Name of the arm, for `featx train-svm --arm NAME`; its file is written.")

    def check(self) -> None:
        """Refuse a name that is not a good folder name."""
        super().check()
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"The 'name' parameter must be 1 to 60 letters, digits, dots, hyphens, underscores and plus signs, and "
                f"begin with a letter or digit. Got {self.name!r} instead."
            )
        if self.arm is not None:
            check_arm(self.arm)
