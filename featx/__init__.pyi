from .data import Manifest, read_manifest
from .errors import FeatxError
from .features import FeatureStore, extract
from .finetuning import finetune
from .study import report
from .svm import train_svm

__version__: str
__all__ = [
    "FeatureStore",
    "FeatxError",
    "Manifest",
    "__version__",
    "extract",
    "finetune",
    "read_manifest",
    "report",
    "train_svm",
]
