"""The plugin of Dask workers: it stops jobs when a worker leaves, and only then."""

from __future__ import annotations

import pytest

distributed = pytest.importorskip("distributed")

from featx.jobs.machines import dask_worker  # noqa: E402


def test_a_second_client_leaves_running_jobs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(dask_worker, "interrupt_workers", lambda: told.append("stop"))
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", silence_logs=50
    ) as cluster:
        for _ in range(2):
            with distributed.Client(cluster) as client:
                client.register_plugin(dask_worker.Leave(), name="featx-leave")
        assert told == []
    assert told == ["stop"]
