from .make_report import Report, changes, compare_arms, report_runs
from .overlays import SaliencyMap, write_index
from .report_settings import ReportSettings
from .sections.mistakes import find_mistakes
from .series import Series, collect, natural
from .summary import main_class, measure
from .tables import FORMATS, plain

__all__ = [
    "FORMATS",
    "Report",
    "ReportSettings",
    "SaliencyMap",
    "Series",
    "changes",
    "collect",
    "compare_arms",
    "find_mistakes",
    "main_class",
    "measure",
    "natural",
    "plain",
    "report_runs",
    "write_index",
]
