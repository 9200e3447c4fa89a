"""The demo: its study with a seed, and what its command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.study import run_demo
from featx.study.schema import Study, read_study
from featx.study.studies import demo_study
from featx_cli.main import run


def test_the_study_is_the_shipped_one_with_a_seed_everywhere() -> None:
    assert demo_study(0) == read_study("demo")
    seeded = demo_study(7)
    told = seeded.model_dump_json()
    assert seeded.seed == 7
    assert told.count('"seed":7') == 3
    assert '"seed":0' not in told


def test_the_command_ends_with_table_words_and_path(
    tmp_path: Path,
    data: Path,
    fake_worker: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    head, *rows = data.read_text().splitlines()
    data.write_text("\n".join([f"{head},difficulty", *(f"{row},low" for row in rows)]))

    def small(seed: int) -> Study:
        return read_study("demo", {"retina": data, "dermoscopy": data})

    monkeypatch.setattr(run_demo, "demo_study", small)
    given = ["demo", "--output", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert run(given) == 0
    told = capsys.readouterr()
    page = tmp_path / "out" / "report" / "dermoscopy" / "report.html"
    assert told.out == f"a table\na finding\nReport: {page}\n"
    assert "18 jobs done, 0 finished before" in told.err
    kinds = [line for line in told.err.splitlines() if line.endswith(" ...")]
    assert kinds == [
        "extracting features ...",
        "training SVMs ...",
        "training on a source ...",
        "fine-tuning, fold by fold ...",
        "writing the reports ...",
    ]
