"""Settings and fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from featx.jobs.machines import host

# Two test processes on two cores: one thread each keeps them out of each other's way.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
for threads in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
):
    os.environ.setdefault(threads, "1")

settings.register_profile(
    "featx", derandomize=True, deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("featx")

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def real_data() -> Path:
    """Folder of real images and weights, or a skip that says it is missing."""
    if not REAL.is_dir():
        pytest.skip(f"no real data: {REAL} is not there")
    return REAL


CHROMIUM = "/usr/bin/chromium"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser, or a skip that says what is missing."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="no browser test: playwright is not installed"
    )
    if not Path(CHROMIUM).is_file():
        pytest.skip(f"no browser test: {CHROMIUM} is not there")
    with sync_api.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, or a skip where npm cannot bring it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no accessibility test: npm is not installed")
    folder = tmp_path_factory.mktemp("axe")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), "axe-core@4"]
    try:
        subprocess.run(command, check=True, timeout=60, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"no accessibility test: npm could not install axe-core ({error})")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


FAKE_WORKER = '''
"""A worker whose verbs obey the arm's name instead of training anything."""
import json, os, signal, sys, time
from pathlib import Path
from featx.errors import TrainingError
from featx.jobs import worker

def act(arguments, resources):
    progress, output = arguments["progress"], Path(os.environ["FAKE_OUTPUT"])
    name = str(arguments.get("arm", arguments.get("backbone", "report")))
    log = output / "calls.jsonl"
    with log.open("a") as file:
        facts = {k: v for k, v in arguments.items() if k != "progress"}
        facts |= {"threads": resources.threads, "cpus": sorted(os.sched_getaffinity(0)), "pid": os.getpid(), "began": time.time(),
                  "omp": os.environ.get("OMP_NUM_THREADS"),
                  "pool": os.environ.get("TF_NUM_INTRAOP_THREADS"), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
        file.write(json.dumps(facts) + "\\n")
    print("a line from below Python's progress")
    progress.start("working", 2, "steps")
    if "sick" in name and not (output / "cured").exists():
        raise TrainingError("the patient is sick; cure it")
    if "swallowing" in name:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            if "whole" not in name:
                raise AttributeError("partially initialized module")
    if "broken" in name:
        raise ZeroDivisionError("no error of featx")
    limit = time.monotonic() + 60
    if (output / "meeting").exists() and "weights" in arguments:
        while log.read_text().count('"weights"') < 2 and time.monotonic() < limit:
            time.sleep(0.02)
    while "meet" in name and log.read_text().count('"arm": "meet') < 2 and time.monotonic() < limit:
        time.sleep(0.02)
    if "forking" in name and os.fork() == 0:
        (output / "child").write_text(str(os.getpid()))
        time.sleep(600)
    if "killed" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    for step in range(60 if "slow" in name and not (output / "hurry").exists() else 1):
        time.sleep(0.1)
    progress.finish()
    done = output / f"result-{abs(hash(name))}-{time.time_ns()}"
    done.write_text("")
    return {"outputs": [str(done)], "features": [str(done)], "paths": [str(done)],
            "table": "a table", "findings": ["a finding"]}

worker._VERBS.update(dict.fromkeys(worker._VERBS, act))
sys.exit(worker.main())
'''


@pytest.fixture
def fake_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace what workers do; the folder returned holds ``calls.jsonl`` and switches."""
    script = tmp_path / "fake_worker.py"
    script.write_text(FAKE_WORKER)
    folder = tmp_path / "fake"
    folder.mkdir()
    monkeypatch.setenv("FAKE_OUTPUT", str(folder))
    # Locks of cores and GPUs are those of this test alone.
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(host, "_WORKER", (sys.executable, str(script)))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A manifest of 24 small images of two labels, two a patient."""
    return _make_data(tmp_path / "skin", 24)


@pytest.fixture
def make_data() -> Callable[[Path, int], Path]:
    """Make a further data set of so many images in a folder."""
    return _make_data


def _make_data(folder: Path, count: int) -> Path:
    """Draw noise: planning looks at bytes only."""
    folder.mkdir()
    rng = np.random.default_rng(count)
    lines = ["image,label,group,split"]
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{number}.png")
        label = "melanoma" if number % 4 < 2 else "nevus"
        lines.append(f"{number}.png,{label},p{number // 2},{'train' if number % 8 < 4 else 'test'}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


@pytest.fixture
def write_study(tmp_path: Path, data: Path) -> Callable[[str], Path]:
    """Write a study file: two folds on the small data set, and the arms given."""

    def write(arms: str, name: str = "small") -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(
            f'name = "{name}"\nbackbones = ["tiny"]\n'
            '[targets.skin]\nmanifest = "skin/manifest.csv"\ntasks = ["melanoma:rest"]\nprotocol = "kfold:2"\n'
            + arms
        )
        return path

    return write
