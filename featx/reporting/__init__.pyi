from .arm_facts import cost_of, lineage_of, origin
from .figures.cost_scatter import cost_scatter
from .make_report import Report, changes, compare_arms, report_runs, report_tables
from .overlays import SaliencyMap, write_index
from .page import PageSection, page_templates, render_sections
from .report_settings import ReportSettings
from .sections.mistakes import find_mistakes
from .series import Series, collect, natural
from .summary import main_class, measure
from .tables import FORMATS, Cell, Column, Table, escaped_markdown, markdown, plain, shown

__all__ = [
    "FORMATS",
    "Cell",
    "Column",
    "PageSection",
    "Report",
    "ReportSettings",
    "SaliencyMap",
    "Series",
    "Table",
    "changes",
    "collect",
    "compare_arms",
    "cost_of",
    "cost_scatter",
    "escaped_markdown",
    "find_mistakes",
    "lineage_of",
    "main_class",
    "markdown",
    "measure",
    "natural",
    "origin",
    "page_templates",
    "plain",
    "render_sections",
    "report_runs",
    "report_tables",
    "shown",
    "write_index",
]
