from .final_model import finalize
from .finalize_settings import FinalizeSettings
from .predict_settings import PredictSettings
from .predictions import PredictionTable, predict
from .run_model import RunModel, arm_settings, read_models

__all__ = [
    "FinalizeSettings",
    "PredictSettings",
    "PredictionTable",
    "RunModel",
    "arm_settings",
    "finalize",
    "predict",
    "read_models",
]
