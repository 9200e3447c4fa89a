"""Signals to real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from featx.process import on_signal

PROGRAM = """
import sys, time
from featx.process import Interrupted, interruptible
try:
    with interruptible():
        try:
            print("working", flush=True)
            time.sleep(60)
        finally:
            print("committing", flush=True)
            time.sleep(float(sys.argv[1]))
            print("committed", flush=True)
except Interrupted as error:
    sys.exit(128 + error.number)
"""


def start(commit_seconds: float, *before: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*before, sys.executable, "-c", PROGRAM, str(commit_seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    return process


@pytest.mark.linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_lets_what_is_computed_be_committed(number: signal.Signals) -> None:
    process = start(0)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (128 + number, "committing\ncommitted\n", "")


def test_one_signal_sent_twice_is_one() -> None:
    process = start(0.5)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (143, "committing\ncommitted\n")


def test_a_second_signal_ends_the_process_at_once() -> None:
    process = start(60)
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    assert process.stdout.readline() == "committing\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert err == "featx: ended at once; what was committed is kept\n"


def test_what_is_to_be_done_before_that_is_done() -> None:
    code = PROGRAM.replace("interruptible():", "interruptible(lambda number: print(number, flush=True)):")
    process = subprocess.Popen([sys.executable, "-c", code, "60"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "committing\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "2\n")


def test_below_nohup_the_end_of_the_terminal_is_ignored(tmp_path: Path) -> None:
    process = start(0, "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143


HANDLERS = """
import os, signal, time
from featx.process import Interrupted, interruptible

def mine(number, frame):
    pass

signal.signal(signal.SIGTERM, mine)
try:
    with interruptible():
        print(signal.getsignal(signal.SIGTERM) is mine, flush=True)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
except Interrupted as error:
    print(error, signal.getsignal(signal.SIGTERM) is mine)
"""


def test_the_former_handlers_are_set_again() -> None:
    # In a process of its own: a signal that went wrong would end the process of all tests.
    done = subprocess.run([sys.executable, "-c", HANDLERS], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\nSIGTERM True\n", "")


def test_in_another_thread_signals_stay_as_they_are() -> None:
    handlers: list[object] = []

    def look() -> None:
        with on_signal(lambda number, again: None):
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


LIBRARY = """
import os
os.write(2, b"a note below Python\\n")
{}
"""


CODE = """
import os, sys
from featx.process import quieten_tensorflow
quieten_tensorflow({})
quieten_tensorflow()
import importlib.util
assert importlib.util.find_spec("tensorflow").name == "tensorflow"
try:
    import tensorflow
except ImportError as error:
    os.write(2, f"failed: {{error}}\\n".encode())
print("seen", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("body", "debug", "level", "lines"),
    [
        ("", False, None, ["seen"]),
        ("", True, None, ["a note below Python", "seen"]),
        ("", False, "0", ["a note below Python", "seen"]),
        (
            "raise ImportError('no library')",
            False,
            None,
            ["a note below Python", "failed: no library", "seen"],
        ),
    ],
    ids=["quiet", "debug", "asked", "failing"],
)
def test_notes_are_shown_where_they_matter(tmp_path, body, debug, level, lines):
    (tmp_path / "tensorflow.py").write_text(LIBRARY.format(body))
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    env |= {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}",
        **({"TF_CPP_MIN_LOG_LEVEL": level} if level else {}),
    }
    code = CODE.format(debug)
    shown = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert shown.stderr.splitlines() == lines


@pytest.mark.linux
@pytest.mark.parametrize("times", [1, 3])
def test_an_interruption_that_python_ignores_is_raised_again(times):
    """As JAX has one, a callback of the garbage collector: what a signal raises there is printed and forgotten."""
    code = f"""
import gc, os, signal, sys, time
from featx.process import Interrupted, interruptible

left = {times}
def callback(phase, info):
    global left
    if left:
        left -= 1
        signal.raise_signal(signal.SIGTERM if left == {times} - 1 else signal.SIGALRM)

hook = sys.unraisablehook
gc.callbacks.append(callback)
try:
    with interruptible():
        for _ in range({times}):
            gc.collect()
        time.sleep(60)
except Interrupted as error:
    print(error, sys.unraisablehook is hook, signal.getsignal(signal.SIGALRM) == signal.SIG_DFL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "SIGTERM True True\n"
    assert done.stderr == ""


NICE = """
import os, threading
from featx.process import lower_priority
stop = threading.Event()
before = threading.Thread(target=stop.wait)
before.start()
def values():
    return {os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in os.listdir("/proc/self/task")}
os.nice(2)
lower_priority(1)
print(sorted(values()))
for _ in range(2):
    lower_priority(7)
    print(sorted(values()))
stop.set()
"""


@pytest.mark.linux
def test_niceness_is_raised_in_all_threads_and_once_only():
    start = os.getpriority(os.PRIO_PROCESS, 0)
    if start > 5:
        pytest.skip(f"this process has the nice value {start} already")
    shown = subprocess.run([sys.executable, "-c", NICE], capture_output=True, text=True, check=True)
    lines = shown.stdout.splitlines()
    # A value below that of a thread changes nothing there; the other thread began with that of the process.
    assert lines == [str(sorted({max(start, 1), start + 2})), "[7]", "[7]"]
