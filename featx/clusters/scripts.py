"""Scripts of SLURM jobs, and manifests of Kubernetes, from templates."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

from featx.errors import ConfigError
from featx.options import verb

from .cluster_settings import KubernetesSettings, SlurmSettings, words_of

__all__ = ["kubernetes_manifest", "slurm_script"]


@verb(SlurmSettings)
def slurm_script(file: Path | str, options: SlurmSettings) -> str:
    """Make the script of a SLURM job.

    Parameters
    ----------
    file : Path or str
        Study file, or with ``form="array"`` the manifest; relative to `folder`.
    {options}

    Returns
    -------
    str
        A bash script, for ``sbatch``. Every value is quoted for the shell.

    Raises
    ------
    ConfigError
        If a value cannot be written into a script.

    Examples
    --------
    >>> script = slurm_script("mine.toml", gpus=4, nodes=2, walltime="8:00:00")
    >>> [line for line in script.splitlines() if "--nodes" in line or "--ntasks" in line]
    ['#SBATCH --nodes=2', '#SBATCH --ntasks-per-node=4']
    """
    environment = Path(options.environment or sys.prefix)
    values = _values(options) | {
        "file": _line(file),
        "bin": str(environment.absolute() / "bin"),
        "folder": str(Path(options.folder).absolute()),
        "workers_on_node": options.workers_on_node,
        "extract": _quoted("extract", options.extract),
        "train": _quoted("train", options.train),
    }
    return _filled(f"slurm-{options.form}.sh", values)


@verb(KubernetesSettings)
def kubernetes_manifest(file: Path | str, options: KubernetesSettings) -> str:
    """Make a manifest for Kubernetes: a study with a Dask scheduler, its workers, and what they need.

    Parameters
    ----------
    file : Path or str
        Study file; relative to the shared volume.
    {options}

    Returns
    -------
    str
        YAML documents, for ``kubectl apply -f``.

    Raises
    ------
    ConfigError
        If a value cannot be written into a manifest.

    Examples
    --------
    >>> text = kubernetes_manifest("mine.toml", image="registry.example.org/featx:0.1.0", workers=3)
    >>> [line for line in text.splitlines() if line.startswith("kind: ")][0]
    'kind: PersistentVolumeClaim'
    """
    values = _values(options) | {"file": _line(file), "workers": options.workers or 1}
    return _filled("kubernetes.yaml", values)


def _values(options: SlurmSettings | KubernetesSettings) -> dict[str, Any]:
    given = {item.name: getattr(options, item.name) for item in dataclasses.fields(options)}
    return {**given, "mebibytes": options.mebibytes}


def _line(file: Path | str) -> str:
    if not str(file).isprintable():
        raise ConfigError(
            f"The path of a file must not have line breaks. Got {str(file)!r} instead; rename it"
        )
    return str(file)


def _quoted(option: str, value: str | None) -> list[str]:
    return [shlex.quote(word) for word in words_of(option, value or "")]


def _filled(template: str, values: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    jinja = Environment(
        loader=PackageLoader("featx.clusters"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Scripts, not pages: shlex.quote and tojson do what escaping does there.
        autoescape=False,
    )
    jinja.filters["quote"] = shlex.quote
    return jinja.get_template(template).render(values)
