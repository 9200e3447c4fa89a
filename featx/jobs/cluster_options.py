"""Options of running on a cluster, each written once. This file imports no heavy library, so that help stays fast."""

from __future__ import annotations

from dataclasses import dataclass

from featx.options import Options, text, whole

__all__ = ["TLS_CERTIFICATE", "TLS_KEY", "ClusterOptions"]
# Beside the scheduler file of a Dask cluster: `featx cluster tls` makes them, and whoever joins reads them.
TLS_CERTIFICATE, TLS_KEY = "tls-cert.pem", "tls-key.pem"


@dataclass(frozen=True, kw_only=True)
class ClusterOptions(Options):
    """Where jobs run, and how often they are tried.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds.

    Examples
    --------
    >>> ClusterOptions(cluster="dask:/shared/scheduler.json").retries
    2
    """

    cluster: str | None = text(
        None,
        "Where jobs run, each in a process of its own: local (this machine), dask or ray (a cluster that is started on "
        "this machine), dask:SCHEDULER-FILE, dask:ADDRESS or ray:ADDRESS (one that runs). --workers is then the number of "
        "jobs at once on this machine. Results do not depend on it.",
        metavar="PLACE",
        environment="FEATX_CLUSTER",
    )
    retries: int = whole(2, "How often a job is started again whose process or machine died.", low=0)
    cores: int | None = whole(
        None,
        "Number of cores of each job.",
        low=1,
        default_text="a machine's cores shared by its jobs; 1 on a Ray cluster that runs",
    )
    parts: int | None = whole(
        None,
        "Number of parts into which an extraction is cut: whole batches of distinct images.",
        low=1,
        default_text="one for 1,000 images, at most 4 for each slot",
    )
