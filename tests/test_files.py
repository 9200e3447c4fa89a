from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from featx.files import ASIDE, folder_aside, write_aside, write_json, write_text


def test_a_file_appears_whole_and_nothing_stays_beside_it(tmp_path):
    target = tmp_path / "new" / "file.txt"
    write_text(target, "ü\n")
    assert target.read_bytes() == "ü\n".encode()
    assert os.listdir(target.parent) == ["file.txt"]


def test_a_failed_writer_leaves_the_old_file(tmp_path):
    target = tmp_path / "file"
    write_text(target, "old")
    with pytest.raises(RuntimeError), write_aside(target) as aside:
        aside.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_json_refuses_what_json_cannot_hold(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "file.json", {"a": float("nan")})
    assert os.listdir(tmp_path) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "run"
    for names in (["a", "b"], ["c"]):
        with folder_aside(target) as aside:
            for name in names:
                (aside / name).write_text(name)
    assert os.listdir(target) == ["c"]
    assert os.listdir(tmp_path) == ["run"]


def test_a_failed_folder_leaves_the_old_one(tmp_path):
    target = tmp_path / "run"
    with folder_aside(target) as aside:
        (aside / "a").write_text("old")
    with pytest.raises(RuntimeError), folder_aside(target) as aside:
        (aside / "a").write_text("half")
        raise RuntimeError
    assert (target / "a").read_text() == "old"


KILLED = """
import sys, time
from featx.files import write_aside
with write_aside(sys.argv[1]) as aside:
    aside.write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_leaves_the_old_file(tmp_path):
    target = tmp_path / "file"
    write_text(target, "old")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)
    assert target.read_text() == "old"
    assert all(name == "file" or name.startswith(ASIDE) for name in os.listdir(tmp_path))
    write_text(target, "new")
    assert target.read_text() == "new"


def test_a_reader_never_sees_half_a_file(tmp_path):
    target = tmp_path / "file"
    write_text(target, "a" * 100_000)
    writer = f"""
from featx.files import write_text
for turn in range(40):
    write_text({str(target)!r}, "ab"[turn % 2] * 100_000)
"""
    process = subprocess.Popen([sys.executable, "-c", writer])
    seen = set()
    while process.poll() is None:
        seen.add(target.read_text())
        time.sleep(0)
    assert process.returncode == 0
    assert seen <= {"a" * 100_000, "b" * 100_000}
