from .anova import (
    Anova,
    factorial_anova,
)
from .arms import (
    POOLED,
    FoldScores,
    fold_aucs,
    fold_scores,
    pool_folds,
    select_rows,
    size_ratio,
    summarise_arm,
)
from .auc import (
    average_precision,
    fold_auc,
    mean_roc,
    precision_recall_curve,
    roc_curve,
)
from .calibration import (
    Calibration,
    Sigmoid,
    Steps,
    brier_score,
    calibrate,
    calibration_warnings,
    fit_calibration,
    reliability,
)
from .compare import (
    Comparison,
    Comparisons,
    compare_many,
)
from .findings import (
    TestResult,
)
from .grouping import (
    pool_by_group,
    pool_fold,
)
from .inputs import (
    check_share,
    group_codes,
)
from .intervals import (
    FoldSummary,
    summarise_folds,
)
from .operating import (
    RULES,
    Confusion,
    balanced_accuracy,
    confusion,
    confusion_at,
    confusion_matrix,
    fixed_thresholds,
)
from .pooling import (
    POOLINGS,
    pool_runs,
)
from .power import (
    Power,
    detectable,
)
from .proportions import (
    Estimate,
    predictive_values,
    proportion,
)
from .recalibration import (
    Recalibration,
    fit_recalibration,
    smooth_curve,
)

__all__ = [
    "POOLED",
    "POOLINGS",
    "RULES",
    "Anova",
    "Calibration",
    "Comparison",
    "Comparisons",
    "Confusion",
    "Estimate",
    "FoldScores",
    "FoldSummary",
    "Power",
    "Recalibration",
    "Sigmoid",
    "Steps",
    "TestResult",
    "average_precision",
    "balanced_accuracy",
    "brier_score",
    "calibrate",
    "calibration_warnings",
    "check_share",
    "compare_many",
    "confusion",
    "confusion_at",
    "confusion_matrix",
    "detectable",
    "factorial_anova",
    "fit_calibration",
    "fit_recalibration",
    "fixed_thresholds",
    "fold_auc",
    "fold_aucs",
    "fold_scores",
    "group_codes",
    "mean_roc",
    "pool_by_group",
    "pool_fold",
    "pool_folds",
    "pool_runs",
    "precision_recall_curve",
    "predictive_values",
    "proportion",
    "reliability",
    "roc_curve",
    "select_rows",
    "size_ratio",
    "smooth_curve",
    "summarise_arm",
    "summarise_folds",
]
