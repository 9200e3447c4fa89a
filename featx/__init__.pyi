from .data import Folds, Manifest, make_folds, read_manifest
from .deploy import ExportedModel, PredictionTable, export_model, finalize, predict, write_card
from .embedding_maps import Embedding, embedding
from .errors import FeatxError
from .external import ExternalScores, external_scores
from .features import Extraction, FeatureStore, ImportedFeatures, extract, import_features
from .finetuning import finetune
from .reporting import CheckResult, Report, check_methods, compare_arms
from .results import add_results, read_results
from .runs import Run, read_runs
from .saliency_maps import Saliency, saliency
from .stats import Comparison
from .stress_tests import RobustnessScores, robustness
from .study import StudyOutcome, report, run_study
from .svm import LinearSVM, train_svm
from .zoo import CustomBackbone

__version__: str
__all__ = [
    "CheckResult",
    "Comparison",
    "CustomBackbone",
    "Embedding",
    "ExportedModel",
    "ExternalScores",
    "Extraction",
    "FeatureStore",
    "FeatxError",
    "Folds",
    "ImportedFeatures",
    "LinearSVM",
    "Manifest",
    "PredictionTable",
    "Report",
    "RobustnessScores",
    "Run",
    "Saliency",
    "StudyOutcome",
    "__version__",
    "add_results",
    "check_methods",
    "compare_arms",
    "embedding",
    "export_model",
    "external_scores",
    "extract",
    "finalize",
    "finetune",
    "import_features",
    "make_folds",
    "predict",
    "read_manifest",
    "read_results",
    "read_runs",
    "report",
    "robustness",
    "run_study",
    "saliency",
    "train_svm",
    "write_card",
]
