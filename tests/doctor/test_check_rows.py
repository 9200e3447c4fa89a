"""Rows of the table, and what checks are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.doctor.check_rows import Check, CheckContext, CheckRow, existing, note, ok, problem


def test_each_status_has_its_row() -> None:
    made = [ok("a", "b", {"n": 1}, place="p"), note("a", "b", "c"), problem("a", "b", "c")]
    assert [row.status for row in made] == ["ok", "note", "problem"]
    assert made[0] == CheckRow("a", "b", "ok", "", "p", {"n": 1})
    assert made[2].remedy == "c"


def test_a_problem_needs_a_remedy() -> None:
    with pytest.raises(ValueError, match="'disk' has no remedy"):
        problem("disk", "full", "")


def test_a_stage_that_was_not_tried_says_so() -> None:
    assert CheckContext().trial("backend") == {"error": "it was not tried"}
    assert CheckContext(ask=lambda: {"gpus": {"seen": 2}}).trial("gpus")["seen"] == 2


def test_a_check_is_named_after_its_function() -> None:
    def check_free_space(context: CheckContext):
        yield ok("a", "b")

    assert Check("Folders", check_free_space).name == "free space"


def test_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert existing(tmp_path / "a" / "b") == tmp_path
    assert existing(tmp_path) == tmp_path
