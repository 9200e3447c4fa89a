"""The cluster of dask-jobqueue that the documents show."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import featx

from .conftest import Slurm

jobqueue = pytest.importorskip("dask_jobqueue")
DOCUMENT = Path(__file__).parents[2] / "docs" / "clusters.md"


def shown() -> str:
    """The Python of the documents that starts workers as SLURM jobs."""
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if "SLURMCluster(" in block]
    return str(found)


def run_shown(
    monkeypatch: pytest.MonkeyPatch, folder: Path, study: Callable[[Any], Any], **changed: Any
) -> tuple[str, Any]:
    """Run it with another function in the place of the study, and other options; return a job's script and the result."""
    seen: list[Any] = []
    real = jobqueue.SLURMCluster

    def make(**given: Any) -> Any:
        cluster = real(**{**given, "interface": "lo", "shared_temp_directory": str(folder), **changed})
        seen.append(cluster.job_script())
        return cluster

    def run_study(file: str, *, executor: Any, cores: int) -> None:
        assert (file, cores) == ("mine.toml", 6)
        seen.append(study(executor))

    monkeypatch.chdir(folder)
    monkeypatch.setattr(jobqueue, "SLURMCluster", make)
    monkeypatch.setattr(featx, "run_study", run_study)
    exec(shown(), {})
    script, result = seen
    return script, result


def test_the_job_script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jobqueue.SLURMCluster, "scale", lambda self, jobs: None)
    script, _ = run_shown(monkeypatch, tmp_path, lambda executor: None)
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "--nthreads 1",
        "--memory-limit 0",
        "--no-dashboard --dashboard-address 127.0.0.1:0",
        "--resources GPU=1",
        "--tls-key",
        "tls://",
    ):
        assert words in script
    for words in ("-p gpu", "-A lab", "--cpus-per-task=6", "-t 08:00:00", "--gpus-per-task=1"):
        assert f"#SBATCH {words}" in script


@pytest.mark.slow
def test_workers_are_jobs_of_slurm(slurm: Slurm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm.environment[name])
    small = {"queue": "all", "account": None, "walltime": "00:10:00", "job_cpu": 1, "memory": "1GiB"}
    script, job = run_shown(
        monkeypatch,
        tmp_path,
        lambda executor: executor.submit(os.getenv, "SLURM_JOB_ID").result(240),
        **small,
    )
    assert slurm.job(job)["JobName"] == "dask-worker"
    assert "tls://127.0.0.1" in script
