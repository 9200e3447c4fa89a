from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from featx.features import FeatureStore, arm_file, read_arm
from featx_cli.main import run
from tests.faults.disks import may_mount


@pytest.fixture
def manifest(tmp_path):
    names = [f"p{number}.png" for number in range(4)]
    for number, name in enumerate(names):
        draw = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        Image.fromarray(draw).save(tmp_path / name)
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), *((name, "a") for name in names)])
    return tmp_path / "manifest.csv"


def line(manifest, *more):
    cache = str(manifest.parent / "cache")
    given = [
        "--backbone",
        "tiny",
        "--weights",
        "random",
        "--image-size",
        "16",
        "--cache",
        cache,
        "--engine",
        "keras",
    ]
    return ["extract", str(manifest), *given, *more]


def test_stores_go_to_stdout_and_the_summary_to_stderr(manifest, capsys):
    assert run(line(manifest)) == 0
    out, err = store, _ = capsys.readouterr()
    assert len(FeatureStore(out.strip()).keys()) == 4
    assert "4 images, 0 reused, 4 computed, 0 failed" in err
    assert "images/s" in err
    assert run(line(manifest, "--json", "--arm", "plain")) == 0
    assert [str(path) for path in read_arm(arm_file(manifest.parent / "cache", "plain"))] == [store.strip()]
    out, err = capsys.readouterr()
    assert json.loads(out)[0]["reused"] == 4
    assert "4 reused, 0 computed" in err


def test_a_bad_image_ends_in_exit_1_unless_it_is_skipped(manifest, capsys):
    (manifest.parent / "p1.png").write_bytes(b"no image")
    assert run(line(manifest)) == 1
    out, err = capsys.readouterr()
    assert "3 computed, 1 failed" in err
    assert "featx: error: 1 of 4 images" in err
    assert len(FeatureStore(out.strip()).keys()) == 3
    assert run(line(manifest, "--on-error", "skip")) == 0
    assert "featx: warning: 1 of 4 images" in capsys.readouterr().err
    assert run(line(manifest, "--on-error", "fail")) == 1


def test_a_dry_run_says_what_is_left(manifest, capsys):
    assert run(line(manifest, "--dry-run")) == 0
    assert "4 to compute" in capsys.readouterr().err
    assert not (manifest.parent / "cache" / "features").exists()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--backbone", "tinny"], "tiny"),
        (["--shard", "3/2"], "shard"),
        (["--device", "tpu"], "device"),
        (["--preparation", "crop"], "resize"),
    ],
)
def test_bad_options_are_exit_2_with_one_line(manifest, capsys, given, text):
    assert run([*line(manifest), *given]) == 2
    err = capsys.readouterr().err
    assert err.startswith("featx: error: ")
    assert text in err
    assert len(err.strip().splitlines()) == 1


def test_an_interrupted_extraction_exits_130(manifest, capsys, monkeypatch):
    def interrupted(*args, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("featx.features.extraction.run_networks", interrupted)
    assert run(line(manifest)) == 130
    assert "the same command resumes" in capsys.readouterr().err


@pytest.mark.slow
def test_nothing_but_featx_writes_to_stderr(manifest):
    """TensorFlow's notes on CUDA, oneDNN and logging stay away where no variable has silenced them."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TF_CPP", "CUDA"))}
    code = "import sys; from featx_cli.main import main; main(sys.argv[1:])"
    shown = subprocess.run(
        [sys.executable, "-c", code, *line(manifest)], env=env, capture_output=True, text=True, check=True
    )
    lines = shown.stderr.splitlines()
    assert len(lines) == 3, shown.stderr
    for text, beginning in zip(
        lines, ("4 images to compute", "tiny (random0)", r"\d+\.\d images/s"), strict=True
    ):
        assert re.match(re.escape(beginning) if "(" in beginning else beginning, text), text


@pytest.mark.skipif(not may_mount(), reason="file systems cannot be mounted here")
def test_a_read_only_cache_serves_what_it_holds(manifest, capsys):
    cache = manifest.parent / "cache"
    assert run(line(manifest)) == 0
    subprocess.run(["mount", "--bind", str(cache), str(cache)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(cache)], check=True)
        with pytest.raises(OSError, match="Read-only"):
            (cache / "new").write_text("")
        assert run(line(manifest)) == 0
        assert "4 reused, 0 computed, 0 failed" in capsys.readouterr().err
    finally:
        subprocess.run(["umount", str(cache)], check=True)
