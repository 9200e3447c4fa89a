"""Jobs as hosts take them, with a scheduler's lease that is held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from featx.jobs.machines.host import dismiss_workers
from featx.jobs.machines.leases import Lease, hold_lease


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[Lease]:
    """The lease of a scheduler that is on duty."""
    with hold_lease(tmp_path / ".scheduler", lambda: None) as held:
        assert held is not None
        yield held
    dismiss_workers()


@pytest.fixture
def make_task(tmp_path: Path, lease: Lease) -> Callable[..., dict[str, Any]]:
    """Make a job for a host; the stand-in worker goes by the arm's name."""

    def make(arm: str = "one", **more: Any) -> dict[str, Any]:
        return {
            "digest": arm,
            "folder": str(tmp_path / "jobs" / arm),
            "kind": "svm",
            "label": f"svm {arm}",
            "arguments": {"arm": arm},
            "measures": {"images": 1, "speed": "svm"},
            "scheduler": {"path": str(lease.path), "token": lease.token},
            "slots": {"": 2},
            "cores": None,
            "threads": 1,
            "trains": False,
            "gpus": 0,
            "memory": 1 << 30,
            "grace": 60,
            **more,
        }

    return make
