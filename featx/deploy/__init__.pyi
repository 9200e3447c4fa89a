from .run_model import FINAL, RunModel, arm_settings, read_models

__all__ = [
    "FINAL",
    "RunModel",
    "arm_settings",
    "read_models",
]
