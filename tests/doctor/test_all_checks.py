"""The table: every check runs, fails as a row, and has a remedy for each problem."""

from __future__ import annotations

import importlib
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from featx.doctor import all_checks
from featx.doctor.all_checks import CHECKS, MachineCheck, check_machine
from featx.doctor.check_rows import Check, CheckContext, CheckRow, note, ok, problem
from featx.errors import ConfigError

FILES = [file for file in Path(all_checks.__file__).parent.glob("*.py") if file.stem != "__init__"]
GOOD = {
    "backend": {"name": "tensorflow"},
    "gpus": {"seen": 0},
    "openvino": {"devices": ["CPU"], "capabilities": ["FP32"]},
    "round_trip": {"images": 2, "width": 128, "finite": True, "constant": False},
    "forward": {"images_per_second": 30.0, "engine": "keras", "device": "cpu:0", "batch": 8},
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Answer in place of the engines, and list for each question whether it is a quick one."""
    questions: list[bool] = []

    def ask(cache: Path, *, quick: bool) -> dict[str, Any]:
        questions.append(quick)
        return GOOD

    monkeypatch.setattr(all_checks, "ask_engines", ask)
    return questions


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Any:
    def give(*given: Check) -> None:
        monkeypatch.setattr(all_checks, "CHECKS", given)

    return give


def test_every_check_gives_rows_under_its_heading(tmp_path: Path, asked: list[bool]) -> None:
    done = check_machine([tmp_path], cache=tmp_path)
    assert [row.heading for row in done.rows] == sorted(
        (row.heading for row in done.rows), key=[check.heading for check in CHECKS].index
    )
    assert {row.heading for row in done.rows} == {check.heading for check in CHECKS}
    assert not [row for row in done.rows if "the check failed" in row.found]
    assert asked == [False]


def test_no_check_is_forgotten() -> None:
    rooms = [vars(importlib.import_module(f"featx.doctor.{file.stem}")) for file in FILES]
    written = {
        value
        for names in rooms
        for name, value in names.items()
        if name.startswith("check_") and callable(value)
    }
    assert {check.run for check in CHECKS} == written - {check_machine}


def test_checks_are_functions_that_say_what_they_check() -> None:
    assert len({check.run for check in CHECKS}) == len(CHECKS)
    assert all(check.run.__name__.startswith("check_") and check.run.__doc__ for check in CHECKS)


def test_a_quick_check_leaves_out_what_takes_time(tmp_path: Path, asked: list[bool]) -> None:
    done = check_machine([tmp_path], cache=tmp_path, quick=True)
    assert asked == [True]
    assert "Trial" not in {row.heading for row in done.rows}


def test_some_headings_only(tmp_path: Path, asked: list[bool]) -> None:
    done = check_machine([tmp_path], only=["folders"])
    assert {row.heading for row in done.rows} == {"Folders"}
    assert asked == []
    with pytest.raises(ConfigError, match=r"must be some of software, engines, .*Got 'disk' instead"):
        check_machine(only=["folders", "disk"])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_that_raises_is_a_problem_with_a_remedy(
    check: Check, checks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(context: CheckContext) -> Any:
        yield ok("first", "right")
        raise RuntimeError("odd\nmachine")

    broken.__name__ = check.run.__name__
    checks(Check(check.heading, broken))
    first, row = check_machine().rows
    assert first.found == "right"
    assert (row.heading, row.name, row.status) == (check.heading, check.name, "problem")
    assert row.found == "the check failed: RuntimeError: odd machine"
    assert row.remedy.startswith("Report this error")


@pytest.mark.linux
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_problem_of_a_broken_machine_has_a_remedy(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be read below this root, no stage of the engines works, and no folder can be written to."""
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path / "none"))
    (tmp_path / "file").touch()
    context = CheckContext(
        cache=tmp_path / "file", folders=(tmp_path / "file",), root=tmp_path, ask=lambda: {}
    )
    rows = list(check.run(context))
    assert all(row.remedy for row in rows if row.status == "problem")


def test_an_interrupt_is_no_row(checks: Any) -> None:
    def interrupted(context: CheckContext) -> Any:
        raise KeyboardInterrupt
        yield

    checks(Check("Software", interrupted))
    with pytest.raises(KeyboardInterrupt):
        check_machine()


def test_the_record_is_json(asked: list[bool], tmp_path: Path) -> None:
    record = json.loads(json.dumps(check_machine([tmp_path], cache=tmp_path).record(), allow_nan=False))
    assert set(record) == {"featx", "platform", "problems", "notes", "checks"}
    fields = {"heading", "name", "place", "found", "status", "remedy", "figures"}
    for row in record["checks"]:
        assert set(row) == fields
        assert row["status"] in {"ok", "note", "problem"}
        assert isinstance(row["figures"], dict)


def test_problems_and_notes_are_counted() -> None:
    done = MachineCheck((ok("a", "b"), note("c", "d"), problem("e", "f", "g"), CheckRow("h", "i")))
    assert [row.name for row in done.problems] == ["e"]
    assert (done.record()["problems"], done.record()["notes"]) == (1, 1)


def test_folders_are_the_caches_the_reports_and_the_temporary_one(
    checks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def places(context: CheckContext) -> Any:
        yield from (ok("folder", "", place=str(folder)) for folder in context.folders)

    checks(Check("Folders", places))
    given = [row.place for row in check_machine(cache="here").rows]
    assert given == ["here", "reports", tempfile.gettempdir()]

    def none() -> str:
        raise FileNotFoundError("no usable temporary folder")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    monkeypatch.setenv("TMPDIR", "/full")
    assert [row.place for row in check_machine().rows] == ["cache", "reports", "/full"]
    assert [row.place for row in check_machine(["a"]).rows] == ["a"]
