"""`--log-json`, `--summary` and `--notify`, however a command ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import featx.batch_log
import featx_cli.main as command_line
import featx_cli.notify
from featx.errors import ConfigError
from featx.features import FeatureStore
from featx.progress import Silent, StagedProgress
from featx.study import StudyOutcome
from featx_cli.batch import Batch, BatchOptions
from featx_cli.main import run
from featx_cli.synonyms import commands_below
from tests.cli.test_bars import Clock

WORKING = (
    "extract",
    "train-svm",
    "finetune",
    "report",
    "embedding",
    "robustness",
    "saliency",
    "finalize",
    "predict",
    "export",
    "card",
    "cache import",
    "study run",
    "demo",
    "cache verify",
    "cache compact",
)


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    made = FeatureStore.create(
        tmp_path / "cache" / "features" / "tiny-random0-00000000", {"backbone": "tiny"}
    )
    made.write_block(["ab" * 32], np.zeros((1, 1, 3), np.float32))
    return made


@pytest.fixture
def line(tmp_path: Path, store: FeatureStore) -> list[str]:
    """A command of some milliseconds, with all options."""
    return [
        "cache", "verify", "--cache", str(tmp_path / "cache"), "--log-json", str(tmp_path / "logs" / "log.jsonl"),
        "--summary", str(tmp_path / "summaries" / "summary.md"),
        "--notify", f'env | grep ^FEATX_ > {tmp_path}/told; echo once >> {tmp_path}/times',
    ]  # fmt: skip


def told(folder: Path) -> dict[str, str]:
    assert (folder / "times").read_text() == "once\n"
    return dict(row.split("=", 1) for row in (folder / "told").read_text().splitlines())


def test_commands_that_work_have_the_options() -> None:
    names = {f"--{name.replace('_', '-')}" for name in vars(BatchOptions())}
    assert names == {"--log-json", "--summary", "--notify"}
    having = {
        name
        for name, command in commands_below(command_line.featx)
        if names <= {flag for param in command.params for flag in param.opts}
    }
    assert having == set(WORKING)


def test_a_success_is_recorded(tmp_path: Path, line: list[str]) -> None:
    assert run(line) == 0
    log = events(tmp_path / "logs" / "log.jsonl")
    assert [(event["event"], event.get("task")) for event in log] == [
        ("start", None), ("start", "verifying"), ("finish", "verifying"), ("message", None), ("end", None),
    ]  # fmt: skip
    assert {event["verb"] for event in log} == {"cache verify"}
    for event in log:
        assert event["time"].endswith("Z")
        assert datetime.fromisoformat(event["time"]).tzinfo is not None
    assert log[0]["message"].startswith("featx cache verify --cache ")
    assert log[0]["message"].endswith("--notify ...")
    finish, said, end = log[2:]
    assert (finish["done"], finish["total"], finish["unit"]) == (1, 1, "stores")
    assert finish["memory"] > 1 << 20
    assert said["message"] == "1 stores read, 0 damaged blocks, 0 other problems"
    assert (end["exit_code"], end["message"]) == (0, said["message"])
    found = told(tmp_path)
    assert int(found.pop("FEATX_SECONDS")) >= 0
    assert found == {
        "FEATX_VERB": "cache verify",
        "FEATX_EXIT": "0",
        "FEATX_MESSAGE": said["message"],
        "FEATX_SUMMARY": str(tmp_path / "summaries" / "summary.md"),
    }
    text = (tmp_path / "summaries" / "summary.md").read_text()
    assert text.startswith("# featx cache verify: done\n")
    assert "| verifying | 1 of 1 stores |" in text
    assert "--notify ..." in text
    assert "FEATX_" not in text


def test_the_log_is_appended_to_and_the_summary_replaced(tmp_path: Path, line: list[str]) -> None:
    assert run(line) == run(line) == 0
    log = events(tmp_path / "logs" / "log.jsonl")
    assert [event["event"] for event in log].count("end") == 2
    assert os.listdir(tmp_path / "summaries") == ["summary.md"]


def test_failed_work_is_recorded(tmp_path: Path, line: list[str], store: FeatureStore, capfd) -> None:
    block = store.blocks()[0]
    block.write_bytes(block.read_bytes()[:-1])
    assert run(line) == 1
    error = next(
        row.removeprefix("featx: error: ")
        for row in capfd.readouterr().err.splitlines()
        if row.startswith("featx: error: ")
    )
    *_, failed, end = events(tmp_path / "logs" / "log.jsonl")
    assert (failed["event"], failed["message"]) == ("error", error)
    assert (end["event"], end["exit_code"], end["message"]) == ("end", 1, error)
    text = (tmp_path / "summaries" / "summary.md").read_text()
    assert text.startswith("# featx cache verify: failed\n\n**Error:** 1 damaged blocks, 0 other problems; ")
    assert "- Exit code: 1 (failed)" in text
    assert (told(tmp_path)["FEATX_EXIT"], told(tmp_path)["FEATX_MESSAGE"]) == ("1", error)


def test_jobs_of_a_study_that_failed_are_recorded(tmp_path: Path, line: list[str], monkeypatch) -> None:
    """The command ends with exit code 1, without an error."""
    outcome = StudyOutcome(failed={"svm a": "no features"})
    monkeypatch.setattr("featx.study.run_study", lambda *_, **__: outcome)
    assert run(["study", "run", "demo", *line[4:]]) == 1
    *_, end = events(tmp_path / "logs" / "log.jsonl")
    message = "0 jobs done, 0 finished before, 1 failed, 0 not started"
    assert (end["exit_code"], end["message"]) == (1, message)
    assert (told(tmp_path)["FEATX_EXIT"], told(tmp_path)["FEATX_MESSAGE"]) == ("1", message)
    assert "- failed: svm a: no features\n" in (tmp_path / "summaries" / "summary.md").read_text()


def test_bad_input_is_recorded(tmp_path: Path, line: list[str]) -> None:
    assert run([*line, "no-such-folder"]) == 2
    *_, failed, end = events(tmp_path / "logs" / "log.jsonl")
    assert "no-such-folder" in failed["message"]
    assert end["exit_code"] == 2
    assert told(tmp_path)["FEATX_EXIT"] == "2"
    assert (
        "# featx cache verify: bad input\n\n**Error:**" in (tmp_path / "summaries" / "summary.md").read_text()
    )


def test_a_bad_option_is_recorded_too(tmp_path: Path, line: list[str], capfd) -> None:
    """The options are read before the others."""
    wanted = ["extract", "m.csv", "--batch-size", "0", *line[4:]]
    assert run(wanted) == 2
    *_, failed, end = events(tmp_path / "logs" / "log.jsonl")
    assert "--batch-size" in failed["message"]
    assert (end["exit_code"], end["verb"]) == (2, "extract")
    assert told(tmp_path)["FEATX_EXIT"] == "2"
    assert "bad input" in (tmp_path / "summaries" / "summary.md").read_text()


@pytest.mark.parametrize("joined", [False, True])
def test_a_misspelt_option_is_recorded_too(joined: bool, tmp_path: Path, line: list[str], capfd) -> None:
    options = line[4:]
    if joined:
        options = [f"{name}={value}" for name, value in zip(options[::2], options[1::2], strict=True)]
    assert run(["extract", "m.csv", "--modle", "vgg16", *options]) == 2
    *_, failed, end = events(tmp_path / "logs" / "log.jsonl")
    assert failed["message"].startswith("No such option --modle; did you mean --backbone?")
    assert (end["exit_code"], end["verb"]) == (2, "extract")
    assert told(tmp_path)["FEATX_MESSAGE"] == failed["message"]
    assert (tmp_path / "summaries" / "summary.md").exists()


def test_a_command_without_the_options_records_nothing(tmp_path: Path, line: list[str], capfd) -> None:
    assert run(["cache", "ls", *line[2:]]) == 2
    assert run(["no-such-command", *line[4:]]) == 2
    assert sorted(os.listdir(tmp_path)) == ["cache"]


def test_help_is_no_work(tmp_path: Path, line: list[str], capsys) -> None:
    assert run([*line, "--help"]) == 0
    assert sorted(os.listdir(tmp_path)) == ["cache"]


@pytest.mark.parametrize("option", ["--log-json", "--summary"])
def test_a_file_that_cannot_be_written_is_bad_input_before_the_work(
    option: str, tmp_path: Path, line: list[str], capfd
) -> None:
    (tmp_path / "file").write_text("")
    for bad in (tmp_path, tmp_path / "file" / "below"):
        (tmp_path / "times").unlink(missing_ok=True)
        line[line.index(option) + 1] = str(bad)
        assert run(line) == 2
        (error,) = capfd.readouterr().err.splitlines()
        assert error.startswith(f"featx: error: {option} {bad}: cannot be written: ")
        assert len(error) < 250
        assert told(tmp_path)["FEATX_EXIT"] == "2"
    other = tmp_path / ("summaries/summary.md" if option == "--log-json" else "logs/log.jsonl")
    assert "cannot be written" in other.read_text()
    assert "stores read" not in other.read_text()


def test_an_empty_command_is_bad_input(line: list[str], capsys) -> None:
    line[-1] = ""
    assert run(line) == 2
    assert "'notify'" in capsys.readouterr().err


def test_a_summary_can_go_to_stderr(tmp_path: Path, line: list[str], capsys) -> None:
    line[line.index("--summary") + 1] = "-"
    assert run(line) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "# featx cache verify: done\n" in err
    assert "FEATX_SUMMARY" not in told(tmp_path)


@pytest.mark.parametrize(
    ("command", "warning"),
    [
        ("exit 7", "the command of --notify failed with exit code 7"),
        ("sleep 600", "the command of --notify was ended after 0.2 s"),
    ],
)
@pytest.mark.parametrize("code", [0, 1])
def test_a_bad_notification_changes_nothing(
    command: str,
    warning: str,
    code: int,
    tmp_path: Path,
    line: list[str],
    store: FeatureStore,
    monkeypatch,
    capfd,
) -> None:
    monkeypatch.setattr(featx_cli.notify, "_SECONDS", 0.2)
    line[-1] = command
    if code:
        store.blocks()[0].write_bytes(b"")
    assert run(line) == code
    assert capfd.readouterr().err.splitlines()[-1] == f"featx: warning: {warning}"
    assert events(tmp_path / "logs" / "log.jsonl")[-1]["exit_code"] == code
    assert (tmp_path / "summaries" / "summary.md").exists()


def test_a_fault_of_the_record_loses_no_result(tmp_path: Path, line: list[str], monkeypatch, capfd) -> None:
    monkeypatch.setattr("featx_cli.batch.markdown", lambda facts: 1 / 0)
    assert run(line) == 0
    assert "featx: warning: --summary or --notify failed: ZeroDivisionError" in capfd.readouterr().err


def test_a_log_on_a_full_disk_ends_and_the_work_goes_on(tmp_path: Path, line: list[str], capfd) -> None:
    line[line.index("--log-json") + 1] = "/dev/full"
    assert run(line) == 0
    err = capfd.readouterr().err
    assert err.count("featx: warning: --log-json /dev/full: No space left on device; the log ends here") == 1
    assert "1 stores read" in err


def test_an_interrupt_in_the_work_is_recorded(tmp_path: Path, line: list[str], monkeypatch) -> None:
    def stop(self: FeatureStore) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FeatureStore, "problems", stop)
    assert run(line) == 130
    log = events(tmp_path / "logs" / "log.jsonl")
    assert [event["event"] for event in log] == ["start", "start", "finish", "error", "end"]
    assert (log[2]["done"], log[2]["total"]) == (0, 1)
    assert log[3]["message"].startswith("interrupted; the same command resumes")
    assert log[4]["exit_code"] == 130
    assert told(tmp_path)["FEATX_EXIT"] == "130"
    text = (tmp_path / "summaries" / "summary.md").read_text()
    assert text.startswith("# featx cache verify: interrupted\n\n**Error:** interrupted; ")
    assert "| verifying | 0 of 1 stores |" in text


def test_an_interrupt_at_the_end_keeps_the_exit_code(line: list[str], monkeypatch, capfd) -> None:
    def stop(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("featx_cli.batch.notify", stop)
    assert run(line) == 0
    assert "featx: warning: interrupted at the end, after the work" in capfd.readouterr().err


def test_the_keys_of_a_configuration_file_set_them(tmp_path: Path, capfd) -> None:
    config = tmp_path / "featx.toml"
    config.write_text(
        f'backbone = "tinny"\nlog-json = "{tmp_path}/log.jsonl"\nsummary = "{tmp_path}/s.md"\nnotify = "echo told"\n'
    )
    assert run(["extract", str(tmp_path / "m.csv"), "--config", str(config)]) == 2
    assert "told" in capfd.readouterr().err
    assert [event["event"] for event in events(tmp_path / "log.jsonl")] == ["start", "error", "end"]
    assert "tinny" in (tmp_path / "s.md").read_text()


@pytest.fixture
def clocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Batch, Clock, Path]:
    clock = Clock()
    monkeypatch.setattr(featx.batch_log, "time", clock)
    monkeypatch.setattr(featx.batch_log, "resident_memory", lambda: 3_000_000_000)
    monkeypatch.setattr(featx.batch_log, "_gpu_use", lambda: ())
    batch = Batch(["extract", "m.csv"])
    batch.take("extract", "log_json", str(tmp_path / "log.jsonl"))
    batch.take("extract", "summary", tmp_path / "s.md")
    batch.begin()
    return batch, clock, tmp_path


def test_progress_is_an_event_a_minute_with_its_numbers(clocked: tuple[Batch, Clock, Path]) -> None:
    batch, clock, folder = clocked
    busy = [0.0]
    receiver = batch.also(Silent())
    assert isinstance(receiver, StagedProgress)
    receiver.start("extracting", 1000)
    receiver.stages({"decode": lambda: busy[0]})
    for second, count in ((59, 100), (60, 20), (119, 100), (120, 80)):
        clock.now, busy[0] = float(second), second / 4 if second < 61 else 15 + (second - 60) / 2
        receiver.advance(count)
    receiver.say("warning: two\nlines \udcff")
    clock.now = 150.0
    receiver.start("next", 5, "files")
    batch.end(0)
    log = events(folder / "log.jsonl")
    first, second = (event for event in log if event["event"] == "progress")
    for event in log:
        event.pop("time")
    assert first == {
        "event": "progress", "verb": "extract", "task": "extracting", "done": 120, "total": 1000, "unit": "images",
        "rate": 2.0, "rate_last_minute": 2.0, "stages": {"decode": 0.25}, "memory": 3_000_000_000, "gpu": [],
        "seconds_left": 440.0,
    }  # fmt: skip
    assert second == {
        **first, "done": 300, "rate": 2.5, "rate_last_minute": 3.0, "stages": {"decode": 0.5}, "seconds_left": 280.0,
    }  # fmt: skip
    finish = next(event for event in log if event["event"] == "finish")
    assert (finish["rate"], finish["seconds"], finish["stages"]) == (2.0, 150.0, {"decode": 0.3})
    assert [event["message"] for event in log if event["event"] == "message"] == [
        "warning: two",
        "lines \udcff",
    ]
    assert [event["task"] for event in log if event["event"] == "finish"] == ["extracting", "next"]
    text = (folder / "s.md").read_text()
    assert "| extracting | 300 of 1,000 images | 2 min 30 s | 2.0 images/s | 30 % |" in text
    assert "- Peak memory: 3.00 GB" in text
    assert "## Warnings\n\n- two lines \\udcff\n" in text


def test_a_record_without_options_is_none() -> None:
    receiver = Silent()
    batch = Batch(["extract"])
    assert batch.also(receiver) is receiver
    batch.begin()
    batch.end(1, "an error")


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="notify"):
        Batch().take("extract", "notify", "")


def test_a_message_of_the_work_is_no_outcome(clocked: tuple[Batch, Clock, Path]) -> None:
    batch, _, folder = clocked
    batch.say("fold 1: AUC 0.9")
    batch.outcome("featx: warning: 1 of 4 images")
    batch.outcome("mean AUC 0.9\nmore")
    batch.results([folder / "run", folder / "run"])
    batch.end(0)
    text = (folder / "s.md").read_text()
    assert "fold 1" not in text
    assert "## Outcome\n\n- mean AUC 0.9\n- more\n\n## Warnings\n\n- 1 of 4 images\n" in text
    assert text.count(str(folder / "run")) == 1
    assert events(folder / "log.jsonl")[-1]["message"] == "mean AUC 0.9"


def _slow_images(folder: Path) -> Path:
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"p{number}.png")
    (folder / "m.csv").write_text("image,label\n" + "".join(f"p{number}.png,a\n" for number in range(24)))
    return folder / "m.csv"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_a_real_extraction_is_recorded(number: signal.Signals, code: int, tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import sys; from featx_cli.main import main; main(sys.argv[1:])"]
    # Many views of one image make work that lasts.
    work = f"extract {_slow_images(tmp_path)} -m tiny -w random --image-size 256 --views 32 --batch-size 8 --engine keras -j 1"
    record = ["--log-json", "log.jsonl", "--summary", "s.md", "--notify"]
    process = subprocess.Popen(
        [*program, *work.split(), *record, 'echo "$FEATX_EXIT $FEATX_MESSAGE" > told'],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = tmp_path / "log.jsonl"
    while process.poll() is None and not (log.exists() and '"extracting"' in log.read_text()):
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == code
    assert err.splitlines()[-1] == "featx: interrupted; the same command resumes from what is finished"
    *_, finish, failed, end = events(log)
    assert (finish["event"], finish["task"], finish["total"]) == ("finish", "extracting", 24)
    assert finish["done"] < 24
    assert set(finish["stages"]) == {"decode", "forward", "write"}
    assert (failed["event"], end["exit_code"]) == ("error", code)
    told_of = (tmp_path / "told").read_text()
    assert told_of == f"{code} interrupted; the same command resumes from what is finished\n"
    text = (tmp_path / "s.md").read_text()
    assert text.startswith("# featx extract: interrupted")
    assert re.search(r"\| extracting \| \d+ of 24 images \|", text)
