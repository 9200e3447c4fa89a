"""What bfloat16 on OpenVINO does to networks, as measured: a row for each network of which layers stay in float32."""

from __future__ import annotations

from dataclasses import dataclass

from featx.errors import ConfigError

__all__ = ["ROWS", "Bfloat16Network", "kept_layers", "refuse_bfloat16", "refused_networks"]

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
        """Whether it keeps both limits."""
        return not self.finding

    @property
    def finding(self) -> str:
        """What keeps it from being good, for messages; empty if it is."""
        found = []
        if abs(self.auc) > _MOST_AUC:
            found.append(f"changes an AUC by up to {self.auc:+.4f}, more than {_MOST_AUC}")
        if self.speed < _LEAST_SPEED:
            found.append(f"has {self.speed:.2f} times the speed of float32, less than {_LEAST_SPEED}")
        return ", and ".join(found)


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


def refused_networks() -> str:
    """Say which networks are refused in bfloat16, and why.

    Examples
    --------
    >>> "mobilenet_v2 changes an AUC by up to +0.0028, more than 0.002" in refused_networks()
    True
    """
    return "; ".join(f"{row.backbone} {row.finding}" for row in ROWS if not row.good)


def refuse_bfloat16(backbone: str) -> None:
    """Refuse bfloat16 for a network that is known to lose too much by it, or to gain too little.

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
