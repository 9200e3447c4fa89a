from .corrupted_runs import RobustnessScores, robustness
from .robustness_settings import RobustnessSettings

__all__ = [
    "RobustnessScores",
    "RobustnessSettings",
    "robustness",
]
