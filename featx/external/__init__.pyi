from .corruption_records import (
    CorruptedScores,
    CorruptionRecord,
    corrupted_scores,
    finished_corruption,
    write_corruption,
)
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
    "CorruptedScores",
    "CorruptionRecord",
    "ExternalRecord",
    "ExternalScores",
    "Overlap",
    "TrainedOn",
    "corrupted_scores",
    "external_scores",
    "find_overlap",
    "finished_corruption",
    "finished_scores",
    "refuse_overlap",
    "write_corruption",
    "write_external",
]
