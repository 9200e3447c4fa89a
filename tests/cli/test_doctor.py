"""`featx doctor`: the table, its JSON, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import featx.doctor
from featx.doctor import CheckRow, MachineCheck
from featx_cli.main import run

ROWS = (
    CheckRow("Python", "3.12.1", heading="Software"),
    CheckRow("locks", "they hold", place="cache", heading="Folders"),
    CheckRow("locks", "they hold", place="/tmp", heading="Folders"),
    CheckRow("space", "1.0 GB", "note", "Free some.", "cache", {"bytes": 10**9}, "Folders"),
)
FULL = CheckRow("writing", "disk full", "problem", "Free some space.", "/data", heading="Folders")


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the command these rows, and keep what it asked for."""
    given: dict[str, Any] = {"rows": ROWS}

    def check_machine(folders: Any, **values: Any) -> MachineCheck:
        given.update(values, folders=folders)
        return MachineCheck(given["rows"])

    monkeypatch.setattr(featx.doctor, "check_machine", check_machine)
    return given


def test_without_problems_the_exit_code_is_0(
    rows: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "/a", "b", "--quick", "--cache", "c", "--only", "folders"]) == 0
    assert capsys.readouterr().out == (
        "Software\n"
        "  ok       Python  3.12.1\n"
        "Folders\n"
        "  ok       locks   cache, /tmp: they hold\n"
        "  note     space   cache: 1.0 GB -> Free some.\n"
        "\n"
        "no problems, 1 note\n"
    )
    assert rows["folders"] == (Path("/a"), Path("b"))
    assert (rows["quick"], rows["verify"], rows["cache"], rows["only"]) == (
        True,
        False,
        Path("c"),
        ("folders",),
    )


def test_a_problem_is_repeated_at_the_end_with_its_remedy(
    rows: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rows["rows"] = (FULL, *ROWS)
    assert run(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  problem  writing  /data: disk full"
    assert lines[-2:] == ["1 problem, 1 note", "  writing (/data): disk full. Free some space."]


def test_json_holds_the_rows_with_figures(rows: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    rows["rows"] = (FULL, *ROWS)
    assert run(["doctor", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert (record["problems"], record["notes"]) == (1, 1)
    assert [row["name"] for row in record["checks"]] == ["writing", "Python", "locks", "locks", "space"]
    assert record["checks"][-1]["figures"] == {"bytes": 10**9}


def test_an_unknown_heading_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--only", "disk"]) == 2
    assert "must be some of software" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert run(["doctor", "--only", "folders", str(tmp_path), str(tmp_path / "file")]) == 1
    assert f"writing ({tmp_path}/file): no file can be written: it is a file." in " ".join(
        capsys.readouterr().out.split()
    )
