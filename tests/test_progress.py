from __future__ import annotations

from featx.progress import Progress, Silent, StagedProgress, pass_stages


class Counting:
    """A receiver of its own kind, without stages, as users of the library may have."""

    def __init__(self) -> None:
        self.done = 0

    def start(self, task: str, total: int, unit: str = "images") -> None:
        self.done = 0

    def advance(self, count: int = 1) -> None:
        self.done += count

    def say(self, message: str) -> None: ...

    def finish(self) -> None: ...


class Staged(Counting):
    def stages(self, busy) -> None:
        self.shown = {stage: seconds() for stage, seconds in busy.items()}


def test_stages_reach_a_receiver_that_shows_them() -> None:
    receiver = Staged()
    pass_stages(receiver, {"decode": lambda: 1.5, "write": lambda: 0.25})
    assert receiver.shown == {"decode": 1.5, "write": 0.25}


def test_receivers_without_stages_keep_working() -> None:
    class Derived(Progress):
        pass

    for receiver in (Counting(), Silent(), Derived()):
        assert not isinstance(receiver, StagedProgress)
        pass_stages(receiver, {"decode": lambda: 1 / 0})
