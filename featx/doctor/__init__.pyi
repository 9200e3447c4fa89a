from .all_checks import MachineCheck, check_machine
from .check_rows import CheckRow

__all__ = [
    "CheckRow",
    "MachineCheck",
    "check_machine",
]
