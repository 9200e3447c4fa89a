"""Content keys computed as jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.data import read_manifest
from featx.images import content_keys, read_keys
from featx.jobs import hashing
from featx.jobs.hashing import hash_part, known_keys
from featx.jobs.machines.places import open_place
from featx.progress import Silent


def test_parts_hold_every_image_once(data: Path, tmp_path: Path) -> None:
    found: dict[str, str] = {}
    for part in range(3):
        file = hash_part(
            str(data),
            root=None,
            cache=str(tmp_path / "cache"),
            allow_outside=False,
            part=[part, 3],
            output=str(tmp_path / f"{part}.csv"),
            workers=1,
            progress=Silent(),
        )
        more = read_keys(file)
        assert not found.keys() & more.keys()
        found |= more
    assert found == content_keys(read_manifest(data).paths).keys


def test_only_large_manifests_are_hashed_on_a_cluster(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    given = [{"manifest": str(data), "root": None, "cache": str(tmp_path / "cache")}]
    monkeypatch.setattr(hashing, "_IMAGES_OF_A_PART", 12)
    with open_place("local", 1, None, Silent()) as here:
        assert known_keys(here, given, tmp_path / "out") == {}
        there = replace(here, whole=False)
        assert known_keys(there, given, tmp_path / "out") == {}
        monkeypatch.setattr(hashing, "_MANY", 24)
        (tmp_path / "out").mkdir()
        assert known_keys(there, given, tmp_path / "out") == content_keys(read_manifest(data).paths).keys
