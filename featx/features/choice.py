"""Which engine a pass is worth: what an export to OpenVINO takes against what it saves, estimated from counted work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featx.zoo import Backbone, estimated_multiply_adds

__all__ = ["Load", "choose_engine"]

# Processor time measured on two cores of an AMD EPYC, batches of 16, random weights. For an image, Keras on TensorFlow
# took 3.2 ms with MobileNet 0.25, 18 ms with MobileNet, 84 ms with DenseNet-121, 86 ms with ResNet-50 and 208 ms with
# Xception; OpenVINO took 5 to 25 % less, and keeps the cores busier: 1.3 to 2 times as fast by the clock. An export
# took 2 to 14 s, with the number of layers.
_SECONDS_PER_IMAGE = 2e-3
_SECONDS_PER_MULTIPLY_ADD = 2.3e-11
_SHARE_SAVED = 0.3
_EXPORT_SECONDS = 8.0


@dataclass(frozen=True)
class Load:
    """What a network has to do in a pass.

    Attributes
    ----------
    backbone : Backbone
        Row of the zoo's table.
    image_size : int
        Input size in pixels.
    rows : int
        Images, times the views of each.
    exported : bool
        Whether an export of the network stands.
    """

    backbone: Backbone
    image_size: int
    rows: int
    exported: bool


def choose_engine(loads: Sequence[Load], cores: int) -> tuple[str, str]:
    """Choose between Keras and OpenVINO on a CPU.

    Features agree within 2e-4 of the largest, so that the choice decides about time alone.

    Parameters
    ----------
    loads : sequence of Load
        The networks of a pass.
    cores : int
        Cores that compute.

    Returns
    -------
    engine : str
        ``"openvino"`` where it saves more time than the missing exports take, else ``"keras"``.
    reason : str
        Why, for the log.

    Examples
    --------
    >>> from featx.zoo.backbones import find_backbone
    >>> choose_engine([Load(find_backbone("xception"), 299, 1011, False)], 2)
    ('openvino', 'exporting takes about 8 s and saves about 29 s of 98 s')
    >>> choose_engine([Load(find_backbone("tiny"), 64, 1011, False)], 2)
    ('keras', 'exporting to openvino takes about 8 s and saves about 0 s of 1 s')
    """
    export = _EXPORT_SECONDS * sum(not load.exported for load in loads)
    if not export:
        return "openvino", "its exports stand"
    keras = sum(_keras_seconds(load) for load in loads) / cores
    saved = _SHARE_SAVED * keras
    times = f"takes about {export:.0f} s and saves about {saved:.0f} s of {keras:.0f} s"
    if saved > export:
        return "openvino", f"exporting {times}"
    return "keras", f"exporting to openvino {times}"


def _keras_seconds(load: Load) -> float:
    """Seconds of one core."""
    work = estimated_multiply_adds(load.backbone, load.image_size)
    return load.rows * (_SECONDS_PER_IMAGE + _SECONDS_PER_MULTIPLY_ADD * work)
