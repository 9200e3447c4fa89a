from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from featx.reporting.make_report import changes
from featx.runs import Run


def test_a_report_is_due_when_a_run_is_finished_or_replaced(
    write: Callable[..., Run], tmp_path: Path
) -> None:
    # What happens while it waits: a writer is killed, a run, nothing, the same again with other bytes, two more.
    todo = [
        lambda: write("A", "1x1", folder="runs/.aside-killed"),
        lambda: write("A", "1x1"),
        lambda: None,
        lambda: write("A", "1x1", warnings=("trained again",)),
        lambda: (write("A", "1x2"), write("B", "1x1")),
    ]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        todo.pop(0)()

    assert list(islice(changes([tmp_path / "runs"], 5, sleep), 3)) == [1, 1, 3]
    assert waits == [5] * 5
    assert todo == []
