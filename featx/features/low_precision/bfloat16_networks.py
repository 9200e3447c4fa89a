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
    auc : float
        Largest change of an AUC over data sets, at a fixed C.
    speed : float
        Processor time of an image in float32 over that in bfloat16.
    """

    backbone: str
    kept: int
    auc: float
    speed: float

    @property
    def good(self) -> bool:
        """Whether it keeps the limits."""
        return abs(self.auc) <= _MOST_AUC and self.speed >= _LEAST_SPEED

    @property
    def finding(self) -> str:
        """What was measured, for messages."""
        return (
            f"changes an AUC by up to {self.auc:+.4f}, at {self.speed:.2f} times the speed of float32 (allowed: {_MOST_AUC} "
            f"at {_LEAST_SPEED} times or more)"
        )


# Published ImageNet weights, on UDA-1, derm7pt and ISIC 2017 (docs/extraction.md). The first depthwise convolution alone
# makes most of MobileNetV2's deviation.
ROWS = (
    Bfloat16Network("mobilenet_0.75", kept=3, auc=0.0020, speed=1.48),
    Bfloat16Network("mobilenet_v2", kept=1, auc=0.0028, speed=1.75),
    Bfloat16Network("efficientnet_lite0", kept=1, auc=0.0018, speed=1.59),
    Bfloat16Network("efficientnet_lite2", kept=2, auc=-0.0020, speed=1.66),
)

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
