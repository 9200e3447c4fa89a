from .arm_facts import size_points
from .make_report import Report, changes, compare_arms, report_runs, report_tables
from .method_checks.checked_runs import check_methods, failing
from .method_checks.outcomes import CheckResult
from .overlays import SaliencyMap, write_index
from .page import page_templates
from .report_settings import SEVERITIES, ReportSettings
from .sections.mistakes import find_mistakes
from .series import Series, collect, natural
from .summary import main_class, measure
from .tables import FORMATS, Cell, Column, Table, escaped_markdown, markdown, plain, shown

__all__ = [
    "FORMATS",
    "SEVERITIES",
    "Cell",
    "CheckResult",
    "Column",
    "Report",
    "ReportSettings",
    "SaliencyMap",
    "Series",
    "Table",
    "changes",
    "check_methods",
    "collect",
    "compare_arms",
    "escaped_markdown",
    "failing",
    "find_mistakes",
    "main_class",
    "markdown",
    "measure",
    "natural",
    "page_templates",
    "plain",
    "report_runs",
    "report_tables",
    "shown",
    "size_points",
    "write_index",
]
