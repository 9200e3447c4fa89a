"""featx: which pre-trained network, transferred how, separates my classes best, and can I believe it?

The four verbs of the command line are functions here: `extract`, `train_svm`, `finetune`, `report`. Names are
imported at first use, so that ``import featx`` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featx.data.manifest import Manifest as Manifest
    from featx.data.manifest import read_manifest as read_manifest
    from featx.errors import FeatxError as FeatxError
    from featx.features.extract import extract as extract
    from featx.features.store import FeatureStore as FeatureStore
    from featx.finetuning.train import finetune as finetune
    from featx.reporting.report import report as report
    from featx.svm.train import train_svm as train_svm

__version__ = "0.1.0"

_HOMES = {
    "FeatureStore": "featx.features.store",
    "FeatxError": "featx.errors",
    "Manifest": "featx.data.manifest",
    "extract": "featx.features.extract",
    "finetune": "featx.finetuning.train",
    "read_manifest": "featx.data.manifest",
    "report": "featx.reporting.report",
    "train_svm": "featx.svm.train",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'featx' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
