from __future__ import annotations

import io

import pytest

import featx_cli.bars as module


class Clock:
    """A clock that stands where the test puts it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_batch_log_gets_a_line_a_minute(monkeypatch, capsys):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    lines = module.progress()
    lines.start("Extracting", 600)
    for second in range(1, 121):
        clock.now = float(second)
        lines.advance(5)
    lines.say("done")
    assert capsys.readouterr().err.splitlines() == [
        "Extracting: 300/600 images, 5.0 images/s, 60 s left",
        "Extracting: 600/600 images, 5.0 images/s, 0 s left",
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


@pytest.mark.parametrize("receiver", [module._Bar, module._Lines])
def test_finishing_twice_is_harmless(receiver):
    shown = receiver()
    shown.finish()
    shown.finish()
