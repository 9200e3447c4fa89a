from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import featx_cli.notify as module
from featx_cli.notify import notify


def test_facts_are_variables_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_SUMMARY", "of an outer command")
    monkeypatch.setenv("FEATX_CACHE", "kept")
    facts = {
        "VERB": "extract",
        "EXIT": "1",
        "MESSAGE": "a $(touch pwned)\n'b' \0\udcff" + "x" * 5000,
        "SUMMARY": "",
    }
    assert notify(f'cd {tmp_path}; env > found; echo "$FEATX_MESSAGE" > message', facts) == ""
    found = dict(line.split("=", 1) for line in (tmp_path / "found").read_text().splitlines() if "=" in line)
    assert (found["FEATX_VERB"], found["FEATX_EXIT"], found["FEATX_CACHE"]) == ("extract", "1", "kept")
    assert "FEATX_SUMMARY" not in found
    message = (tmp_path / "message").read_text()
    assert message.startswith(r"a $(touch pwned) 'b' \udcffxxx")
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "pwned").exists()


def test_what_it_prints_goes_to_stderr_and_its_failure_is_a_warning(capfd) -> None:
    assert notify("echo sent; exit 3", {}) == "the command of --notify failed with exit code 3"
    assert (
        notify("no-such-program --password hush", {}) == "the command of --notify failed with exit code 127"
    )
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("sent\n")


def test_it_reads_nothing(capfd) -> None:
    assert notify("cat; echo end", {}) == ""
    assert capfd.readouterr().err == "end\n"


def test_a_hanging_command_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.5)
    started = tmp_path / "child"
    assert (
        notify(f"sleep 600 & echo $! > {started}; wait", {})
        == "the command of --notify was ended after 0.5 s"
    )
    child = int(started.read_text())
    for _ in range(200):
        if not _alive(child):
            break
        time.sleep(0.05)
    assert not _alive(child)


def _alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_an_interrupt_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "child"

    class Interrupted(module.subprocess.Popen):  # type: ignore[name-defined, misc]
        def wait(self, timeout: float | None = None) -> int:
            if timeout == module._SECONDS:
                while not started.exists() or not started.read_text().strip():
                    time.sleep(0.01)
                raise KeyboardInterrupt
            return int(super().wait(timeout))

    monkeypatch.setattr(module.subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        notify(f"echo $$ > {started}; sleep 600", {})
    assert not _alive(int(started.read_text()))


def test_a_command_that_cannot_be_run_is_a_warning() -> None:
    assert notify("echo \0", {}).startswith("the command of --notify cannot be run: ")
    assert os.environ.get("FEATX_VERB") is None
