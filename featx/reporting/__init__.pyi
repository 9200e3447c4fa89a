from .arm_facts import cost_of, lineage_of, origin, size_points
from .embedding_files import (
    EmbeddedArm,
    MapPoint,
    NearImage,
    NeighbourRow,
    NoiseCandidate,
    write_embedding,
)
from .figures.cost_scatter import cost_scatter
from .make_report import Report, changes, compare_arms, report_runs, report_tables
from .maps.overlays import SaliencyMap, write_index
from .method_checks.checked_runs import check_methods, failing
from .method_checks.outcomes import CheckResult
from .page import PageSection, page_templates, render_sections
from .report_settings import SEVERITIES, ReportSettings
from .robustness_drops import CorruptionDrop, corruption_drops
from .sections.mistakes import find_mistakes
from .sections.robustness_tables import drop_table
from .series import Series, collect
from .summary import main_class, measure
from .tables import (
    FORMATS,
    Cell,
    Column,
    Table,
    escaped_markdown,
    markdown,
    parquet_bytes,
    plain,
    shown,
    to_frame,
)

__all__ = [
    "FORMATS",
    "SEVERITIES",
    "Cell",
    "CheckResult",
    "Column",
    "CorruptionDrop",
    "EmbeddedArm",
    "MapPoint",
    "NearImage",
    "NeighbourRow",
    "NoiseCandidate",
    "PageSection",
    "Report",
    "ReportSettings",
    "SaliencyMap",
    "Series",
    "Table",
    "changes",
    "check_methods",
    "collect",
    "compare_arms",
    "corruption_drops",
    "cost_of",
    "cost_scatter",
    "drop_table",
    "escaped_markdown",
    "failing",
    "find_mistakes",
    "lineage_of",
    "main_class",
    "markdown",
    "measure",
    "origin",
    "page_templates",
    "parquet_bytes",
    "plain",
    "render_sections",
    "report_runs",
    "report_tables",
    "shown",
    "size_points",
    "to_frame",
    "write_embedding",
    "write_index",
]
