from .final_model import finalize
from .finalize_settings import FinalizeSettings
from .predict_settings import PredictSettings
from .predictions import PredictionTable, predict

__all__ = [
    "FinalizeSettings",
    "PredictSettings",
    "PredictionTable",
    "finalize",
    "predict",
]
