"""What bfloat16 on OpenVINO does to networks, as measured: a row for each network that was found to suffer."""

from __future__ import annotations

from dataclasses import dataclass

from featx.errors import ConfigError

__all__ = ["ROWS", "Bfloat16Network", "kept_layers", "refuse_bfloat16"]

# What bfloat16 may cost and has to gain.
_MOST_AUC = 0.002
_LEAST_SPEED = 1.5


@dataclass(frozen=True)
class Bfloat16Network:
    """How bfloat16 changes a network of which the first depthwise convolutions stay in float32.

    Attributes
    ----------
    backbone : str
        Name in the zoo's table.
    kept : int
        Number of depthwise convolutions that stay in float32, from the input on.
    plain_auc : float
        Largest change of an AUC with all of the network in bfloat16.
    auc : float or None
        Largest change of an AUC with these layers in float32; None where it was not measured.
    speed : float or None
        Processor time of an image in float32 over that with these layers in float32; None where it was not measured.
    """

    backbone: str
    kept: int
    plain_auc: float
    auc: float | None = None
    speed: float | None = None

    @property
    def good(self) -> bool:
        """Whether it was measured, and keeps the limits."""
        measured = self.auc is not None and self.speed is not None
        return measured and abs(self.auc or 0) <= _MOST_AUC and (self.speed or 0) >= _LEAST_SPEED

    @property
    def finding(self) -> str:
        """What was measured, for messages."""
        auc = (
            f"changed an AUC by up to {self.plain_auc:+.3f}; with {self.kept} depthwise convolutions in float32 that was "
            "not measured"
            if self.auc is None
            else f"changes an AUC by up to {self.auc:+.4f}"
        )
        speed = "" if self.speed is None else f", at {self.speed:.1f} times the speed of float32"
        return f"{auc}{speed} (allowed: {_MOST_AUC} at {_LEAST_SPEED} times or more)"


# Published ImageNet weights; all of it in bfloat16 on ISIC 2017 and other data, with layers in float32 on UDA-1. The
# first depthwise convolution alone makes most of the deviation (docs/extraction.md).
ROWS = (Bfloat16Network("mobilenet_v2", kept=1, plain_auc=-0.007, auc=-0.0024, speed=1.8),)

_BY_NAME = {row.backbone: row for row in ROWS}


def kept_layers(backbone: str) -> int:
    """Return how many depthwise convolutions of a network stay in float32 while the others compute in bfloat16.

    Examples
    --------
    >>> kept_layers("mobilenet_v2"), kept_layers("densenet121")
    (1, 0)
    """
    return _BY_NAME[backbone].kept if backbone in _BY_NAME else 0


def refuse_bfloat16(backbone: str) -> None:
    """Refuse bfloat16 for a network that is known to suffer from it.

    Raises
    ------
    ConfigError
        If its row does not keep the limits. Networks without a row are not refused.

    Examples
    --------
    >>> refuse_bfloat16("densenet121")
    """
    row = _BY_NAME.get(backbone)
    if row is not None and not row.good:
        raise ConfigError(
            f"{backbone} in bfloat16 {row.finding}; use --precision float32, or give --force-precision as well"
        )
