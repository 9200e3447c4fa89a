from .audit import FoldAudit, audit_fold_files, first_picture
from .check import HASH_BYTES, NEAR, ManifestCheck, check_manifest, image_hashes, near_matches
from .contact_sheet import write_check_page, write_preparation_page
from .fetch import archives, fetch_archive, find_archive
from .folds import (
    Fold,
    Folds,
    check_folds,
    known_test_images,
    leaves_one_out,
    natural,
    read_folds,
    refuse_other_folds,
    write_folds,
)
from .importers.registry import IMPORTERS, import_dataset
from .manifest import IMAGE_ENDINGS, Manifest, image_name, leaves, read_manifest, require_images
from .protocols import check_inner, describe_folds, make_fold_file, make_folds, merged_groups, split_folds
from .shipped_splits import CANONICAL, canonical_splits, compact_folds, read_canonical
from .splitting import class_groups, deal, inner_splits, validation_split
from .synthetic import draw_dermoscopy, draw_retina
from .tasks import Labelled, Task, apply_task, apply_trained_task, count_exclusions, read_task
from .training_list import TRAINING_SET, TrainingImage, training_set, training_set_bytes

__all__ = [
    "CANONICAL",
    "HASH_BYTES",
    "IMAGE_ENDINGS",
    "IMPORTERS",
    "NEAR",
    "TRAINING_SET",
    "Fold",
    "FoldAudit",
    "Folds",
    "Labelled",
    "Manifest",
    "ManifestCheck",
    "Task",
    "TrainingImage",
    "apply_task",
    "apply_trained_task",
    "archives",
    "audit_fold_files",
    "canonical_splits",
    "check_folds",
    "check_inner",
    "check_manifest",
    "class_groups",
    "compact_folds",
    "count_exclusions",
    "deal",
    "describe_folds",
    "draw_dermoscopy",
    "draw_retina",
    "fetch_archive",
    "find_archive",
    "first_picture",
    "image_hashes",
    "image_name",
    "import_dataset",
    "inner_splits",
    "known_test_images",
    "leaves",
    "leaves_one_out",
    "make_fold_file",
    "make_folds",
    "merged_groups",
    "natural",
    "near_matches",
    "read_canonical",
    "read_folds",
    "read_manifest",
    "read_task",
    "refuse_other_folds",
    "require_images",
    "split_folds",
    "training_set",
    "training_set_bytes",
    "validation_split",
    "write_check_page",
    "write_folds",
    "write_preparation_page",
]
