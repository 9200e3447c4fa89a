"""Options of `featx export` and `featx card`, each written once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featx.errors import ConfigError
from featx.options import (
    REQUIRED,
    Options,
    PlaceOptions,
    RunWeightsOptions,
    choice,
    path,
    switch,
    text,
    whole,
)

if TYPE_CHECKING:
    from featx.data import Manifest

__all__ = ["CARD_ENDINGS", "CardSettings", "ExportSettings"]

# Endings of a model card, with what they mean.
CARD_ENDINGS = (".md", ".html")
# Endings of exported models; a name without an ending is a folder.
_ENDINGS = {".onnx": "onnx", ".keras": "keras", "": "openvino"}

_LICENCE = "Licence of the weights of the network, for the model card; featx does not know it."


@dataclass(frozen=True, kw_only=True)
class ExportSettings(PlaceOptions, RunWeightsOptions):
    """Options of `featx.export_model`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds, or format and ending of the output do not match.

    Examples
    --------
    >>> ExportSettings(output="model.onnx").chosen_format
    'onnx'
    """

    output: Path | str = path(
        REQUIRED,
        "File (.onnx, .keras) or folder (OpenVINO) to write. Its model card is written beside it: NAME.card.md.",
        short="-o",
    )
    format: str | None = choice(
        None, ("onnx", "openvino", "keras"), "Format.", default_text="by the ending of --output"
    )
    manifest: Path | str | Manifest | None = path(
        None,
        "Manifest of the images, on which the exported model is compared with featx; those of the run are best.",
        types=(object,),
        default_text="synthetic images",
    )
    check_images: int = whole(16, "Number of images to compare on.", low=2)
    licence: str | None = text(None, _LICENCE)
    overwrite: bool = switch(False, "Recompute and replace finished results.")

    @property
    def chosen_format(self) -> str:
        """The format that was given, or that of the ending."""
        return self.format or _ENDINGS[Path(self.output).suffix]

    def check(self) -> None:
        """Refuse an ending that is not that of the format."""
        super().check()
        ending = Path(self.output).suffix
        if ending in _ENDINGS and self.format in (None, _ENDINGS[ending]):
            return
        if self.format is None:
            raise ConfigError(
                f"The 'output' parameter must end in .onnx or .keras, or be a folder's name without an ending (OpenVINO). "
                f"Got {str(self.output)!r} instead."
            )
        wanted = next(one for one, name in _ENDINGS.items() if name == self.format)
        what = f"must end in {wanted}" if wanted else "must be a folder's name without an ending"
        raise ConfigError(
            f"The 'output' parameter {what} for the format {self.format}. Got {str(self.output)!r} instead."
        )


@dataclass(frozen=True, kw_only=True)
class CardSettings(Options):
    """Options of `featx.write_card`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type, or the ending of the output is unknown.

    Examples
    --------
    >>> CardSettings(output="card.md").licence is None
    True
    """

    output: Path | str = path(REQUIRED, "File to write or to replace; it ends in .md or .html.", short="-o")
    licence: str | None = text(None, _LICENCE)

    def check(self) -> None:
        """Refuse an unknown ending."""
        super().check()
        if Path(self.output).suffix not in CARD_ENDINGS:
            raise ConfigError(
                f"The 'output' parameter must end in {' or '.join(CARD_ENDINGS)}. Got {str(self.output)!r} instead."
            )
