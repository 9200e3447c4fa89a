from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from featx.digest import digest_bytes
from featx.features import FeatureStore
from featx_cli.main import run


@pytest.fixture
def store(tmp_path):
    made = FeatureStore.create(
        tmp_path / "cache" / "features" / "tiny-random0-00000000",
        {"backbone": "tiny", "weights_label": "random0", "layer": "global pool"},
    )
    for number in range(4):
        (tmp_path / f"p{number}.png").write_bytes(bytes([number]))
        made.write_block([digest_bytes(bytes([number]))], np.full((1, 1, 3), number, np.float32))
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "label"), ("p2.png", "a"), ("p0.png", "b")])
    return made


@pytest.fixture
def cache(store):
    return ["--cache", str(store.path.parents[1])]


def test_ls_lists_stores(store, cache, capsys):
    assert run(["cache", "ls", *cache]) == 0
    out = capsys.readouterr().out
    assert str(store.path) in out
    assert "4 images x 3  4 blocks" in out
    assert run(["cache", "ls", *cache, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["images"] == 4
    assert run(["cache", "ls", "--cache", str(store.path / "nothing")]) == 0
    assert capsys.readouterr().out == ""


def test_ls_goes_on_past_a_damaged_store(store, cache, capsys):
    other = FeatureStore.create(store.path.parent / "vgg16-random0-11111111", {"backbone": "vgg16"})
    block = store.blocks()[0]
    block.write_bytes(b"")
    assert run(["cache", "ls", *cache]) == 0
    out, err = capsys.readouterr()
    assert str(other.path) in out
    assert block.name in err


def test_verify_names_damaged_blocks_and_prune_removes_them(store, cache, capsys):
    assert run(["cache", "verify", *cache]) == 0
    block = store.blocks()[1]
    block.write_bytes(block.read_bytes()[:-1])
    assert run(["cache", "verify", *cache]) == 1
    out, err = capsys.readouterr()
    assert block.name in out
    assert "1 damaged blocks" in err
    assert run(["cache", "prune", str(store.path), "--damaged"]) == 0
    assert not block.exists()
    assert run(["cache", "verify", *cache]) == 0


def test_a_bad_recipe_stops_no_other_store(store, cache, capsys):
    """The bad one comes first by its name."""
    bad = store.path.parent / "a-bad-one"
    bad.mkdir()
    (bad / "recipe.json").write_text("{")
    (store.path / ".aside-killed").mkdir()
    block = store.blocks()[1]
    block.write_bytes(block.read_bytes()[:-1])
    assert run(["cache", "verify", *cache]) == 1
    out, err = capsys.readouterr()
    assert block.name in out
    assert str(bad) in out
    assert "1 damaged blocks, 1 other problems" in err
    assert run(["cache", "prune", "--damaged", *cache]) == 2
    out, err = capsys.readouterr()
    assert "1 leftovers, 1 damaged blocks" in err
    assert str(bad) in err
    assert not block.exists()
    assert run(["cache", "compact", *cache]) == 2
    assert len(store.blocks()) == 1


def test_verify_and_prune_name_a_block_of_another_recipe_and_leave_it(store, cache, tmp_path, capsys):
    other = FeatureStore.create(tmp_path / "other", {"backbone": "vgg16"})
    block = store.path / other.write_block(["ab" * 32], np.ones((1, 1, 3), np.float32)).name
    (other.path / block.name).rename(block)
    assert run(["cache", "verify", *cache]) == 1
    assert f"{block}: a block of another recipe" in capsys.readouterr().out
    assert run(["cache", "prune", "--damaged", *cache]) == 0
    err = capsys.readouterr().err
    assert f"not removed: {block}: a block of another recipe" in err
    assert "0 damaged blocks" in err
    assert block.exists()


def test_compact_joins_blocks(store, cache, capsys):
    assert run(["cache", "compact", *cache]) == 0
    assert "4 blocks before, 1 after" in capsys.readouterr().err
    assert len(store.blocks()) == 1


def test_export_goes_by_the_manifest(store, cache, tmp_path, capsys):
    target = tmp_path / "out.npz"
    manifest = str(tmp_path / "manifest.csv")
    assert run(["cache", "export", str(store.path), "-o", str(target), "--manifest", manifest, *cache]) == 0
    assert capsys.readouterr().out.strip() == str(target)
    with np.load(target) as file:
        assert list(file["ids"]) == ["p2", "p0"]
        assert file["features"][:, 0, 0].tolist() == [2, 0]
    assert run(["cache", "export", str(store.path), "-o", str(target), *cache]) == 0
    with np.load(target) as file:
        assert list(file["ids"]) == sorted(store.keys())


def test_prune_keeps_a_manifests_images(store, cache, tmp_path, capsys):
    line = ["cache", "prune", "--keep", str(tmp_path / "manifest.csv"), *cache]
    assert run([*line, "--dry-run"]) == 0
    assert "2 rows would be removed" in capsys.readouterr().err
    assert len(FeatureStore(store.path).keys()) == 4
    assert run(line) == 0
    assert len(FeatureStore(store.path).keys()) == 2


def test_prune_removes_exports_when_told(store, cache, capsys):
    export = store.path.parents[1] / "openvino" / "tiny-00000000"
    export.mkdir(parents=True)
    (export / "model.bin").write_bytes(bytes(2_000_000))
    assert run(["cache", "prune", *cache]) == 0
    assert run(["cache", "prune", "--exports", "--dry-run", *cache]) == 0
    assert "1 exported networks (2 MB) would be removed" in capsys.readouterr().err
    assert export.exists()
    assert run(["cache", "prune", "--exports", *cache]) == 0
    assert not export.exists()


def test_a_folder_without_stores_is_bad_input(tmp_path, capsys):
    assert run(["cache", "ls", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_prune_looks_at_runs_and_reports_too(store, cache, tmp_path, capsys):
    left = [tmp_path / "reports" / "runs" / "A" / ".aside-1", tmp_path / "reports" / "page" / ".aside-2"]
    for folder in left:
        (folder / "1x1").mkdir(parents=True)
    line = ["cache", "prune", *cache, "--runs", str(tmp_path / "reports")]
    assert run([*line, "--dry-run"]) == 0
    assert "2 leftovers of runs and reports would be removed" in capsys.readouterr().err
    assert all(folder.is_dir() for folder in left)
    assert run(line) == 0
    assert not any(folder.exists() for folder in left)


def test_import_makes_a_store_and_says_what_was_left_out(store, cache, tmp_path, capsys):
    np.savez(
        tmp_path / "derm.npz",
        **{"imgs/p0.png": [1.0, 2.0], "imgs/p2.png": [3.0, 4.0], "imgs/x.png": [5.0, 6.0]},
    )
    command = ["cache", "import", str(tmp_path / "derm.npz"), "--name", "derm", *cache]
    command += ["--manifest", str(tmp_path / "manifest.csv")]
    assert run(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "derm.npz: 1 of 3 rows fit no image" in err
    assert "Traceback" not in err
    assert run([*command, "--unmatched", "ignore", "--arm", "derm"]) == 0
    out, err = capsys.readouterr()
    assert "2 images x 2, 2 of them new, 1 rows of no image left out" in err
    made = FeatureStore(out.strip())
    assert made.read([digest_bytes(bytes([2]))]).tolist() == [[[3.0, 4.0]]]
    assert run(["cache", "ls", *cache]) == 0
    assert "  derm  imported  " in capsys.readouterr().out
    assert run(["cache", "verify", str(made.path)]) == 0
    assert run(["cache", "export", str(made.path), "-o", str(tmp_path / "again.npz"), *command[-2:]]) == 0
    assert run([*command[:2], str(tmp_path / "again.npz"), *command[3:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out.split("\n", 1)[1])["images"] == 2
