"""Versions of Python, featx and its libraries, and environment variables."""

from __future__ import annotations

from importlib import metadata

import pytest

from featx.doctor import libraries
from featx.doctor.check_rows import CheckContext, CheckRow
from featx.doctor.libraries import (
    check_environment_variables,
    check_mandatory_libraries,
    check_optional_libraries,
    check_python,
)

REQUIRED = [
    "numpy<3,>=2.0",
    "h5py>=3.11",
    'umap-learn>=0.5.7; extra == "umap"',
    'numpy[fast]>=2.0; extra == "fast"',
    'pyarrow>=17; extra == "parquet"',
    'pytest>=8; extra == "test"',
]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Pretend that featx requires REQUIRED, and that what this holds is installed."""
    found = {"numpy": "2.3.1", "h5py": "3.12.0"}
    monkeypatch.setattr(metadata, "requires", lambda name: REQUIRED)
    monkeypatch.setattr(
        libraries, "versions", lambda names: {name: found[name] for name in names if name in found}
    )
    return found


def by_name(rows: object) -> dict[str, CheckRow]:
    return {row.name: row for row in rows}  # type: ignore[attr-defined]


def test_this_python_and_featx_are_right() -> None:
    assert {row.status for row in check_python(CheckContext())} == {"ok"}


def test_a_python_that_is_too_old_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries.platform, "python_version", lambda: "3.9.2")
    row = by_name(check_python(CheckContext()))["Python"]
    assert (row.status, row.found) == ("problem", "3.9.2; featx needs >=3.11")
    assert row.remedy == "Make a virtual environment with Python >=3.11 and install featx there."


def test_another_installed_featx_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "__version__", "9.9.9")
    row = by_name(check_python(CheckContext()))["featx"]
    assert row.status == "note"
    assert row.found.startswith("9.9.9 runs, but ")


def test_libraries_that_are_right_are_one_row_with_all_versions(installed: dict[str, str]) -> None:
    (row,) = check_mandatory_libraries(CheckContext())
    assert row.found == "2 of 2 mandatory libraries are installed in a version that featx allows"
    assert (row.status, row.figures) == ("ok", installed)


def test_the_libraries_of_this_environment_are_right() -> None:
    (row,) = check_mandatory_libraries(CheckContext())
    assert "keras" in row.figures


@pytest.mark.parametrize("version", ["1.26.4", "3.0"])
def test_a_version_that_featx_does_not_allow_is_a_problem(installed: dict[str, str], version: str) -> None:
    installed["numpy"] = version
    rows = by_name(check_mandatory_libraries(CheckContext()))
    assert (rows["numpy"].status, rows["numpy"].found) == ("problem", f"{version}; featx needs <3,>=2.0")
    assert "pip install 'numpy<3,>=2.0'" in rows["numpy"].remedy
    assert rows["libraries"].found.startswith("1 of 2 ")


def test_a_missing_library_is_a_problem(installed: dict[str, str]) -> None:
    del installed["h5py"]
    assert (
        by_name(check_mandatory_libraries(CheckContext()))["h5py"].found
        == "not installed; featx needs >=3.11"
    )


def test_a_missing_optional_library_is_none(installed: dict[str, str]) -> None:
    installed["umap-learn"] = "0.5.9"
    (row,) = check_optional_libraries(CheckContext())
    assert row.status == "ok"
    assert row.found == "umap-learn 0.5.9; not installed: pyarrow (featx[parquet])"


def test_an_optional_library_that_is_too_old_is_a_problem(installed: dict[str, str]) -> None:
    installed["umap-learn"] = "0.5.6"
    assert by_name(check_optional_libraries(CheckContext()))["umap-learn"].status == "problem"


def test_variables_of_featx_are_named_and_misspelt_ones_noted() -> None:
    given = {"FEATX_CACHE": "/data", "FEATX_WEIGHTS": "/w", "HOME": "/root", "KERAS_BACKEND": "jax"}
    rows = by_name(check_environment_variables(CheckContext(environment=given)))
    assert rows["FEATX_WEIGHTS"].status == "note"
    assert rows["FEATX_WEIGHTS"].remedy == "Did you mean FEATX_WEIGHTS_DIR?"
    assert rows["environment"].found == "FEATX_CACHE=/data, KERAS_BACKEND=jax"
    (none,) = check_environment_variables(CheckContext(environment={}))
    assert none.found == "no variable of featx or Keras is set"
