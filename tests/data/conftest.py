"""Data sets shared by the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.data.manifest import read_manifest
from featx.data.tasks import Labelled, apply_task

LABELS = ["nevus"] * 14 + ["melanoma"] * 8


def labelled_by(
    folder: Path, labels: list[str], groups: list[str] | None = None, **columns: list[str]
) -> Labelled:
    table = {"image": [f"i{index:02d}.png" for index in range(len(labels))], "label": labels, **columns}
    if groups is not None:
        table["group"] = groups
    rows = [",".join(table)] + [",".join(values) for values in zip(*table.values(), strict=True)]
    (folder / "m.csv").write_text("\n".join(rows), encoding="utf-8")
    return apply_task(read_manifest(folder / "m.csv", check_files=False), "labels")


@pytest.fixture
def labelled(tmp_path: Path) -> Labelled:
    return labelled_by(tmp_path, LABELS, [f"g{index // 2}" for index in range(len(LABELS))])
