"""The trial of the engines: what its process answers, and processes that crash, hang or print something else."""

from __future__ import annotations

import builtins
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from featx.doctor import engine_trial
from featx.doctor.engine_trial import answer, ask_engines

STAGES = ["backend", "gpus", "openvino", "round_trip", "forward"]
SAY = 'import sys; sys.stdout.write(\'{"stage": "backend", "name": "jax"}\\n\'); sys.stdout.flush(); '


def ask(code: str, **more: Any) -> Any:
    return ask_engines(Path("cache"), command=[sys.executable, "-c", code], **more)


def test_answers_are_kept_by_stage_and_other_lines_ignored() -> None:
    code = """
import json, sys
print("a library prints this")
for stage in json.loads(sys.argv[1])["stages"]:
    print(json.dumps({"stage": stage, "fine": True}))
"""
    assert ask(code) == {stage: {"fine": True} for stage in STAGES}
    assert list(ask(code, quick=True)) == STAGES[:3]


@pytest.mark.parametrize(
    ("end", "error"),
    [
        ("import os; os.kill(os.getpid(), 4)", "the process was ended by SIGILL"),
        ("sys.exit('no such library')", "the process ended with exit code 1 (no such library)"),
        ("sys.exit(3)", "the process ended with exit code 3 (no message)"),
    ],
)
def test_a_process_that_crashes_is_the_error_of_its_stage(end: str, error: str) -> None:
    found = ask(SAY + end)
    assert found["backend"] == {"name": "jax"}
    assert found["gpus"] == {"error": error}
    assert {found[stage]["error"] for stage in STAGES[2:]} == {
        "not tried, because of the failure before (gpus)",
        "not tried, because of the failure before (openvino)",
        "not tried, because of the failure before (round trip)",
    }


def test_a_process_that_hangs_is_ended() -> None:
    found = ask(SAY + "import time; time.sleep(60)", seconds=0.5)
    assert found["gpus"] == {"error": "no answer within 0.5 s"}


def test_the_process_gets_the_environment() -> None:
    code = "import json, os; print(json.dumps({'stage': 'backend', 'name': os.environ['KERAS_BACKEND']}))"
    assert ask(code, environment={"KERAS_BACKEND": "torch"})["backend"] == {"name": "torch"}


def test_the_engines_of_this_machine_compute(tmp_path: Path) -> None:
    assert answer("backend", tmp_path)["name"] in {"tensorflow", "jax", "torch"}
    assert answer("gpus", tmp_path)["seen"] >= 0
    assert "FP32" in answer("openvino", tmp_path)["capabilities"]
    found = answer("round_trip", tmp_path / "cache")
    assert found == {"images": 2, "width": 128, "finite": True, "constant": False}
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_the_process_of_the_trial_answers_every_stage(tmp_path: Path) -> None:
    found = ask_engines(tmp_path)
    assert list(found) == STAGES
    assert not any("error" in stage for stage in found.values())
    assert found["forward"]["images_per_second"] > 0


def test_an_exception_is_the_error_of_its_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load = builtins.__import__

    def fail(name: str, *more: Any) -> Any:
        if name == "keras":
            raise ImportError("libcuda.so:\nno such file")
        return load(name, *more)

    monkeypatch.setattr(builtins, "__import__", fail)
    assert answer("backend", tmp_path) == {"error": "ImportError: libcuda.so: no such file"}


def test_the_process_prints_a_line_for_each_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine_trial, "answer", lambda stage, cache: {"cache": str(cache)})
    monkeypatch.setattr(engine_trial, "quieten_tensorflow", lambda: None)
    monkeypatch.setattr(sys, "argv", ["trial", json.dumps({"cache": "c", "stages": ["gpus", "forward"]})])
    engine_trial.main()
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"stage": "gpus", "cache": "c"},
        {"stage": "forward", "cache": "c"},
    ]
