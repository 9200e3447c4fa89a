"""The error tree.

Every error that featx raises on purpose derives from `FeatxError`. Its message is one line that says what
is wrong, what was got (file, row, value) and what to do. `exit_code` is the exit code of the command line.

::

    FeatxError                    work failed                                     exit 1
    ├── InputError                what the user gave cannot be used               exit 2
    │   ├── ManifestError         manifest: columns, rows, files, groups
    │   ├── TaskError             labels and classes do not fit
    │   ├── ProtocolError         folds cannot be made or read
    │   ├── BackboneError         unknown backbone, layer, pooling or image size
    │   ├── WeightsError          weights file missing, wrong or unreadable
    │   ├── StoreError            feature store missing, damaged or of another recipe
    │   │   ├── StaleStoreError   same place, other recipe: names the field that differs
    │   │   ├── DamagedBlockError   a block that fails its checksum
    │   │   └── MissingFeaturesError   images without a row in the store
    │   ├── RunError              run folder missing, unfinished, damaged or of other inputs
    │   ├── ExportError           a run cannot be exported, or the exported model computes other values
    │   ├── LeakError             a test image, or its group, has reached the training part
    │   └── ConfigError           a bad key or value in an option or a configuration file
    ├── ImageError                one image cannot be decoded or prepared
    ├── DiskError                 a file cannot be written: disk full, read-only or broken
    ├── ClusterError              a cluster cannot be reached, or was lost
    ├── ExtractionError           some images could not be extracted
    │   └── DeviceMemoryError     a network needs more memory than there is, for a single image
    └── TrainingError             a fit or a training run failed
"""

from __future__ import annotations

__all__ = [
    "BackboneError",
    "ClusterError",
    "ConfigError",
    "DamagedBlockError",
    "DeviceMemoryError",
    "DiskError",
    "ExportError",
    "ExtractionError",
    "FeatxError",
    "ImageError",
    "InputError",
    "LeakError",
    "ManifestError",
    "MissingFeaturesError",
    "ProtocolError",
    "RunError",
    "StaleStoreError",
    "StoreError",
    "TaskError",
    "TrainingError",
    "WeightsError",
    "listing",
]


class FeatxError(Exception):
    """Base of all errors that featx raises on purpose.

    Examples
    --------
    >>> from featx.data import read_manifest
    >>> try:
    ...     read_manifest("missing.csv")
    ... except FeatxError as error:
    ...     print(type(error).__name__)
    ManifestError
    """

    exit_code = 1


class InputError(FeatxError):
    """What the user gave cannot be used."""

    exit_code = 2


class ManifestError(InputError):
    """A manifest's columns, rows, files or groups cannot be used."""


class TaskError(InputError):
    """A task does not fit the labels, or leaves fewer than two classes."""


class ProtocolError(InputError):
    """Folds cannot be made, or a fold file cannot be read."""


class BackboneError(InputError):
    """An unknown backbone, layer, pooling or image size."""


class WeightsError(InputError):
    """A weights source is missing, unreadable, or of another architecture."""


class StoreError(InputError):
    """A feature store is missing or damaged."""


class StaleStoreError(StoreError):
    """A feature store was made by another recipe; the message names the field that differs."""


class DamagedBlockError(StoreError):
    """A block of a feature store fails its checksum."""


class MissingFeaturesError(StoreError):
    """Some images have no row in the feature store."""


class RunError(InputError):
    """A run folder is missing, unfinished, damaged, or made from other inputs."""


class LeakError(InputError):
    """A test image, or an image of its group, has reached the training part."""


class ConfigError(InputError):
    """A bad key or value in an option or a configuration file."""


class ImageError(FeatxError):
    """One image cannot be decoded or prepared."""


class DiskError(FeatxError):
    """A file cannot be written: the disk is full, read-only or broken."""


class ClusterError(FeatxError):
    """A cluster cannot be reached, or was lost."""


class ExtractionError(FeatxError):
    """Some images could not be extracted; what could be is stored."""


class DeviceMemoryError(ExtractionError):
    """A network needs more memory than the device has left, even for a single image."""


class ExportError(InputError):
    """A run cannot be exported in this format, or the exported model computes other values than featx."""


class TrainingError(FeatxError):
    """A fit or a training run failed."""


def listing(items: list[str] | tuple[str, ...], most: int = 5) -> str:
    """Join names for a message: the first few, and how many more.

    Examples
    --------
    >>> listing(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    shown = ", ".join(items[:most])
    rest = len(items) - most
    return f"{shown} and {rest} more" if rest > 0 else shown
