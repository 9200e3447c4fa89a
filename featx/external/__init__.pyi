from .external_records import (
    EXTERNAL,
    EXTERNAL_RECORD,
    ExternalRecord,
    ExternalScores,
    external_scores,
    finished_scores,
    write_external,
)
from .overlap import OVERLAP_KINDS, Overlap, TrainedOn, find_overlap, refuse_overlap

__all__ = [
    "EXTERNAL",
    "EXTERNAL_RECORD",
    "OVERLAP_KINDS",
    "ExternalRecord",
    "ExternalScores",
    "Overlap",
    "TrainedOn",
    "external_scores",
    "find_overlap",
    "finished_scores",
    "refuse_overlap",
    "write_external",
]
