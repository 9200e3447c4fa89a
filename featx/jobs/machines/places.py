"""Places where jobs run: this machine, a Dask or Ray cluster, or any executor.

A place only carries a job to a slot, which is where `featx.jobs.machines.host.run_job` runs it; which machine has room, and what
becomes of machines that are lost, is the engine's business.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.errors import ClusterError, ConfigError
from featx.progress import Progress

from .host import dismiss_workers, run_job

__all__ = ["Place", "given_executor", "open_place", "parse_place"]

Task = Mapping[str, Any]
_MOST_WAITING = 1000
_LOOPBACK = "127.0.0.1"
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Place:
    """A place that is open.

    Attributes
    ----------
    name : str
        For messages.
    submit : callable
        Takes a job as JSON types, and returns the future of its event.
    slots : callable
        Returns the number of jobs that run at once on each machine by its name; under the empty name, on any other.
    total : callable
        Returns the number of jobs that run at once.
    most : int
        How many jobs it takes at a time; those for which there is no slot yet wait there.
    cores : int or None
        Cores of each job, where the engine counts them; else the slots of a machine share its cores.
    whole : bool
        Whether jobs are left whole, because there is one slot only or the slots share one machine.
    alive : callable
        Whether the engine can still be reached.
    """

    name: str
    submit: Callable[[Task], Future[dict[str, Any]]]
    slots: Callable[[], dict[str, int]]
    total: Callable[[], int]
    most: int = _MOST_WAITING
    cores: int | None = None
    whole: bool = False
    alive: Callable[[], bool] = lambda: True


def parse_place(text: str) -> tuple[str, str]:
    """Read ``local``, ``dask``, ``dask:ADDRESS``, ``ray`` or ``ray:ADDRESS``.

    Examples
    --------
    >>> parse_place("dask:/shared/scheduler.json")
    ('dask', '/shared/scheduler.json')
    """
    name, colon, address = text.partition(":")
    if name not in _PLACES or (colon and not address) or (name == "local" and address):
        raise ConfigError(
            "The 'cluster' parameter must be local, dask, dask:SCHEDULER-FILE, dask:ADDRESS, ray or ray:ADDRESS. "
            f"Got {text!r} instead."
        )
    return name, address


def open_place(text: str, slots: int, cores: int | None, progress: Progress) -> AbstractContextManager[Place]:
    """Open a place, as `parse_place` reads it.

    Parameters
    ----------
    text : str
        The place.
    slots : int
        Number of jobs at once, where the place is started here.
    cores : int or None
        Cores of each job.
    progress : Progress
        Receiver of messages.

    Returns
    -------
    context manager
        The place; what was started for it ends with the context.

    Raises
    ------
    ConfigError
        If its library is not installed.
    ClusterError
        If it cannot be reached.
    """
    name, address = parse_place(text)
    return _PLACES[name](address, slots, cores, progress)


@contextmanager
def _local(address: str, slots: int, cores: int | None, progress: Progress) -> Iterator[Place]:
    pool = ThreadPoolExecutor(slots, "featx-slot")
    try:
        yield Place(
            "this machine",
            lambda task: pool.submit(run_job, task),
            lambda: {"": slots},
            lambda: slots,
            most=slots,
            cores=cores,
            whole=True,
        )
    finally:
        pool.shutdown(cancel_futures=True)
        dismiss_workers()


@contextmanager
def given_executor(executor: Executor, slots: int, cores: int | None = None) -> Iterator[Place]:
    """Use an executor that the caller has; it is not shut down."""
    total = int(getattr(executor, "_max_workers", 0) or slots)
    yield Place(
        type(executor).__name__,
        lambda task: executor.submit(run_job, task),
        lambda: {"": total},
        lambda: total,
        cores=cores,
    )


@contextmanager
def _dask(address: str, slots: int, cores: int | None, progress: Progress) -> Iterator[Place]:
    with _library("dask"):
        from distributed import Client

        from .dask_worker import Leave, local_cluster, security_beside
    security = security_beside(address)
    with local_cluster(slots, address) as cluster:
        try:
            client = Client(
                cluster or _dask_target(address), security=security or getattr(cluster, "security", None)
            )
        # Of a missing certificate Dask says that there is no SSL context, with a TypeError.
        except (OSError, ValueError, TypeError, TimeoutError) as error:
            raise ClusterError(
                f"The Dask scheduler at {address} cannot be reached ({error}); check that it runs, and that "
                "tls-cert.pem and tls-key.pem beside the scheduler file are those it was started with"
            ) from error
        with client:
            if not str(client.scheduler.address).startswith(("tls:", "inproc:", f"tcp://{_LOOPBACK}")):
                progress.say(
                    f"warning: the Dask scheduler at {client.scheduler.address} uses no TLS: whoever reaches its port "
                    "can run programs as you; make certificates with `featx cluster tls`"
                )
            client.register_plugin(Leave(), name="featx-leave")
            yield _dask_place(client, cores)


def _dask_target(address: str) -> Any:
    path = Path(address)
    if "://" in address:
        return address
    if not path.is_file():
        raise ConfigError(
            f"{address}: no scheduler file; give the file that `dask scheduler --scheduler-file` writes, or an "
            "address such as tls://host:8786"
        )
    from distributed.utils import json_load_robust

    return json_load_robust(str(path))["address"]


def _dask_place(client: Any, cores: int | None) -> Place:
    from .dask_worker import run_in_worker

    known: list[Mapping[str, Any]] = []

    def workers() -> list[Mapping[str, Any]]:
        # While the client looks for a scheduler that it has lost, those that it knew last.
        with suppress(OSError, RuntimeError):
            found = client.scheduler_info(n_workers=-1).get("workers")
            known[:] = known if found is None else found.values()
        return known

    def submit(task: Task) -> Future[dict[str, Any]]:
        declared = [worker["resources"] for worker in workers()]
        needed = {"GPU": 1} if task["gpus"] and any(one.get("GPU") for one in declared) else {}
        if declared and all("MEMORY" in one for one in declared):
            needed["MEMORY"] = min(task["memory"], *(int(one["MEMORY"]) for one in declared))
        # Each attempt is a task of its own: equal keys would share one result.
        executor = client.get_executor(pure=False, retries=0, **({"resources": needed} if needed else {}))
        future: Future[dict[str, Any]] = executor.submit(run_in_worker, dict(task))
        return future

    def slots() -> dict[str, int]:
        found = Counter({"": 1})
        for worker in workers():
            found[str(worker["host"])] += int(worker["nthreads"])
        return dict(found)

    return Place(
        f"the Dask cluster at {client.scheduler.address}",
        submit,
        slots,
        lambda: sum(int(worker["nthreads"]) for worker in workers()),
        cores=cores,
        alive=lambda: client.status in ("running", "connecting"),
    )


@contextmanager
def _ray(address: str, slots: int, cores: int | None, progress: Progress) -> Iterator[Place]:
    # Before the import: it reports usage to its makers otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    # Ray gives up after half a minute otherwise, which a busy machine may need.
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")
    # Ray ends this process otherwise, before the scheduler has said that the cluster was lost.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "180")
    with _library("ray"):
        import ray
    logging.getLogger("ray").setLevel(logging.WARNING)
    started: dict[str, Any] = {"num_cpus": slots, "_node_ip_address": _LOOPBACK, "include_dashboard": False}
    if not address:
        _make_ray_token()
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            configure_logging=False,
            **({} if address else started),
        )
    except Exception as error:  # Ray raises errors of no class of its own
        raise ClusterError(f"Ray at {address or 'this machine'} cannot be used: {error}") from error
    head = ray.get_runtime_context().gcs_address
    remote = ray.remote(max_retries=0)(run_job)
    each = cores or (1 if address else None)

    known: list[tuple[str, Mapping[str, float]]] = []
    lost = threading.Event()

    def hear(future: Future[dict[str, Any]]) -> None:
        # Without the part of Ray on this machine no job can be given to any other, and Ray says so for each at once.
        if not future.cancelled() and isinstance(future.exception(), ray.exceptions.LocalRayletDiedError):
            lost.set()

    def nodes() -> list[tuple[str, Mapping[str, float]]]:
        # A question to a cluster that has gone would wait for minutes.
        if _answers(head):
            known[:] = [
                (node["NodeManagerHostname"], node["Resources"]) for node in ray.nodes() if node["Alive"]
            ]
        return known

    def slots_of(resources: Mapping[str, float]) -> int:
        return max(1, int(resources.get("CPU", 1)) // (each or 1))

    def total() -> int:
        return slots_of(_sum(nodes()))

    def node_slots() -> dict[str, int]:
        found = Counter({"": 1})
        for name, there in nodes():
            found[name] += slots_of(there)
        return dict(found)

    def submit(task: Task) -> Future[dict[str, Any]]:
        there = _sum(nodes())
        options = {
            "num_cpus": each or 1,
            # What no machine has would be waited for in vain.
            "num_gpus": int(bool(task["gpus"]) and there["GPU"] > 0),
            "memory": min(task["memory"], int(there["memory"]) // slots_of(there)),
        }
        future: Future[dict[str, Any]] = remote.options(**options).remote(dict(task)).future()
        future.add_done_callback(hear)
        return future

    try:
        yield Place(
            f"the Ray cluster at {address or _LOOPBACK}",
            submit,
            node_slots,
            total,
            cores=each,
            alive=lambda: not lost.is_set() and ray.is_initialized() and _answers(head),
        )
    finally:
        if _answers(head):
            ray.shutdown()


def _sum(nodes: Iterable[tuple[str, Mapping[str, float]]]) -> Counter[str]:
    """Add up what the nodes of a Ray cluster have."""
    total = Counter[str]()
    for _, resources in nodes:
        total.update({name: int(value) for name, value in resources.items()})
    return total


def _answers(address: str) -> bool:
    """Tell whether something listens there; Ray's client says that it is connected when its cluster has gone."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except OSError:
        return False
    return True


def _make_ray_token() -> None:
    """Have a token, without which a cluster of this machine would take work from any of its users."""
    from ray._private.authentication import authentication_token_setup

    authentication_token_setup.ensure_token_if_auth_enabled(create_token_if_missing=True)


@contextmanager
def _library(name: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The 'cluster' parameter is {name}, but {error.name} is not installed; run `pip install 'featx[{name}]'`"
        ) from error


_PLACES = {"local": _local, "dask": _dask, "ray": _ray}
