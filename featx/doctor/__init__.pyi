from .check_rows import CheckRow
from .diagnosis import Diagnosis, diagnose

__all__ = [
    "CheckRow",
    "Diagnosis",
    "diagnose",
]
