"""Weights files that are right, too short, of another kind, and of another checksum."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from featx.doctor.check_rows import CheckContext, CheckRow
from featx.doctor.weights_checks import check_weights
from featx.zoo import find_backbone

HDF5 = b"\x89HDF\r\n\x1a\n"
ROW = find_backbone("mobilenet_v3_small")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    return tmp_path


def sparse(path: Path, size: int, begin: bytes = HDF5) -> None:
    """Write a file of a size without its bytes."""
    with path.open("wb") as file:
        file.write(begin)
        file.truncate(size)


def checked(verify: bool = False) -> list[CheckRow]:
    return list(check_weights(CheckContext(verify=verify, environment=os.environ)))


def published(folder: Path) -> Path:
    assert ROW.published is not None
    return folder / ROW.published.file


def test_a_file_of_the_right_name_and_size_is_found(folder: Path) -> None:
    sparse(published(folder), 4 * ROW.parameters + 100)
    (row,) = checked()
    assert (row.status, row.figures["backbones"]) == ("ok", ["mobilenet_v3_small"])
    assert row.found == (
        f"{folder}: mobilenet_v3_small (names and sizes compared; --verify compares checksums)"
    )


@pytest.mark.parametrize(
    ("size", "begin", "text"),
    [
        (1000, HDF5, "has 0.0 MB; "),
        (4 * ROW.parameters + 100, b"<html>", "is not an HDF5 file"),
    ],
)
def test_a_damaged_file_is_a_problem(folder: Path, size: int, begin: bytes, text: str) -> None:
    sparse(published(folder), size, begin)
    bad, rest = checked()
    assert (bad.name, bad.status) == ("weights of mobilenet_v3_small", "problem")
    assert text in bad.found
    assert bad.remedy == f"Remove {published(folder)} and run `featx zoo fetch mobilenet_v3_small`."
    assert rest.figures["backbones"] == []


def test_a_wrong_checksum_is_found_by_verify_only(folder: Path) -> None:
    sparse(published(folder), 4 * ROW.parameters + 100)
    assert [row.status for row in checked()] == ["ok"]
    bad, _ = checked(verify=True)
    assert bad.status == "problem"
    assert "damaged or of another version" in bad.found


def test_a_preset_is_checked_too(folder: Path) -> None:
    row = _presets()[0]
    assert row.preset is not None
    preset = folder / row.preset.name
    preset.mkdir()
    (preset / "config.json").write_text("{}")
    sparse(preset / "model.weights.h5", 4 * row.parameters)
    (found,) = checked()
    assert found.figures["backbones"] == [row.name]
    (verified,) = checked(verify=True)
    assert verified.found.endswith("(0 of 1 checksums compared; the others are not published)")
    (preset / "SHA256SUMS").write_text(f"{'0' * 64}  config.json\n")
    assert [one.status for one in checked(verify=True)] == ["problem", "note"]


def _presets():
    from featx.zoo import list_backbones

    return [row for row in list_backbones() if row.preset is not None]


def test_a_folder_that_is_not_there_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(folder / "none"))
    (row,) = checked()
    assert row.status == "problem"
    assert "FEATX_WEIGHTS_DIR" in row.remedy


def test_no_weights_are_a_note_where_none_are_downloaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (row,) = checked()
    assert (row.status, "zoo fetch" in row.remedy) == ("note", True)
    monkeypatch.delenv("FEATX_WEIGHTS_DIR")
    monkeypatch.setenv("KERAS_HOME", str(folder))
    (row,) = checked()
    assert (row.status, row.found) == ("ok", f"{folder}/models has none; they are downloaded at first use")
