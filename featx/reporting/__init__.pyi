from .make_report import Report, changes, report
from .overlays import SaliencyMap, write_index
from .sections.images import find_mistakes
from .series import Series, collect
from .summary import main_class, measure
from .tables import FORMATS, plain

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
