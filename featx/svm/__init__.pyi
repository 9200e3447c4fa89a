from .fused.joined_store import JoinedStore
from .inputs import check_finite
from .model import FusedModel, SvmModel, load_model
from .problems import Decision, pool_groups
from .scaling import Scaler, prepare_rows, unit_rows
from .settings import SubsetOptions, SvmInputOptions, SvmSettings, TrainSvmSettings, external_source
from .solvers.scikit import LinearSVM
from .svm_records import chosen_costs, run_auc
from .train import check_inner_folds, train_runs, train_svm

__all__ = [
    "Decision",
    "FusedModel",
    "JoinedStore",
    "LinearSVM",
    "Scaler",
    "SubsetOptions",
    "SvmInputOptions",
    "SvmModel",
    "SvmSettings",
    "TrainSvmSettings",
    "check_finite",
    "check_inner_folds",
    "chosen_costs",
    "external_source",
    "load_model",
    "pool_groups",
    "prepare_rows",
    "run_auc",
    "train_runs",
    "train_svm",
    "unit_rows",
]
