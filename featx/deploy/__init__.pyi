from .exports.card_writers import write_card
from .exports.export_settings import CardSettings, ExportSettings
from .exports.exported_model import ExportedModel, export_model
from .final_model import finalize
from .finalize_settings import FinalizeSettings
from .new_features import find_features
from .predict_settings import PredictSettings
from .predictions import PredictionTable, predict
from .run_model import RunModel, read_models

__all__ = [
    "CardSettings",
    "ExportSettings",
    "ExportedModel",
    "FinalizeSettings",
    "PredictSettings",
    "PredictionTable",
    "RunModel",
    "export_model",
    "finalize",
    "find_features",
    "predict",
    "read_models",
    "write_card",
]
