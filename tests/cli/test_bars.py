from __future__ import annotations

import io

import pytest

import featx.batch_log
import featx_cli.bars as module


class Clock:
    """A clock that stands where the test puts it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def strftime(self, form: str) -> str:
        return "14:03:10"


def test_a_batch_log_gets_a_line_a_minute(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(featx.batch_log, "time", clock)
    monkeypatch.setattr(featx.batch_log, "resident_memory", lambda: 2_000_000_000)
    monkeypatch.setattr(featx.batch_log, "_gpu_use", lambda: ())
    lines = module.progress()
    lines.start("Extracting", 600)
    for second in range(1, 121):
        clock.now = float(second)
        lines.advance(5)
    lines.say("done")
    rate = "5.0 images/s (last minute 5.0), memory 2.0 GB"
    assert capsys.readouterr().err.splitlines() == [
        f"14:03:10 Extracting: 300/600 images, {rate}, 1 min 0 s left",
        f"14:03:10 Extracting: 600/600 images, {rate}, 0 s left",
        "done",
    ]


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(module.sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    bar = module.progress()
    bar.start("Extracting", 3)
    bar.advance(3)
    bar.say("[a line] with brackets")
    bar.finish()
    bar.advance()
    bar.say("after")
    text = terminal.getvalue()
    assert "Extracting" in text
    assert "3/3" in text
    assert "[a line] with brackets" in text


@pytest.mark.parametrize("receiver", [module._Bar, module.progress])
def test_finishing_twice_is_harmless(receiver):
    shown = receiver()
    shown.finish()
    shown.finish()
