from .audit import FoldAudit, audit_fold_files
from .check import ManifestCheck, check_manifest
from .contact_sheet import write_check_page, write_preparation_page
from .fetch import archives, fetch_archive, find_archive
from .folds import (
    Fold,
    Folds,
    check_folds,
    known_test_images,
    leaves_one_out,
    read_folds,
    refuse_other_folds,
    write_folds,
)
from .importers.registry import IMPORTERS, import_dataset
from .manifest import Manifest, leaves, read_manifest
from .overlap import OVERLAP_KINDS, Overlap, TrainingImages, find_overlap, refuse_overlap
from .protocols import check_inner, describe_folds, make_fold_file, make_folds, merged_groups, split_folds
from .splitting import deal, inner_splits, validation_split
from .synthetic import draw_dermoscopy, draw_retina
from .tasks import Labelled, Task, apply_task, apply_trained_task, read_task

__all__ = [
    "IMPORTERS",
    "OVERLAP_KINDS",
    "Fold",
    "FoldAudit",
    "Folds",
    "Labelled",
    "Manifest",
    "ManifestCheck",
    "Overlap",
    "Task",
    "TrainingImages",
    "apply_task",
    "apply_trained_task",
    "archives",
    "audit_fold_files",
    "check_folds",
    "check_inner",
    "check_manifest",
    "deal",
    "describe_folds",
    "draw_dermoscopy",
    "draw_retina",
    "fetch_archive",
    "find_archive",
    "find_overlap",
    "import_dataset",
    "inner_splits",
    "known_test_images",
    "leaves",
    "leaves_one_out",
    "make_fold_file",
    "make_folds",
    "merged_groups",
    "read_folds",
    "read_manifest",
    "read_task",
    "refuse_other_folds",
    "refuse_overlap",
    "split_folds",
    "validation_split",
    "write_check_page",
    "write_folds",
    "write_preparation_page",
]
