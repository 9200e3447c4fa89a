"""The page about data names what there is."""

from __future__ import annotations

from pathlib import Path

from featx.data.importers.registry import IMPORTERS
from featx.data.protocols import PROTOCOLS
from featx.data.tasks import shipped_tasks

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_every_importer_task_and_protocol_is_described() -> None:
    for name in (*(row.name for row in IMPORTERS), *shipped_tasks(), *PROTOCOLS):
        assert f"`{name}" in PAGE, name
