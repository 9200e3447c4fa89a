from .model import SvmModel, load_model
from .scaling import Scaler, row_lengths
from .settings import CHOICES, PRESETS, resolve_settings
from .svm_records import run_auc
from .train import check_inner_folds, train_svm

__all__ = [
    "CHOICES",
    "PRESETS",
    "Scaler",
    "SvmModel",
    "check_inner_folds",
    "load_model",
    "resolve_settings",
    "row_lengths",
    "run_auc",
    "train_svm",
]
