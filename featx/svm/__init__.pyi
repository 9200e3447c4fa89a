from .model import FusedModel, SvmModel, load_model
from .scaling import Scaler, row_lengths
from .settings import SvmSettings, TrainSvmSettings
from .solvers.scikit import LinearSVM
from .svm_records import chosen_costs, run_auc
from .train import check_inner_folds, train_svm

__all__ = [
    "FusedModel",
    "LinearSVM",
    "Scaler",
    "SvmModel",
    "SvmSettings",
    "TrainSvmSettings",
    "check_inner_folds",
    "chosen_costs",
    "load_model",
    "row_lengths",
    "run_auc",
    "train_svm",
]
