"""Lines of batch logs, to the number, by a clock that stands where the test puts it."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

import featx.batch_log as module
from featx.batch_log import BatchLog, GpuUse, RateMeter, Reading, duration_text, rate_text
from featx.progress import StagedProgress
from tests import fake_nvml


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def strftime(self, form: str) -> str:
        assert form == "%H:%M:%S"
        return "14:03:10"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    monkeypatch.setattr(module, "resident_memory", lambda: 2_100_000_000)
    monkeypatch.setattr(module, "_gpu_use", lambda: (GpuUse(0, 87, 6_200_000_000),))
    return found


def test_a_line_holds_all_that_there_is(clock: Clock) -> None:
    lines: list[str] = []
    log = BatchLog(lines.append)
    assert isinstance(log, StagedProgress)
    busy = {"decode": 100.0, "forward": 10.0, "write": 0.0}
    clock.now = 1000.0
    log.start("extracting", 40_000)
    log.stages({stage: (lambda stage=stage: busy[stage]) for stage in busy})
    clock.now = 1059.0
    log.advance(20_000)
    assert lines == []
    # The first line: 21,000 images in 60 s.
    clock.now = 1060.0
    busy |= {"decode": 130.0, "forward": 40.0, "write": 6.0}
    log.advance(1_000)
    assert lines == [
        "14:03:10 extracting: 21,000/40,000 images, 350 images/s (last minute 350), decode 50 %, forward 50 %, "
        "write 10 %, memory 2.1 GB, GPU 87 % 6.2 GB, 54 s left"
    ]
    # The second one: 24,000 images in 120 s, 3,000 of them in the last 60 s. Stages are those of the last minute.
    clock.now = 1120.0
    busy |= {"decode": 157.0, "forward": 95.2, "write": 7.8}
    log.advance(3_000)
    assert lines[1:] == [
        "14:03:10 extracting: 24,000/40,000 images, 200 images/s (last minute 50.0), decode 45 %, forward 92 %, "
        "write 3 %, memory 2.1 GB, GPU 87 % 6.2 GB, 1 min 20 s left"
    ]


def test_a_verb_without_stages_and_gpus_has_the_rest(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_gpu_use", lambda: ())
    lines: list[str] = []
    log = BatchLog(lines.append)
    log.say("warning: few rows")
    log.start("train-svm frozen", 10, "folds")
    clock.now = 90.0
    log.advance()
    log.finish()
    clock.now = 900.0
    log.advance()
    assert lines == [
        "warning: few rows",
        "14:03:10 train-svm frozen: 1/10 folds, 40.0 folds/h (last minute 40.0), memory 2.1 GB, 13 min 30 s left",
    ]


def test_stages_of_a_task_are_not_those_of_the_next(clock: Clock) -> None:
    meter = RateMeter(lambda reading: None)
    meter.start("extracting", 10)
    meter.stages({"decode": lambda: 1.0})
    clock.now = 2.0
    assert meter.reading().stages == {"decode": 0.0}
    meter.start("hash", 10, "files")
    assert meter.reading().stages == {}


def test_a_share_is_at_most_1(clock: Clock) -> None:
    """A block that takes long to write counts when it is written."""
    busy = [0.0]
    meter = RateMeter(lambda reading: None)
    meter.start("extracting", 10)
    meter.stages({"write": lambda: busy[0]})
    clock.now, busy[0] = 2.0, 3.0
    assert meter.reading().busy == {"write": 1.0}


def test_readings_are_records_and_the_whole_task_has_shares_of_its_own(clock: Clock) -> None:
    shown: list[Reading] = []
    busy = [0.0]
    meter = RateMeter(shown.append, seconds=10)
    assert not meter.running
    meter.start("extracting", 100)
    meter.stages({"forward": lambda: busy[0]})
    assert meter.running
    assert meter.text == "extracting: 0/100 images"
    assert meter.reading().left is None
    clock.now, busy[0] = 10.0, 5.0
    meter.advance(40)
    clock.now, busy[0] = 20.0, 14.0
    meter.advance(20)
    assert [reading.done for reading in shown] == [40, 60]
    assert shown[1].record() == {
        "task": "extracting",
        "done": 60,
        "total": 100,
        "unit": "images",
        "rate": 3.0,
        "rate_last_minute": 2.0,
        "stages": {"forward": 0.9},
        "memory": 2_100_000_000,
        "gpu": [{"index": 0, "percent": 87, "memory": 6_200_000_000}],
        "seconds_left": 13.3,
    }
    assert shown[1].busy == {"forward": 0.7}


def test_several_gpus_have_their_numbers() -> None:
    reading = Reading(
        "a", 1, 2, "images", 1.0, 1.0, 1.0, gpus=(GpuUse(0, 5, 10**9), GpuUse(3, 90, 2 * 10**9))
    )
    assert ", GPU 0 5 % 1.0 GB, GPU 3 90 % 2.0 GB, 1 s left" in reading.line()
    assert replace(reading, rate=0.0).line().endswith("GPU 3 90 % 2.0 GB")


def test_threads_count_every_image(clock: Clock) -> None:
    from concurrent.futures import ThreadPoolExecutor

    meter = RateMeter(lambda reading: None)
    meter.start("decoding", 4000)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: [meter.advance() for _ in range(1000)], range(4)))
    assert meter.reading().done == 4000


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0.0, "0.0 x/s"), (1234.5, "1,234 x/s"), (99.96, "100 x/s"), (5.0, "5.0 x/s"), (0.5, "30.0 x/min"),
     (0.01, "36.0 x/h"), (0.0001, "0.4 x/h")],
)  # fmt: skip
def test_rates_are_of_a_period_that_has_some_units(rate: float, text: str) -> None:
    assert rate_text(rate, "x") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"),
     (86399, "23 h 59 min"), (90_000, "1 d 1 h")],
)  # fmt: skip
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_gpus_are_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml.install(
        monkeypatch,
        fake_nvml.gpu("GPU-a", free=70_000, load=3),
        fake_nvml.gpu("GPU-b", free=20_000, load=87),
        fake_nvml.gpu("GPU-c", free=20_000),
        visible="1,2",
    )
    assert module._gpu_use() == (GpuUse(0, 87, 60_000 << 20),)


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert module._gpu_use() == ()
