"""The short form of ``python -m tests.faults.images``: all bad images but the large ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import images
from tests.faults.counts import table


def test_bad_images_end_in_pixels_or_in_one_line(tmp_path: Path) -> None:
    cases = images.make(tmp_path, images.MAKERS)
    assert len(cases) >= 60
    counts = images.judge([(path, case.wanted) for path, case in cases.items()], "bad images")
    assert not counts.bad, table([counts])


def test_a_png_at_the_limit_takes_the_memory_that_is_stated(tmp_path: Path) -> None:
    cases = [case for case in images.large() if case.name == "at-the-limit.png"]
    files = images.make(tmp_path, [lambda: iter(cases)])
    counts = images.judge([(path, case.wanted) for path, case in files.items()], "large")
    assert (counts.tried, counts.survived) == (1, 1), table([counts])


def test_what_hangs_is_counted_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_DECODE", "import time; time.sleep(600)")
    monkeypatch.setattr(images, "SECONDS", 0.2)
    counts = images.judge([(tmp_path / "a.png", images.EITHER), (tmp_path / "b.png", images.EITHER)], "none")
    assert (counts.tried, counts.hung) == (2, ["a.png", "b.png"])
