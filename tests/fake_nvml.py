"""A stand-in for `pynvml`, NVIDIA's management library: GPUs as the tests want them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

MIB = 1 << 20


def module(gpus: list[dict[str, Any]] | Path) -> ModuleType:
    """Make the module; each GPU has uuid, free and total (MB), and may have name and load. A file is read anew each time."""
    made: Any = ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    def rows() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(gpus.read_text()) if isinstance(gpus, Path) else gpus
        return found

    def by_uuid(uuid: str) -> dict[str, Any]:
        for row in rows():
            if row["uuid"] == uuid:
                return row
        raise NVMLError("not found")

    def memory(row: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(free=row["free"] * MIB, total=row["total"] * MIB)

    def rates(row: dict[str, Any]) -> SimpleNamespace:
        if "load" not in row:
            raise NVMLError("not supported")
        return SimpleNamespace(gpu=row["load"])

    made.NVMLError = NVMLError
    made.nvmlInit = made.nvmlShutdown = lambda: None
    # Slices of GPUs are found by their UUID only.
    made.nvmlDeviceGetCount = lambda: sum(not row["uuid"].startswith("MIG-") for row in rows())
    made.nvmlDeviceGetHandleByIndex = lambda place: rows()[place]
    made.nvmlDeviceGetHandleByUUID = by_uuid
    made.nvmlDeviceGetUUID = lambda row: row["uuid"]
    made.nvmlDeviceGetName = lambda row: row.get("name", "NVIDIA H100")
    made.nvmlDeviceGetMemoryInfo, made.nvmlDeviceGetUtilizationRates = memory, rates
    return made


def install(monkeypatch: pytest.MonkeyPatch, *gpus: dict[str, Any], visible: str | None = None) -> None:
    """Put the module in place for a test, and say which GPUs the process may use."""
    monkeypatch.setitem(sys.modules, "pynvml", module(list(gpus)))
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


def gpu(uuid: str, free: int, total: int = 80_000, **more: Any) -> dict[str, Any]:
    """Describe a GPU; memory in MB."""
    return {"uuid": uuid, "free": free, "total": total, **more}
