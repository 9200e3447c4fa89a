"""Options of `featx cluster`: which resources a job gets, and where it runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.errors import ConfigError
from featx.options import REQUIRED, Options, choice, number, path, text, whole

__all__ = ["FORMS", "KubernetesSettings", "SlurmSettings", "TlsSettings"]
FORMS = ("dask", "array")
# What stands in lines that no shell reads, such as `#SBATCH`, cannot be quoted there: only plain characters are taken.
_PATTERNS = {
    "partition": (r"[\w.,+-]+", "a name, or names separated by commas"),
    "account": (r"[\w.+-]+", "a name"),
    "walltime": (r"(\d+-)?\d{1,3}(:\d{2}){1,2}|\d+", "minutes, HH:MM:SS or DAYS-HH:MM:SS"),
    "interface": (r"[\w.:-]+", "a network interface, such as ib0"),
    "name": (r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", "lower-case letters, digits and hyphens, at most 40"),
    "image": (r"[\w][\w./:@-]*", "a container image, such as registry.example.org/featx:0.1.0"),
    "storage": (r"\d+(Mi|Gi|Ti)", "a size such as 100Gi"),
    "storage_class": (r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", "the name of a storage class"),
}


def _check_texts(options: Options) -> None:
    """Refuse texts that would be another line, or another word, where they are written."""
    for name, (pattern, wanted) in _PATTERNS.items():
        value = getattr(options, name, None)
        if value is not None and not re.fullmatch(pattern, value, re.ASCII):
            raise ConfigError(f"The {name!r} parameter must be {wanted}. Got {value!r} instead.")
    for name in ("folder", "environment"):
        value = getattr(options, name, None)
        if value is not None and not str(value).isprintable():
            raise ConfigError(
                f"The {name!r} parameter must be a path without line breaks. Got {value!r} instead."
            )


@dataclass(frozen=True, kw_only=True)
class TlsSettings(Options):
    """Options of `featx.clusters.make_certificate`."""

    days: int = whole(365, "Number of days for which the certificate is valid.", low=1, high=3650)


@dataclass(frozen=True, kw_only=True)
class _WorkerResourcesWanted(Options):
    """What each worker gets."""

    workers: int | None = whole(
        None,
        "Number of workers: on each node of SLURM, in all on Kubernetes.",
        low=1,
        short="-j",
        default_text="number of GPUs, else 1",
    )
    gpus: int = whole(0, "Number of GPUs: of each node of SLURM, of each worker on Kubernetes.", low=0)
    cores: int = whole(4, "Number of cores of each job: a worker runs one job at a time.", low=1)
    memory_gib: float = number(16.0, "Memory of each worker in GiB.", low=0.25, high=16384, flag="memory")

    def check(self) -> None:
        """Refuse texts that cannot be written into a script."""
        _check_texts(self)

    @property
    def mebibytes(self) -> int:
        """Memory of a worker in MiB."""
        return round(self.memory_gib * 1024)


@dataclass(frozen=True, kw_only=True)
class SlurmSettings(_WorkerResourcesWanted):
    """Options of `featx.clusters.slurm_script`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type, out of its bounds, or does not fit another.

    Examples
    --------
    >>> SlurmSettings(gpus=4, nodes=2).workers_on_node
    4
    """

    form: str = choice(
        "dask",
        FORMS,
        "dask: one job whose workers run the jobs of a study file. array: one job for each part of the images of a "
        "manifest, and a last one that trains on the features.",
    )
    nodes: int = whole(1, "Number of nodes.", low=1)
    array: int = whole(
        8, "Number of parts that --form array cuts the images into, one job each.", low=1, high=100_000
    )
    at_once: int | None = whole(
        None,
        "Number of array jobs that run at the same time.",
        low=1,
        default_text="as many as there is room for",
    )
    extract: str | None = text(
        None, "Options of `featx extract`, as one text; --form array needs it.", metavar="OPTIONS"
    )
    train: str | None = text(
        None,
        "Options of `featx train-svm`, as one text, for the last job of --form array.",
        metavar="OPTIONS",
    )
    walltime: str = text("24:00:00", "Time limit of a job.", metavar="[DAYS-]HH:MM:SS")
    restarts: int = whole(
        20, "Number of times that a job goes back into the queue when its time is over.", low=0, high=1000
    )
    partition: str | None = text(
        None, "Partition of the cluster.", metavar="NAME", default_text="the cluster's own"
    )
    account: str | None = text(
        None, "Account that is charged.", metavar="NAME", default_text="the cluster's own"
    )
    interface: str | None = text(
        None,
        "Network interface that scheduler and workers listen on, such as ib0.",
        metavar="NAME",
        default_text="the one of the node's name",
    )
    folder: Path | str = path(Path(), "Folder that all nodes share, in which the job runs.")
    environment: Path | str | None = path(
        None, "Python environment in which featx is installed, on all nodes.", default_text="the present one"
    )

    def check(self) -> None:
        """Refuse values that do not fit each other."""
        super().check()
        if self.form == "array":
            if self.nodes > 1 or (self.workers or 1) > 1 or self.gpus > 1:
                raise ConfigError(
                    "A job of --form array has one node, one worker and at most one GPU; give --array for more jobs"
                )
            if self.extract is None:
                raise ConfigError(
                    "--form array needs the options of `featx extract`, such as --extract '-m resnet50 --arm frozen'"
                )
        elif self.extract is not None or self.train is not None:
            raise ConfigError(
                "--extract and --train are for --form array; a study file states its own options"
            )
        if self.gpus and self.workers_on_node != self.gpus:
            raise ConfigError(
                f"Each worker has one GPU. Got {self.workers} workers and {self.gpus} GPUs; leave out --workers"
            )

    @property
    def workers_on_node(self) -> int:
        """Number of workers on each node."""
        return self.workers or self.gpus or 1


@dataclass(frozen=True, kw_only=True)
class KubernetesSettings(_WorkerResourcesWanted):
    """Options of `featx.clusters.kubernetes_manifest`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type, out of its bounds, or cannot be written into a manifest.

    Examples
    --------
    >>> KubernetesSettings(image="registry.example.org/featx:0.1.0", workers=3).workers
    3
    """

    image: str = text(REQUIRED, "Container image in which featx and its extra `dask` are installed.")
    name: str = text("featx", "Beginning of the names of all objects.", metavar="NAME")
    storage: str = text(
        "100Gi", "Size of the shared volume, which holds images, cache and reports.", metavar="SIZE"
    )
    storage_class: str | None = text(
        None,
        "Storage class of the shared volume; it must allow ReadWriteMany.",
        metavar="NAME",
        default_text="the cluster's own",
    )

    def check(self) -> None:
        """Refuse more than one GPU of a worker."""
        super().check()
        if self.gpus > 1:
            raise ConfigError(f"Each worker has one GPU. Got {self.gpus}; give more --workers")


def words_of(option: str, value: str) -> Sequence[str]:
    """Split the options of a command, given as one text, into words as a shell does."""
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise ConfigError(
            f"The {option!r} parameter must be options as a shell reads them ({error}). Got {value!r}."
        ) from error
    if not all(word.isprintable() for word in words):
        raise ConfigError(f"The {option!r} parameter must not have line breaks. Got {value!r} instead.")
    return words
