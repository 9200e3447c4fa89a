from .make_report import Report, report
from .mistakes import find_mistakes
from .overlays import SaliencyMap, write_index
from .series import Series, collect
from .summary import main_class, measure
from .tables import FORMATS, plain
from .watch import changes

__all__ = [
    "FORMATS",
    "Report",
    "SaliencyMap",
    "Series",
    "changes",
    "collect",
    "find_mistakes",
    "main_class",
    "measure",
    "plain",
    "report",
    "write_index",
]
