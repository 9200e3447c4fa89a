from .data import Folds, Manifest, make_folds, read_manifest
from .deploy import PredictionTable, finalize, predict
from .errors import FeatxError
from .features import Extraction, FeatureStore, ImportedFeatures, extract, import_features
from .finetuning import finetune
from .reporting import Report, compare_arms
from .runs import Run, read_runs
from .saliency_maps import Saliency, saliency
from .stats import Comparison
from .study import StudyOutcome, report, run_study
from .svm import LinearSVM, train_svm
from .zoo import CustomBackbone

__version__: str
__all__ = [
    "Comparison",
    "CustomBackbone",
    "Extraction",
    "FeatureStore",
    "FeatxError",
    "Folds",
    "ImportedFeatures",
    "LinearSVM",
    "Manifest",
    "PredictionTable",
    "Report",
    "Run",
    "Saliency",
    "StudyOutcome",
    "__version__",
    "compare_arms",
    "extract",
    "finalize",
    "finetune",
    "import_features",
    "make_folds",
    "predict",
    "read_manifest",
    "read_runs",
    "report",
    "run_study",
    "saliency",
    "train_svm",
]
