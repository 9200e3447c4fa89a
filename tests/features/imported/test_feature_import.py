"""Imported features are a store as any other."""

from __future__ import annotations

import numpy as np
import pytest

import featx
from featx.errors import ConfigError, InputError, MissingFeaturesError, RunError
from featx.features import facts, import_features, recipe_of
from featx.reporting import collect
from featx.reporting.arm_facts import cost_of, origin


@pytest.fixture
def images(tmp_path, pictures):
    """A manifest of 12 images, and rows of features that tell their classes apart."""
    manifest = featx.read_manifest(pictures(12))
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(12, 5)).astype(np.float32)
    rows[manifest.table["label"] == "a", 0] += 3
    np.savez(tmp_path / "derm.npz", ids=manifest.ids, features=rows)
    return manifest, rows


def run_import(tmp_path, manifest, file="derm.npz", **more):
    return import_features(
        tmp_path / file, **{"name": "derm", "manifest": manifest.source, "cache": tmp_path / "cache", **more}
    )


def test_rows_are_found_by_the_content_of_the_images(tmp_path, images):
    manifest, rows = images
    done = run_import(tmp_path, manifest)
    store = featx.FeatureStore(done.store)
    np.testing.assert_array_equal(store.to_numpy(manifest), rows)
    assert (done.images, done.new, done.width, done.missing, done.unmatched) == (12, 12, 5, (), ())
    assert store.verify() == []
    assert store.cost is None
    assert facts(store.path).backbone == "derm"
    assert store.recipe["kind"] == "imported"
    assert (store.recipe["width"], store.recipe["dtype"]) == (5, "float32")


def test_an_import_again_adds_nothing_and_another_file_is_another_store(tmp_path, images):
    manifest, rows = images
    first = run_import(tmp_path, manifest)
    blocks = featx.FeatureStore(first.store).blocks()
    again = run_import(tmp_path, manifest)
    assert (again.store, again.new) == (first.store, 0)
    assert featx.FeatureStore(first.store).blocks() == blocks
    np.savez(tmp_path / "derm.npz", ids=manifest.ids, features=rows + 1)
    assert run_import(tmp_path, manifest).store != first.store


def test_names_that_fit_other_images_now_are_refused(tmp_path, images):
    manifest, _ = images
    run_import(tmp_path, manifest)
    names = [path.name for path in sorted(manifest.source.parent.glob("*.png"))]
    manifest.source.write_text(
        "image,id\n" + "\n".join(f"{a},{b[:-4]}x" for a, b in zip(names, names[::-1], strict=True)) + "\n"
    )
    np.savez(
        tmp_path / "other.npz",
        ids=[f"{name[:-4]}x" for name in names],
        features=np.load(tmp_path / "derm.npz")["features"],
    )
    other = run_import(tmp_path, manifest, "other.npz")
    assert other.new == 12
    manifest.source.write_text(
        manifest.source.read_text()
        .replace("p0000x", "p")
        .replace("p0001x", "p0000x")
        .replace(",p\n", ",p0001x\n")
    )
    with pytest.raises(InputError, match=r"differs from the row that .* has of its image"):
        run_import(tmp_path, manifest, "other.npz")


def test_rows_and_images_without_each_other(tmp_path, images):
    manifest, rows = images
    ids = [*manifest.ids[1:], "stranger"]
    np.savez(tmp_path / "odd.npz", ids=ids, features=rows)
    with pytest.raises(InputError, match=r"1 of 12 rows fit no image .*: row 11 \('stranger'\)"):
        run_import(tmp_path, manifest, "odd.npz")
    with pytest.raises(MissingFeaturesError, match=r"1 of 12 images .* have no row \(p0000\)"):
        run_import(tmp_path, manifest, "odd.npz", unmatched="ignore")
    assert not (tmp_path / "cache" / "features").exists()
    done = run_import(tmp_path, manifest, "odd.npz", unmatched="ignore", missing="leave-out")
    assert (done.images, done.missing, done.unmatched) == (11, ("p0000",), ("stranger",))
    np.savez(tmp_path / "odd.npz", ids=["x", "y"], features=rows[:2])
    with pytest.raises(MissingFeaturesError, match="none of its 2 rows, such as 'x'"):
        run_import(tmp_path, manifest, "odd.npz", unmatched="ignore", missing="leave-out")


def test_the_order_decides_only_when_asked_and_is_part_of_the_recipe(tmp_path, images):
    manifest, rows = images
    np.save(tmp_path / "x.npy", rows)
    with pytest.raises(InputError, match="--in-manifest-order"):
        run_import(tmp_path, manifest, "x.npy")
    done = run_import(tmp_path, manifest, "x.npy", in_manifest_order=True)
    np.testing.assert_array_equal(featx.FeatureStore(done.store).to_numpy(manifest), rows)
    lines = manifest.source.read_text().splitlines()
    manifest.source.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    assert run_import(tmp_path, manifest, "x.npy", in_manifest_order=True).store != done.store


def test_copies_of_an_image_need_equal_rows(tmp_path, images):
    manifest, rows = images
    (manifest.source.parent / "p0001.png").write_bytes((manifest.source.parent / "p0000.png").read_bytes())
    with pytest.raises(InputError, match=r"row 0 \('p0000'\) and row 1 \('p0001'\) differ.*same file"):
        run_import(tmp_path, manifest)
    rows[1] = rows[0] * (1 + 1e-5)
    np.savez(tmp_path / "derm.npz", ids=manifest.ids, features=rows)
    assert run_import(tmp_path, manifest).new == 11


def test_a_name_of_the_zoo_is_refused(tmp_path, images):
    with pytest.raises(ConfigError, match="'resnet50'; take 'resnet50-imported'"):
        run_import(tmp_path, images[0], name="resnet50")


def test_a_svm_is_trained_and_reported_on_them(tmp_path, images):
    manifest, _ = images
    run_import(tmp_path, manifest, arm="foundation")
    runs = featx.train_svm(
        manifest.source,
        arm="foundation",
        task="a:b",
        protocol="kfold:2",
        cache=tmp_path / "cache",
        output=tmp_path / "runs",
        costs=[1.0],
    )
    assert any("derm were imported" in line for line in runs[0].record.warnings)
    assert runs[0].record.features["recipe"]["backbone"] == "derm"
    (series,), _ = collect(run.path for run in runs)
    cost = cost_of(series)
    assert (cost.backbone, cost.layer, cost.parameters, cost.images_per_second) == ("derm", "", None, None)
    assert origin(runs[0].record) == "imported"
    with pytest.raises(RunError, match="are imported"):
        recipe_of(runs[0], runs[0].record.features["digest"])
