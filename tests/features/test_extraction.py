"""The pipeline as a whole, with a network that numpy computes where keras is not what is tested."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from featx.digest import digest_bytes
from featx.errors import BackboneError, ConfigError, ExtractionError, ManifestError, WeightsError
from featx.features import extraction, network_pass, pipeline
from featx.features.arm_files import arm_file, read_arm
from featx.features.extraction import extract, summarise_extraction
from featx.features.store import COST, TRAINED_ON, FeatureStore
from featx.images import content, write_keys
from featx.zoo import Cost, Weights


class FakeEngine:
    name, in_flight, held_bytes = "fake", 2, None

    def __init__(self, network):
        self.network = network

    def start(self, batch):
        self.network.batches.append(batch.shape)
        # Quadrant means: six numbers that depend on the image, its orientation and the weights alone.
        values = batch.astype(np.float64)
        means = [values[:, :32].mean((1, 2)), values[:, :, 32:].mean((1, 2))]
        scale = 1 + len(self.network.target.weights.label)
        features = (np.concatenate(means, axis=1) * scale).astype(np.float32)
        features[features[:, 0] < self.network.nan_below] = np.nan
        return lambda: [features + place for place in range(len(self.network.target.recipes))]


class FakeNetwork:
    """Stands in for `LoadedNetwork`."""

    batches: list = []  # noqa: RUF012 - shared on purpose
    nan_below = 0.0

    def __init__(self, target, *settings):
        self.target = target
        self.engine = FakeEngine(self)

    def check(self):
        return None

    def costs(self):
        return tuple(Cost(10 + place, 1000 + place) for place in range(len(self.target.recipes)))

    def rescue(self, pixels, rows):
        outputs = [layer[rows] for layer in self.engine.start(pixels)()]
        return outputs, ["block1_conv"] * len(rows)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(network_pass, "LoadedNetwork", FakeNetwork)
    monkeypatch.setattr(FakeNetwork, "batches", [])
    monkeypatch.setattr(FakeNetwork, "nan_below", 0.0)
    return FakeNetwork


@pytest.fixture
def run(tmp_path, fake):
    def call(manifest, **given):
        given = {
            "backbone": "tiny",
            "weights": "random",
            "cache": tmp_path / "cache",
            "device": "cpu",
            **given,
        }
        return extract(manifest, **given)

    return call


class Notes:
    """A progress receiver that remembers."""

    def __init__(self):
        self.said, self.total, self.done = [], 0, 0

    def start(self, task, total, unit="images"):
        if task == "extracting":
            self.total, self.done = total, 0

    def advance(self, count=1):
        self.done += count

    def say(self, message):
        self.said.append(message)

    def finish(self):
        pass


class Staged(Notes):
    """A receiver that asks for the busy seconds of the stages at the end."""

    def stages(self, busy):
        self.busy = busy

    def finish(self):
        self.seconds = (
            {stage: seconds() for stage, seconds in self.busy.items()} if hasattr(self, "busy") else {}
        )


def keys_of(manifest):
    return [digest_bytes(path.read_bytes()) for path in sorted(manifest.parent.glob("*.png"))]


def test_everything_is_computed_once_and_then_reused(run, pictures, fake):
    manifest = pictures(10)
    (first,) = run(manifest, batch_size=4)
    assert (first.images, first.reused, first.computed, first.failed) == (10, 0, 10, ())
    assert set(fake.batches) == {(4, 64, 64, 3)}
    store = FeatureStore(first.store)
    assert store.keys() == frozenset(keys_of(manifest))
    assert (store.views, store.width) == (1, 6)
    batches = len(fake.batches)
    (second,) = run(manifest, batch_size=4)
    assert (second.reused, second.computed, len(fake.batches)) == (10, 0, batches)
    pictures(3, first=10)
    (third,) = run(manifest)
    assert (third.images, third.reused, third.computed) == (13, 10, 3)


def test_features_do_not_depend_on_batches_workers_or_order(run, pictures, tmp_path):
    manifest = pictures(9)
    found = []
    for number, given in enumerate(({"batch_size": 1}, {"batch_size": 4, "workers": 5}, {"batch_size": 32})):
        (done,) = run(manifest, cache=tmp_path / f"c{number}", **given)
        found.append(FeatureStore(done.store).read(keys_of(manifest)))
    assert all(np.array_equal(found[0], other) for other in found[1:])


def test_equal_runs_write_equal_bytes(run, pictures, tmp_path):
    manifest = pictures(9)
    stores = [run(manifest, cache=tmp_path / name)[0].store for name in "ab"]
    files = [
        {path.name: path.read_bytes() for path in store.iterdir() if path.name != COST} for store in stores
    ]
    assert files[0] == files[1]
    assert len(files[0]) == 2


def test_each_store_is_told_what_it_cost(run, pictures, tmp_path):
    manifest = pictures(6)
    first, second = run(manifest, layers=["block2_relu", "global pool"])
    cost = FeatureStore(first.store).cost
    speed = cost["images_per_second"]
    assert speed == pytest.approx(first.rate, rel=0.01)
    assert cost == {
        "parameters": 10,
        "multiply_adds": 1000,
        "images_per_second": speed,
        "device": "cpu:0",
        "engine": "fake",
        "networks": 1,
    }
    assert FeatureStore(second.store).cost == {**cost, "parameters": 11, "multiply_adds": 1001}
    store = FeatureStore(first.store)
    store.write_cost({**cost, "images_per_second": -1.0})
    run(manifest, layers=["block2_relu"])
    assert store.cost["images_per_second"] == -1.0  # nothing was computed
    (manifest.parent / "p9999.png").write_bytes(b"no image")
    run(pictures(0), layers=["block2_relu"], on_error="skip")
    assert store.cost["images_per_second"] == -1.0
    (manifest.parent / "p9999.png").unlink()
    run(pictures(1, first=6), layers=["block2_relu"])
    assert store.cost["images_per_second"] > 0  # that of the latest extraction with new rows
    (store.path / COST).unlink()
    assert FeatureStore(first.store).cost is None


def test_padding_is_never_stored(run, pictures):
    (done,) = run(pictures(5), batch_size=4)
    assert len(FeatureStore(done.store).keys()) == 5


def test_equal_bytes_are_computed_once_and_counted_as_images(run, pictures, fake):
    manifest = pictures(3)
    (manifest.parent / "p0009.png").write_bytes((manifest.parent / "p0000.png").read_bytes())
    manifest = pictures(0)
    (done,) = run(manifest, batch_size=1)
    assert (done.images, done.computed, len(fake.batches)) == (4, 4, 3)
    assert len(FeatureStore(done.store).keys()) == 3


def test_several_networks_share_one_pass(run, pictures, monkeypatch):
    manifest = pictures(6)
    loads = []
    load = network_pass.load_image
    monkeypatch.setattr(
        network_pass, "load_image", lambda *args, **named: loads.append(1) or load(*args, **named)
    )
    done = run(manifest, weights=["random:0", "random:11"], layers=("global pool", "block3_relu"))
    assert [(item.weights, item.layer) for item in done] == [
        ("random0", "global pool"),
        ("random0", "block3_relu"),
        ("random11", "global pool"),
        ("random11", "block3_relu"),
    ]
    assert len(loads) == 6
    rows = [FeatureStore(item.store).read(keys_of(manifest)) for item in done]
    assert np.allclose(rows[1], rows[0] + 1)
    assert not np.allclose(rows[2], rows[0])


def test_a_network_that_has_everything_does_not_run_again(run, pictures, fake):
    manifest = pictures(8)
    run(manifest, weights="random:0", batch_size=4)
    fake.batches.clear()
    first, second = run(manifest, weights=["random:0", "random:1"], batch_size=4)
    assert (first.reused, first.computed, second.reused, second.computed) == (8, 0, 0, 8)
    assert len(fake.batches) == 2


def test_networks_of_several_input_sizes_take_a_pass_each(run, pictures, fake):
    done = run(pictures(3), backbone=["tiny", "mobilenet_0.25"])
    assert [item.computed for item in done] == [3, 3]
    assert {shape[1] for shape in fake.batches} == {64, 224}


def test_bad_images_are_listed_and_the_others_stored(run, pictures):
    manifest = pictures(5)
    (manifest.parent / "p0001.png").write_bytes(b"")
    (manifest.parent / "p0003.png").write_bytes(b"no image at all")
    with pytest.raises(ExtractionError, match=r"2 of 5 images have no features.*p0001.*failures\.csv"):
        run(manifest)
    (done,) = run(manifest, on_error="skip")
    assert (done.images, done.reused, done.computed) == (5, 3, 0)
    with (done.store / "failures.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert [row["id"] for row in listed] == ["p0001", "p0003"]
    assert all(row["path"].endswith(f"{row['id']}.png") and row["reason"] for row in listed)
    pictures(5)
    run(manifest)
    assert not (done.store / "failures.csv").exists()


def test_on_error_fail_stops_and_keeps_what_is_computed(run, pictures, tmp_path):
    manifest = pictures(30)
    (manifest.parent / "p0020.png").write_bytes(b"no image")
    with pytest.raises(ExtractionError, match=r"p0020\.png"):
        run(manifest, on_error="fail", batch_size=4)
    (store,) = (tmp_path / "cache" / "features").iterdir()
    assert 0 < len(FeatureStore(store).keys()) < 29


def test_rows_with_nan_are_recomputed_and_failed_with_their_layer(run, pictures, fake, monkeypatch):
    manifest = pictures(6)
    (done,) = run(manifest, weights="random:0")
    middle = float(np.median(FeatureStore(done.store).read(keys_of(manifest))[:, 0, 0]))
    monkeypatch.setattr(fake, "nan_below", middle)
    (done,) = run(manifest, weights="random:1", on_error="skip")
    assert (done.computed, len(done.failed)) == (3, 3)
    assert all("NaN or infinity, first in layer block1_conv" in reason for _, _, reason in done.failed)
    assert len(FeatureStore(done.store).keys()) == 3


def test_views_are_kept_or_averaged(run, pictures):
    manifest = pictures(5)
    (kept,) = run(manifest, views=3, view_pool="keep", batch_size=4)
    (mean,) = run(manifest, views=3, view_pool="mean", batch_size=4)
    keys = keys_of(manifest)
    rows = FeatureStore(kept.store).read(keys)
    assert rows.shape == (5, 3, 6)
    assert not np.allclose(rows[:, 0], rows[:, 1])
    averaged = FeatureStore(mean.store).read(keys)
    np.testing.assert_allclose(averaged, rows.mean(axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize("views", [1, 2])
def test_shards_share_the_batches_out(run, pictures, views):
    """Whole batches, so that each image is at the place in its batch where it is without shards."""
    manifest = pictures(20)
    parts = [run(manifest, shard=f"{part}/3", batch_size=4, views=views)[0] for part in (1, 2, 3)]
    assert [part.images for part in parts] == ([4, 8, 8] if views == 1 else [6, 6, 8])
    assert all(part.computed == part.images for part in parts)
    assert run(manifest, views=views)[0].reused == 20


def test_more_shards_than_batches_leave_some_empty(run, pictures):
    parts = [run(pictures(5), shard=f"{part}/3", batch_size=4)[0] for part in (1, 2, 3)]
    assert [part.images for part in parts] == [0, 4, 1]


def test_a_dry_run_computes_and_writes_nothing(run, pictures, tmp_path, fake):
    notes = Notes()
    (done,) = run(pictures(4), dry_run=True, progress=notes)
    assert (done.pending, done.computed, done.reused) == (4, 0, 0)
    assert not (tmp_path / "cache" / "features").exists()
    told, count = notes.said[-1], len(notes.said)
    assert "4 images to read" in told
    assert "4 rows of features to compute and store (0.0 MB)" in told
    assert re.search(r"about \d+ s at [\d.]+ images/s", told)
    run(pictures(4))
    (done,) = run(pictures(4), dry_run=True, progress=notes)
    assert (done.pending, done.reused, len(notes.said)) == (0, 4, count)


def test_overwrite_computes_again(run, pictures):
    manifest = pictures(4)
    (done,) = run(manifest)
    before = FeatureStore(done.store).read(keys_of(manifest))
    (again,) = run(manifest, overwrite=True)
    assert (again.computed, again.reused) == (4, 0)
    assert np.array_equal(FeatureStore(done.store).read(keys_of(manifest)), before)


def test_the_same_weights_under_another_name_hit_the_same_store(run, pictures, monkeypatch):
    manifest = pictures(4)
    (first,) = run(manifest, weights="random:5")
    digest = FeatureStore(first.store).recipe["weights"]
    weights = Weights("elsewhere", digest, ("elsewhere",), seed=5, label="elsewhere")
    monkeypatch.setattr("featx.features.planning.resolve_weights", lambda source, backbone: (weights,))
    (second,) = run(manifest, weights="elsewhere")
    assert (second.store, second.reused) == (first.store, 4)


def test_stores_of_tuned_weights_say_what_these_were_trained_on(run, pictures, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / TRAINED_ON).write_text('{"train_keys": ["aa"]}')
    path = tmp_path / "run" / "backbone.weights.h5"
    weights = Weights(
        "run", "ab" * 32, ("random:0", "run"), path=path, trained_on={"fold": "1x1"}, label="run-1x1"
    )
    monkeypatch.setattr("featx.features.planning.resolve_weights", lambda source, backbone: (weights,))
    (done,) = run(pictures(3), weights="run")
    store = FeatureStore(done.store)
    assert store.recipe["trained_on"] == {"fold": "1x1"}
    assert store.train_keys() == frozenset({"aa"})


def test_progress_counts_images_and_memory_is_stated(run, pictures):
    manifest = pictures(7)
    (manifest.parent / "p0002.png").write_bytes(b"no image")
    notes = Notes()
    run(manifest, batch_size=4, views=3, on_error="skip", progress=notes)
    assert (notes.total, notes.done) == (7, 7)
    (plan,) = (line for line in notes.said if "to compute with" in line)
    assert "7 images to compute with 1 network" in plan
    assert "MB of pixels and features" in plan
    assert "0.0 MB of weights" in plan


def test_only_weights_up_to_the_feature_layer_are_counted(pictures, tmp_path):
    given = {"backbone": "mobilenet_0.25", "weights": "random", "image_size": 32, "engine": "keras"}
    for layers, told in ((["conv_pw_8_relu"], "0.2 MB"), ([], "0.9 MB")):
        notes = Notes()
        extract(pictures(1), layers=layers, cache=tmp_path / "cache", batch_size=1, progress=notes, **given)
        assert f"{told} of weights" in notes.said[-1]


def test_a_network_is_run_as_it_was_fine_tuned_or_a_warning_stands_in_the_store(run, pictures, monkeypatch):
    manifest, notes = pictures(3), Notes()
    facts = {"image_size": 48, "preparation": "center-square", "precision": "float32"}
    weights = Weights("run", "ab" * 32, ("random:0", "run"), trained_with=facts, label="run")
    monkeypatch.setattr("featx.features.planning.resolve_weights", lambda source, backbone: (weights,))
    (done,) = run(manifest, weights="run", progress=notes)
    recipe = FeatureStore(done.store).recipe
    assert (recipe["image_size"], recipe["preparation"]["name"], recipe["warnings"]) == (
        48,
        "center-square",
        [],
    )
    assert not [line for line in notes.said if line.startswith("warning")]
    (other,) = run(manifest, weights="run", image_size=64, progress=notes)
    told = "the weights were fine-tuned with image size 48, their features are extracted with 64"
    assert f"warning: {told}" in notes.said
    assert FeatureStore(other.store).recipe["warnings"] == [told]


def test_tf32_is_refused_on_a_processor(pictures, tmp_path):
    given = {"backbone": "tiny", "weights": "random", "cache": tmp_path / "cache", "device": "cpu"}
    with pytest.raises(ConfigError, match="tf32 is arithmetic of NVIDIA GPUs"):
        extract(pictures(1), precision="tf32", **given)


def test_the_summary_tells_counts_times_and_shares(run, pictures):
    done = run(pictures(5))
    text = summarise_extraction(done)
    assert "tiny (random0), global pool: 5 images, 0 reused, 5 computed, 0 failed" in text
    assert all(f"{stage} " in text for stage in ("reading", "forward", "writing"))
    assert 0 <= done[0].busy["write"] <= 1
    assert done[0].rate > 0
    assert done[0].record()["computed"] == 5


def test_a_receiver_gets_the_busy_seconds_of_the_stages(run, pictures):
    """Those of decoding are summed over the threads, and divided by their number."""
    notes = Staged()
    (done,) = run(pictures(10), batch_size=4, workers=2, progress=notes)
    assert notes.seconds == {
        "decode": done.seconds["read"] / 2,
        "forward": done.seconds["forward"],
        "write": done.seconds["write"],
    }
    assert all(seconds > 0 for seconds in notes.seconds.values())


def test_interrupted_work_is_committed(run, pictures, tmp_path):
    class Interrupting(Notes):
        def advance(self, count=1):
            super().advance(count)
            if self.total and self.done >= 12:
                raise KeyboardInterrupt

    manifest = pictures(40)
    with pytest.raises(KeyboardInterrupt):
        run(manifest, batch_size=4, progress=Interrupting())
    (store,) = (tmp_path / "cache" / "features").iterdir()
    committed = len(FeatureStore(store).keys())
    assert committed >= 12
    (done,) = run(manifest, batch_size=4)
    assert (done.reused, done.computed) == (committed, 40 - committed)


def test_a_full_disk_is_told_once_with_what_to_do(run, pictures, monkeypatch):
    def full(self, keys, features):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FeatureStore, "write_block", full)
    with pytest.raises(ExtractionError, match=r"No space left on device.*run again"):
        run(pictures(5))


@pytest.mark.parametrize(
    ("error", "given"),
    [
        (BackboneError, {"backbone": "tinny"}),
        (WeightsError, {"weights": "nowhere.h5"}),
        (ConfigError, {"backbone": ["tiny", "tiny", "tiny"], "weights": ["random", "random:1"]}),
        (ConfigError, {"backbone": []}),
        (ConfigError, {"preparation": "crop"}),
        (ConfigError, {"precision": "int8"}),
        (ConfigError, {"views": 0}),
        (ConfigError, {"view_ranges": "wild"}),
        (ConfigError, {"view_pool": "max"}),
        (ConfigError, {"engine": "onnx"}),
        (ConfigError, {"batch_size": 0}),
        (ConfigError, {"workers": 0}),
        (ConfigError, {"device": "tpu"}),
        (ConfigError, {"shard": "4/3"}),
        (ConfigError, {"arm": "a/b"}),
        (ConfigError, {"pool": "median"}),
        (ConfigError, {"batchsize": 3}),
        (ConfigError, {"on_error": "ignore"}),
    ],
)
def test_bad_options_are_refused_before_any_work(run, pictures, tmp_path, error, given):
    with pytest.raises(error):
        run(pictures(2), **given)
    assert not (tmp_path / "cache" / "features").exists()


def test_a_missing_file_is_the_manifests_fault(run, pictures):
    manifest = pictures(3)
    (manifest.parent / "p0001.png").unlink()
    with pytest.raises(ManifestError, match="p0001"):
        run(manifest)


def test_low_precision_shows_its_deviation_and_has_a_store_of_its_own(pictures, tmp_path):
    manifest, notes = pictures(5), Notes()
    given = {
        "backbone": "tiny",
        "weights": "random",
        "cache": tmp_path / "cache",
        "engine": "keras",
        "image_size": 16,
    }
    (low,) = extract(manifest, precision="bfloat16", batch_size=2, progress=notes, **given)
    (exact,) = extract(manifest, batch_size=2, **given)
    told = [line for line in notes.said if "compared with float32" in line]
    assert len(told) == 2
    assert "smallest cosine 0.99" in told[0]
    assert low.store != exact.store
    keys = keys_of(manifest)
    found, wanted = FeatureStore(low.store).read(keys), FeatureStore(exact.store).read(keys)
    assert 0 < np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


def test_a_wrong_layer_leaves_no_store(pictures, tmp_path):
    with pytest.raises(BackboneError, match="nowhere"):
        extract(pictures(1), backbone="tiny", weights="random", layers=["nowhere"], cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / "features").exists()


def test_an_arm_names_its_stores_however_they_came_about(run, pictures, tmp_path):
    manifest, place = pictures(4), arm_file(tmp_path / "cache", "tuned")
    run(manifest, arm="tuned", dry_run=True)
    assert not place.exists()
    done = run(manifest, arm="tuned", layers=["block2_relu", "global pool"])
    assert read_arm(place) == tuple(item.store for item in done)
    place.unlink()
    run(manifest, arm="tuned", layers=["block2_relu", "global pool"])  # everything is stored already
    assert read_arm(place) == tuple(item.store for item in done)
    (other,) = run(manifest, arm="tuned", weights="random:1")
    assert read_arm(place) == (other.store,)


def test_an_arm_is_named_although_images_failed(run, pictures, tmp_path):
    manifest = pictures(4)
    (manifest.parent / "p0001.png").write_bytes(b"no image")
    with pytest.raises(ExtractionError):
        run(manifest, arm="tuned")
    assert len(read_arm(arm_file(tmp_path / "cache", "tuned"))) == 1


def test_a_file_that_cannot_be_read_stops_or_is_listed(run, pictures, monkeypatch):
    manifest = pictures(3)
    known = extraction.content_keys
    bad = str(manifest.parent / "p0001.png")

    def unreadable(paths, **given):
        found = known([path for path in paths if path != bad], **given)
        return found._replace(failures={bad: f"{bad}: cannot be read"})

    monkeypatch.setattr(extraction, "content_keys", unreadable)
    with pytest.raises(ExtractionError, match=r"p0001\.png: cannot be read"):
        run(manifest, on_error="fail")
    (done,) = run(manifest, on_error="skip")
    assert (done.images, done.computed, done.failed) == (3, 2, (("p0001", bad, f"{bad}: cannot be read"),))


def test_images_whose_keys_are_known_are_read_once(run, pictures, tmp_path, monkeypatch):
    manifest = pictures(3)
    paths = sorted(manifest.parent.glob("*.png"))
    keys = {str(path): digest_bytes(path.read_bytes()) for path in paths[:2]}
    write_keys(tmp_path / "keys.csv", keys)
    hashed = []
    compute = content._hash
    monkeypatch.setattr(content, "_hash", lambda name: hashed.append(name) or compute(name))
    (done,) = run(manifest, keys=tmp_path / "keys.csv")
    assert (done.computed, hashed) == (3, [str(paths[2])])
    assert FeatureStore(done.store).keys() == frozenset(keys_of(manifest))


def test_a_listed_key_that_is_stale_is_noticed_when_the_image_is_decoded(run, pictures):
    manifest = pictures(2)
    first, second = map(str, sorted(manifest.parent.glob("*.png")))
    keys = {first: "ab" * 32, second: digest_bytes((manifest.parent / "p0001.png").read_bytes())}
    (done,) = run(manifest, keys=keys, on_error="skip")
    assert FeatureStore(done.store).keys() == {keys[second]}
    assert done.failed[0][2].endswith("run the extraction again, with new keys if `keys` were given")


_CHILD = """
import sys, time
from featx.features import extraction, network_pass, pipeline
from featx.features.extraction import extract
pipeline._MOST_ROWS = 64
load = network_pass.load_image
def slow(*args, **named):
    time.sleep(0.01)
    return load(*args, **named)
network_pass.load_image = slow
extract(sys.argv[1], backbone="tiny", weights="random", cache=sys.argv[2], image_size=16, engine="keras")
"""


def test_a_killed_extraction_resumes_to_the_same_features(pictures, tmp_path, monkeypatch):
    manifest = pictures(320, side=16)
    killed = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(manifest), str(killed)], env=os.environ)
    try:
        while child.poll() is None and not list(killed.glob("features/*/block-*.h5")):
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
    finally:
        child.wait()
    assert child.returncode == -signal.SIGKILL
    (folder,) = (killed / "features").iterdir()
    committed = len(FeatureStore(folder).keys())
    assert 0 < committed < 320
    given = {"backbone": "tiny", "weights": "random", "image_size": 16, "engine": "keras"}
    monkeypatch.setattr(pipeline, "_MOST_ROWS", 64)
    (resumed,) = extract(manifest, cache=killed, **given)
    assert (resumed.reused, resumed.computed) == (committed, 320 - committed)
    (straight,) = extract(manifest, cache=tmp_path / "straight", **given)
    keys = keys_of(manifest)
    found, wanted = FeatureStore(resumed.store).read(keys), FeatureStore(straight.store).read(keys)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    assert resumed.store.name == straight.store.name
