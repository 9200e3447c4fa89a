from .exports.card_writers import write_card
from .exports.export_settings import CardSettings, ExportSettings
from .exports.exported_model import ExportedModel, export_model
from .final_model import finalize
from .finalize_settings import FinalizeSettings
from .predict_settings import PredictSettings
from .predictions import PredictionTable, predict

__all__ = [
    "CardSettings",
    "ExportSettings",
    "ExportedModel",
    "FinalizeSettings",
    "PredictSettings",
    "PredictionTable",
    "export_model",
    "finalize",
    "predict",
    "write_card",
]
