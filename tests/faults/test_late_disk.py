"""Stores and files on a mount that shows late what another machine has written; skipped where none can be made."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from featx.disks import disk_of
from featx.features import FeatureStore, compact
from featx.files import folder_aside, wait_for, write_text
from featx.images import content_keys

SECONDS = 4.0
KEYS = [f"{number:064x}" for number in range(6)]
FEATURES = np.arange(48, dtype=np.float32).reshape(6, 1, 8)

pytestmark = pytest.mark.slow


@pytest.fixture
def late(tmp_path):
    """Yield the folder beneath, where another machine writes, and the mount, where this one reads."""
    beneath, mount = tmp_path / "beneath", tmp_path / "mount"
    beneath.mkdir()
    mount.mkdir()
    command = [sys.executable, "-m", "tests.faults.late_disk", beneath, mount, str(SECONDS)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        while not os.path.ismount(mount):
            if server.poll() is not None:
                pytest.skip(f"no FUSE here: {server.stderr.read().splitlines()[-1:]}")
            time.sleep(0.05)
        try:
            yield beneath, mount
        finally:
            subprocess.run(["umount", "--lazy", mount], check=False)
            server.terminate()


def test_a_block_of_another_machine_is_read_although_its_name_was_not_found_before(late):
    beneath, mount = late
    writer = FeatureStore.create(beneath / "store", {"backbone": "any"})
    writer.write_block(KEYS[:3], FEATURES[:3])
    reader = FeatureStore(mount / "store")
    assert len(reader.keys()) == 3
    twin = FeatureStore.create(beneath / "twin", {"backbone": "any"})
    name = twin.write_block(KEYS[3:], FEATURES[3:]).name
    assert not (mount / "store" / name).exists()
    writer.write_block(KEYS[3:], FEATURES[3:])
    assert name in os.listdir(mount / "store")
    assert not (mount / "store" / name).exists()  # else this disk is not late, and the test shows nothing
    assert np.array_equal(reader.read(KEYS), FEATURES)
    assert compact(beneath / "store") == (2, 1)
    assert np.array_equal(reader.read(KEYS), FEATURES)


def test_a_result_of_another_machine_is_waited_for(late):
    beneath, mount = late
    assert disk_of(mount).shared
    assert not (mount / "done.json").exists()
    write_text(beneath / "done.json", "{}")
    assert not (mount / "done.json").exists()
    assert not wait_for(mount / "done.json", 0.5)
    assert wait_for(mount / "done.json", 60.0)


def test_folders_are_replaced_and_keys_are_stored_without_a_database(late):
    _, mount = late
    for name in ("old", "new"):
        with folder_aside(mount / "run") as aside:
            (aside / name).write_text(name)
    assert os.listdir(mount / "run") == ["new"]
    keys = content_keys([mount / "run" / "new"], cache=mount / "cache").keys
    assert keys == content_keys([mount / "run" / "new"], cache=mount / "cache").keys
    assert not list(mount.rglob("*.sqlite*"))
