"""Leases: who holds them, who takes them over, and when."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from featx.jobs.machines import leases
from featx.jobs.machines.leases import Lease, Watch, hold_lease, process_of

HOLD = """
import sys, time
from pathlib import Path
from featx.jobs.machines.leases import hold_lease
with hold_lease(Path(sys.argv[1]), lambda: print("lost", flush=True)) as lease:
    print("held", flush=True)
    time.sleep(600)
"""


def holder(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def elsewhere(path: Path) -> None:
    """Make the holder one of another machine."""
    found = json.loads(path.read_bytes())
    path.write_text(json.dumps({**found, "host": "elsewhere"}))


def test_a_lease_is_given_back(tmp_path: Path) -> None:
    with hold_lease(tmp_path / "lease", lambda: None) as lease:
        assert lease is not None
        found = Watch(tmp_path / "lease").holder()
        assert found is not None
        assert (found["token"], found["pid"], found["stop"]) == (lease.token, os.getpid(), 0)
        lease.tell(1)
        again = Watch(tmp_path / "lease", lease.token).holder()
        assert again is not None
        assert again["stop"] == 1
    assert not (tmp_path / "lease").exists()


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    process = holder(tmp_path / "lease")
    process.kill()
    process.wait()
    before = time.monotonic()
    with hold_lease(tmp_path / "lease", lambda: None) as lease:
        assert lease is not None
    assert time.monotonic() - before < leases.EXPIRY


def test_a_living_holder_is_waited_for(tmp_path: Path) -> None:
    process = holder(tmp_path / "lease")
    seen: list[int] = []

    def wait(found: object) -> bool:
        assert isinstance(found, dict)
        seen.append(found["pid"])
        return len(seen) == 2

    with hold_lease(tmp_path / "lease", lambda: None, wait) as lease:
        assert lease is None
    assert seen == [process.pid, process.pid]
    process.kill()
    process.wait()


def test_a_holder_elsewhere_is_lost_when_it_renews_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lease"
    Lease(path, "theirs").renew()
    elsewhere(path)
    monkeypatch.setattr(leases, "EXPIRY", 0.5)
    watch = Watch(path, "theirs")
    assert watch.holder() is not None
    time.sleep(0.6)
    assert watch.holder() is None
    found = json.loads(path.read_bytes())
    path.write_text(json.dumps({**found, "beat": found["beat"] + 1}))
    assert watch.holder() is not None


def test_a_suspended_holder_finds_its_lease_lost(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    process = holder(path)
    os.kill(process.pid, signal.SIGSTOP)
    Lease(path, "mine").renew()
    os.kill(process.pid, signal.SIGCONT)
    assert process.stdout is not None
    assert process.stdout.readline() == "lost\n"
    process.kill()
    process.wait()
    assert json.loads(path.read_bytes())["token"] == "mine"


def test_a_suspended_holder_does_not_make_a_file_again_that_another_gave_back(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    process = holder(path)
    os.kill(process.pid, signal.SIGSTOP)
    other = Lease(path, "mine")
    other.renew()
    other.end()
    os.kill(process.pid, signal.SIGCONT)
    assert process.stdout is not None
    assert process.stdout.readline() == "lost\n"
    process.kill()
    process.wait()
    assert not path.exists()


def test_who_was_away_for_long_looks_before_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease(tmp_path / "lease", "mine")
    lease.renew()
    Lease(tmp_path / "lease", "theirs").renew()
    assert not lease.lost()
    monkeypatch.setattr(leases, "EXPIRY", 0.0)
    time.sleep(0.01)
    assert lease.lost()
    lease.end()
    assert (tmp_path / "lease").exists()


def test_of_two_followers_one_takes_the_lease(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    path.write_text(json.dumps({"token": "old", "beat": 1, "stop": 0, **process_of(), "began": "0"}))
    held, most = [], []

    def follow() -> None:
        with hold_lease(path, lambda: None) as lease:
            held.append(lease)
            most.append(len(held))
            time.sleep(0.3)
            held.remove(lease)

    threads = [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


def test_a_file_that_is_not_seen_yet_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(tmp_path / "lease", "theirs")
    assert watch.holder() is not None
    Lease(tmp_path / "lease", "theirs").renew()
    assert watch.holder() is not None
    (tmp_path / "lease").unlink()
    assert watch.holder() is None
    late = Watch(tmp_path / "lease", "theirs")
    monkeypatch.setattr(leases, "EXPIRY", -1.0)
    assert late.holder() is None


def test_another_token_means_that_the_holder_is_gone(tmp_path: Path) -> None:
    Lease(tmp_path / "lease", "new").renew()
    assert Watch(tmp_path / "lease", "old").holder() is None
