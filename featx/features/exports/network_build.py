"""What decides a network, so that it can be built here or in another process. Keras is imported when it is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from featx.zoo import Backbone, Weights

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = ["NetworkBuild"]


@dataclass(frozen=True)
class NetworkBuild:
    """A network that can be built; `device` is its name in Keras, such as ``cpu:0``."""

    backbone: Backbone
    weights: Weights
    layers: tuple[str, ...]
    pool: str
    image_size: int
    device: str

    def __call__(self, policy: str = "float32") -> Network:
        """Build it under a dtype policy of Keras."""
        import keras

        from featx.zoo import build_network

        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            with keras.device(self.device):
                return build_network(
                    self.backbone,
                    self.weights,
                    layers=self.layers,
                    pool=self.pool,
                    image_size=self.image_size,
                )
        finally:
            keras.config.set_dtype_policy(before)
