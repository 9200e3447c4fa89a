"""What featx adds to Dask: a plugin for its workers, and a cluster of this machine that nobody else can use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dask
from distributed import LocalCluster, Security, WorkerPlugin, get_worker

from ..cluster_options import TLS_CERTIFICATE, TLS_KEY
from .host import interrupt_workers, run_job

__all__ = ["Leave", "local_cluster", "run_in_worker", "security_beside"]


class Leave(WorkerPlugin):  # type: ignore[misc]
    """Stops the running job at its next checkpoint when a worker is told to leave, as by SIGTERM at the walltime."""

    # Dask would remove the plugin of an earlier client first, and its teardown stops jobs.
    idempotent = True

    def teardown(self, worker: Any) -> None:
        """Interrupt the jobs of this process."""
        interrupt_workers()


def run_in_worker(task: Mapping[str, Any]) -> dict[str, Any]:
    """Run a job in a Dask worker, whose machine has as many slots as its workers have threads."""
    worker = get_worker()
    host = urlsplit(worker.address).hostname
    slots = task["slots"].get(host, worker.state.nthreads)
    return run_job({**task, "slots": {"": slots}})


def security_beside(address: str) -> Security | None:
    """Find the certificate and key that `featx cluster tls` has put beside a scheduler file; None if there are none.

    One self-signed certificate serves scheduler, workers and clients: each takes no other than this one.
    """
    folder = Path(address).parent
    certificate, key = folder / TLS_CERTIFICATE, folder / TLS_KEY
    if "://" in address or not address or not (certificate.is_file() and key.is_file()):
        return None
    sides = {
        f"tls_{side}_{what}": str(path)
        for side in ("client", "scheduler", "worker")
        for what, path in (("cert", certificate), ("key", key))
    }
    return Security(tls_ca_file=str(certificate), require_encryption=True, **sides)


@contextmanager
def local_cluster(slots: int, address: str) -> Iterator[LocalCluster | None]:
    """Start a cluster of this machine with so many workers of one slot, unless there is an address of another."""
    if address:
        yield None
        return
    # A worker that dies is counted by featx, which starts the job again.
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=slots,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            host="127.0.0.1",
            protocol="tls",
            security=Security.temporary(),
            # No dashboard, and an HTTP port for this machine alone: Dask has no way to have none.
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            silence_logs=50,
        ) as cluster,
    ):
        yield cluster
