"""Options of `featx embedding`. This file imports no heavy library, so that help stays fast."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featx.errors import ConfigError
from featx.features import EngineOptions
from featx.options import REQUIRED, RunWeightsOptions, WorkerOptions, choice, path, texts, whole

if TYPE_CHECKING:
    from featx.data import Manifest

__all__ = ["EmbeddingSettings"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings(WorkerOptions, EngineOptions, RunWeightsOptions):
    """Options of `featx.embedding`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds, or UMAP is asked for and not installed.

    Examples
    --------
    >>> EmbeddingSettings(manifest="lesions.csv", method="pca").neighbours
    10
    """

    manifest: Path | str | Manifest = path(REQUIRED, "Manifest of the images.", types=(object,))
    output: Path | str = path(
        Path("reports/embedding"), "Folder for embedding.json and the tables.", short="-o"
    )
    features: Path | str | Sequence[Path | str] = texts(
        (),
        "Feature store, folder of stores, or file of an arm; may be repeated.",
        short="-f",
        types=(Path,),
        default_text="those of the recipe of the runs in the cache",
    )
    method: str = choice(
        "auto",
        ("auto", "umap", "pca"),
        "How features become two coordinates. auto: UMAP if the extra `umap` is installed, else PCA.",
    )
    neighbours: int = whole(10, "Number of nearest training images of each image.", low=1, metavar="K")
    seed: int = whole(0, "Random seed.", low=0)

    @property
    def chosen_method(self) -> str:
        """``"umap"`` or ``"pca"``."""
        if self.method != "auto":
            return self.method
        return "umap" if importlib.util.find_spec("umap") is not None else "pca"

    def check(self) -> None:
        """Refuse UMAP where it is not installed."""
        super().check()
        if self.method == "umap" and importlib.util.find_spec("umap") is None:
            raise ConfigError(
                "The method 'umap' needs umap-learn; run `pip install 'featx[umap]'`, or use --method pca"
            )
