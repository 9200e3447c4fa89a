"""What featx adds to Dask: a plugin for its workers, and a cluster of this machine that nobody else can use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import LocalCluster, Security, WorkerPlugin

from .host import interrupt_workers

__all__ = ["Leave", "local_cluster", "security_beside"]
_CERTIFICATE, _KEY = "tls-cert.pem", "tls-key.pem"


class Leave(WorkerPlugin):  # type: ignore[misc]
    """Stops the running job at its next checkpoint when a worker is told to leave, as by SIGTERM at the walltime."""

    # Dask would remove the plugin of an earlier client first, and its teardown stops jobs.
    idempotent = True

    def teardown(self, worker: Any) -> None:
        """Interrupt the jobs of this process."""
        interrupt_workers()


def security_beside(address: str) -> Security | None:
    """Find the certificate and key that `featx cluster tls` has put beside a scheduler file; None if there are none.

    One self-signed certificate serves scheduler, workers and clients: each takes no other than this one.
    """
    folder = Path(address).parent
    certificate, key = folder / _CERTIFICATE, folder / _KEY
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
            dashboard_address=None,
            silence_logs=50,
        ) as cluster,
    ):
        yield cluster
