from .embedding_files import EmbeddedArm, MapPoint, NearImage, NeighbourRow, NoiseCandidate, write_embedding
from .make_report import Report, changes, compare_arms, report_runs, report_tables
from .overlays import SaliencyMap, write_index
from .page import page_templates
from .report_settings import ReportSettings
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
    "Cell",
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
    "collect",
    "compare_arms",
    "corruption_drops",
    "drop_table",
    "escaped_markdown",
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
    "to_frame",
    "write_embedding",
    "write_index",
]
