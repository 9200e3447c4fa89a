"""Two small data sets of synthetic images: one to train on, one from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from featx.data import (
    Labelled,
    Task,
    apply_task,
    apply_trained_task,
    draw_dermoscopy,
    read_manifest,
    read_task,
)
from featx.external import TrainedOn
from featx.images import content_keys


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve synthetic images, none like another; not to be written to."""
    folder = tmp_path_factory.mktemp("pictures")
    draw_dermoscopy(folder, images=12, size=64)
    return sorted((folder / "images").iterdir())


Write = Callable[..., Labelled]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a manifest: rows of name, content, label and group, or no column of groups."""

    def one(name: str, rows: Sequence[tuple[str, bytes, str, str]], task: Task | None = None) -> Labelled:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        grouped = any(group for *_, group in rows)
        lines = ["image,label" + ",group" * grouped]
        for image, content, label, group in rows:
            (folder / image).write_bytes(content)
            lines.append(f"{image},{label}" + f",{group}" * grouped)
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
        manifest = read_manifest(folder / f"{name}.csv")
        return (
            apply_task(manifest, read_task("sick:well"))
            if task is None
            else apply_trained_task(manifest, task)
        )

    return one


def keys_of(labelled: Labelled) -> list[str]:
    return list(content_keys(labelled.paths).keys.values())


@pytest.fixture
def trained(write: Write, pictures: list[Path]) -> TrainedOn:
    """Four images to train on, of patients p0 to p3."""
    labels = ["sick", "well", "sick", "well"]
    rows = [(f"a{n}.png", pictures[n].read_bytes(), labels[n], f"p{n}") for n in range(4)]
    labelled = write("home", rows)
    return TrainedOn(labelled, tuple(keys_of(labelled)), frozenset(labelled.ids))
