"""The network compiled last, kept for the next training in the same process that needs one like it."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .learner import Learner

__all__ = ["Kept"]


@dataclass
class Kept:
    """The network compiled last.

    Compiling takes seconds and tracing more, so the folds of a protocol, and arms of equal recipe, share one
    network; weights, optimizers and chance are set anew for each.

    Attributes
    ----------
    needs : str
        Digest of what the network was compiled for; empty if there is none.
    learner : Learner or None
        The network.
    started_from : str
        Digest of the weights that it starts from.
    """

    needs: str = ""
    learner: Learner | None = None
    started_from: str = ""

    def clear(self) -> None:
        """Let the network go."""
        if self.learner is None:
            return
        self.needs, self.learner, self.started_from = "", None, ""
        # Keras' models are full of cycles: without this, several networks of one process pile up.
        gc.collect()
