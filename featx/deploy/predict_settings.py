"""Options of `featx predict`. This file imports no heavy library, so that help stays fast."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from featx.errors import ConfigError
from featx.features import EngineOptions
from featx.options import RunWeightsOptions, WorkerOptions, choice, other, path, switch, text, texts, whole

__all__ = ["ENDINGS", "PredictSettings"]

ENDINGS = (".csv", ".jsonl", ".parquet")


@dataclass(frozen=True, kw_only=True)
class PredictSettings(WorkerOptions, EngineOptions, RunWeightsOptions):
    """Options of `featx.predict`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds, or the ending of the output is not known.

    Examples
    --------
    >>> PredictSettings(images="new", nearest=3).sources
    ('new',)
    """

    images: Any = other(
        (),
        "A folder of images, image files, or a manifest (with or without labels). With `features` they may be left out: "
        "then every row of the store is scored.",
    )
    features: Path | str | Sequence[Path | str] = texts(
        (),
        "Feature store, folder of stores, or file of an arm with the features of the images; may be repeated. Its recipe "
        "must be that of the runs. Of a fused arm, the features of members without a store are extracted.",
        short="-f",
        types=(Path,),
        default_text="extracted into the cache by the recipe of the runs",
    )
    output: Path | str = path(
        Path("predictions.csv"),
        "File to write: .csv, .jsonl (JSON lines) or .parquet by its ending.",
        short="-o",
    )
    threshold: str | None = text(
        None,
        "Rule of the threshold behind the predicted class, of those that the runs record: Youden, '0.90 sensitivity' or "
        "'0.90 specificity', fixed on the training set; or 0, the decision boundary of the SVM. Two-class tasks only.",
        metavar="RULE",
        default_text="Youden, or 0 where the runs record no thresholds; with several classes the highest decision value",
    )
    probability: bool = switch(
        False,
        "Fail if the runs have no calibration, which predicted probabilities need, instead of leaving these out.",
    )
    nearest: int = whole(
        0,
        "Number of training images to name for each image: those with the most similar features (cosine).",
        low=0,
        metavar="K",
    )
    on_error: str = choice(
        "finish",
        ("finish", "skip", "fail"),
        "What an image that cannot be read leads to. finish: an error after the predictions of all other images are "
        "written; skip: a warning; fail: an error at once, and no predictions.",
    )

    @property
    def sources(self) -> tuple[Any, ...]:
        """What is given as images, as a tuple."""
        return tuple(self.images) if isinstance(self.images, list | tuple) else (self.images,)

    @property
    def places(self) -> tuple[Path, ...]:
        """The paths in `features`."""
        return tuple(map(Path, cast(Sequence[Path | str], self.features)))

    def check(self) -> None:
        """Refuse an output that cannot be written, and a call without images and features."""
        super().check()
        ending = Path(self.output).suffix.lower()
        if ending not in ENDINGS:
            raise ConfigError(
                f"{self.output}: the output must end with {', '.join(ENDINGS)}; got {ending or 'no ending'!r}"
            )
        if ending == ".parquet" and importlib.util.find_spec("pyarrow") is None:
            raise ConfigError(
                f"{self.output}: Parquet needs pyarrow; run `pip install 'featx[parquet]'`, or give a .csv or .jsonl file"
            )
        if not self.sources and not self.features:
            raise ConfigError(
                "Neither images nor features were given; give images, or a feature store with --features"
            )
