from .model import SvmModel, load_model
from .scaling import Scaler, row_lengths
from .settings import SvmSettings, TrainSvmSettings, external_source
from .solvers.scikit import LinearSVM
from .svm_records import run_auc
from .train import check_inner_folds, train_svm

__all__ = [
    "LinearSVM",
    "Scaler",
    "SvmModel",
    "SvmSettings",
    "TrainSvmSettings",
    "check_inner_folds",
    "external_source",
    "load_model",
    "row_lengths",
    "run_auc",
    "train_svm",
]
