"""A study with real verbs and real processes: killed on its way, it ends with the same tables."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

STUDY = """
name = "drawn"
backbones = ["tiny"]
[targets.skin]
drawn = { kind = "dermoscopy", images = 30, size = 32 }
tasks = "malignant-vs-benign"
protocol = "kfold:2"
[extract]
engine = "keras"
[arms.one]
weights = "random:1"
[arms.two]
weights = "random:2"
"""


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from featx_cli.main import main; main()", "study", "run", "mine.toml"]
    environment = {**os.environ, "FEATX_CACHE": "cache", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def results(folder: Path) -> dict[str, bytes]:
    """Read what has to be equal: tables, figures and page, and each run but for times and places."""
    out = folder / "reports" / "drawn"
    files = [path for path in (out / "report").rglob("*") if path.suffix in {".md", ".csv", ".tex", ".html"}]
    files += [path for name in ("run.json", "predictions.csv") for path in (out / "runs").rglob(name)]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_a_killed_study_ends_with_the_same_tables(tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    for folder in (straight, killed):
        folder.mkdir()
        (folder / "mine.toml").write_text(STUDY)
    first = start(straight)
    out, err = first.communicate()
    assert first.returncode == 0, err
    assert out.strip() == str(straight / "reports" / "drawn" / "report" / "skin" / "report.html")

    jobs = killed / "reports" / "drawn" / "jobs"
    process = start(killed)
    while len(list(jobs.glob("extract*/job.json"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not list(jobs.glob("report*"))
    last = start(killed)
    _, err = last.communicate()
    assert last.returncode == 0, err
    assert results(killed) == results(straight)
    assert len(results(straight)) > 10
    assert "5 jobs done" not in err
