from .audit import FoldAudit, audit_folds
from .check import (
    NEAR,
    SIDE,
    ManifestCheck,
    Picture,
    SheetRow,
    SheetSection,
    as_json,
    check_manifest,
    contact_sheet,
)
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
from .importers.source import read_text_table
from .manifest import Manifest, image_name, leaves, read_manifest
from .protocols import check_inner, make_folds, merged_groups
from .splitting import deal, inner_splits, validation_split
from .synthetic import draw_dermoscopy, draw_retina
from .tasks import Labelled, Task, apply_task, read_task

__all__ = [
    "IMPORTERS",
    "NEAR",
    "SIDE",
    "Fold",
    "FoldAudit",
    "Folds",
    "Labelled",
    "Manifest",
    "ManifestCheck",
    "Picture",
    "SheetRow",
    "SheetSection",
    "Task",
    "apply_task",
    "archives",
    "as_json",
    "audit_folds",
    "check_folds",
    "check_inner",
    "check_manifest",
    "contact_sheet",
    "deal",
    "draw_dermoscopy",
    "draw_retina",
    "fetch_archive",
    "find_archive",
    "image_name",
    "import_dataset",
    "inner_splits",
    "known_test_images",
    "leaves",
    "leaves_one_out",
    "make_folds",
    "merged_groups",
    "read_folds",
    "read_manifest",
    "read_task",
    "read_text_table",
    "refuse_other_folds",
    "validation_split",
    "write_folds",
]
