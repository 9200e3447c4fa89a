from .arm_facts import size_points
from .embedding_files import EmbeddedArm, MapPoint, NearImage, NeighbourRow, NoiseCandidate, write_embedding
from .make_report import Report, changes, compare_arms, report_runs, report_tables
from .method_checks.checked_runs import check_methods, failing
from .method_checks.outcomes import CheckResult
from .overlays import SaliencyMap, write_index
from .page import page_templates
from .report_settings import SEVERITIES, ReportSettings
from .robustness_drops import CorruptionDrop, corruption_drops
from .sections.mistakes import find_mistakes
from .sections.robustness_tables import drop_table
from .series import Series, collect, natural
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
    "drop_table",
    "escaped_markdown",
    "failing",
    "find_mistakes",
    "main_class",
    "markdown",
    "measure",
    "natural",
    "page_templates",
    "parquet_bytes",
    "plain",
    "report_runs",
    "report_tables",
    "shown",
    "size_points",
    "to_frame",
    "write_embedding",
    "write_index",
]
