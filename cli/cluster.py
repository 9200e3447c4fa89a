"""`featx cluster`: scripts for SLURM and Kubernetes, and the certificate of a Dask cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.clusters import KubernetesSettings, SlurmSettings, TlsSettings

from . import flags

__all__ = ["cluster"]
_FILE = click.argument("file", type=click.Path(path_type=Path))
_PRINT = click.option(
    "--print", "to_stdout", is_flag=True, help="Print the text on stdout, as is done without this option too."
)


@click.group()
def cluster() -> None:
    """Write scripts for SLURM and Kubernetes, and certificates for Dask.

    The texts go to stdout, to be edited and submitted; nothing is submitted here.
    """


@cluster.command(epilog=flags.example("featx cluster tls cluster-tls"))
@click.argument("folder", type=click.Path(path_type=Path))
@flags.of(TlsSettings)
def tls(folder: Path, **values: Any) -> None:
    """Make the certificate and key by which the processes of a Dask cluster know each other.

    Writes tls-cert.pem and tls-key.pem into FOLDER, which only you may open. Scheduler, workers and client use both
    files: connections are encrypted, and whoever does not have the key is refused.
    """
    from featx.clusters import make_certificate

    click.echo(make_certificate(folder, **flags.given(values)))


@cluster.command(epilog=flags.example("featx cluster slurm mine.toml --nodes 2 --gpus 4 --walltime 8:00:00"))
@_FILE
@flags.of(SlurmSettings)
@_PRINT
@flags.CONFIG
def slurm(file: Path, to_stdout: bool, **values: Any) -> None:
    """Print the script of a SLURM job that runs a study, or extracts features in parts.

    FILE is a study file; with --form array it is a manifest. The script runs in the shared folder that --folder names.
    """
    from featx.clusters import slurm_script

    script = slurm_script(file, **flags.given(values))
    _check_options(file, values)
    click.echo(script, nl=False)


@cluster.command(
    epilog=flags.example("featx cluster kubernetes mine.toml --image featx:0.1.0 --workers 4 --gpus 1")
)
@_FILE
@flags.of(KubernetesSettings)
@_PRINT
@flags.CONFIG
def kubernetes(file: Path, to_stdout: bool, **values: Any) -> None:
    """Print a manifest for Kubernetes that runs a study.

    FILE is a study file; its path is relative to the shared volume. For `kubectl apply`, after the secret of the
    certificate is made as the manifest says.
    """
    from featx.clusters import kubernetes_manifest

    click.echo(kubernetes_manifest(file, **flags.given(values)), nl=False)


def _check_options(file: Path, values: dict[str, Any]) -> None:
    """Let the commands of the script parse their options now: in the queue a misspelt one would cost a day."""
    import shlex

    from .extract import extract
    from .train_svm import train_svm

    for name, command in (("extract", extract), ("train", train_svm)):
        if values[name] is None:
            continue
        words = shlex.split(values[name])
        if any(word.partition("=")[0] == "--shard" for word in words):
            raise click.UsageError("--extract must not hold --shard: the script adds it")
        try:
            # click keeps a command's help option from its first context: below the root it has both names.
            root = click.get_current_context().find_root()
            command.make_context(str(command.name), [str(file), *words], parent=root)
        except click.UsageError as error:
            raise click.UsageError(f"--{name}: {error.format_message()}") from error
