"""A pass in which memory runs out, with a stand-in for the network that raises what the backends raise."""

from __future__ import annotations

import json
from functools import cached_property

import numpy as np
import pytest

from featx.errors import DeviceMemoryError
from featx.features import network_pass
from featx.features.batch_sizes import BATCH_SIZES
from featx.features.engines import KerasEngine
from featx.features.extraction import extract
from featx.features.store import FeatureStore
from featx.progress import Silent
from featx.zoo import Cost


def tensorflow_error():
    import tensorflow

    return tensorflow.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


def torch_error():
    import torch

    return torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def jax_error():
    import jax

    return jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")


ERRORS = {"TensorFlow": tensorflow_error, "PyTorch": torch_error, "JAX": jax_error, "Python": MemoryError}


class Memory:
    """Memory for a number of rows at a time, and what happens in it."""

    def __init__(self, most=1000, error=MemoryError, when="start", after=0, nan=False):
        self.most, self.error, self.when, self.after, self.nan = most, error, when, after, nan
        self.shapes, self.built, self.said, self.written = [], [], [], []
        self.alive = self.advanced = 0

    def use(self, rows, moment):
        self.shapes.append((moment, rows))
        if rows > self.most and moment == self.when and len(self.shapes) > self.after:
            raise self.error()


class SmallEngine:
    name, in_flight, held_bytes = "small", 3, None

    def __init__(self, memory, rows, layers, scale):
        self.memory, self.rows, self.layers, self.scale = memory, rows, layers, scale
        memory.built.append(rows)
        memory.alive += 1

    def __del__(self):
        self.memory.alive -= 1

    def start(self, batch):
        assert len(batch) == self.rows, "an engine is built for one shape"
        self.memory.use(len(batch), "start")
        values = batch.astype(np.float64).mean((1, 2)).astype(np.float32) * self.scale

        def collect():
            self.memory.use(len(batch), "collect")
            if self.memory.nan:
                values[values[:, 0] > np.float32(127)] = np.nan
            return [values + place for place in range(self.layers)]

        return collect


@pytest.fixture
def run(monkeypatch, tmp_path, pictures):
    """Extract 21 pictures in batches of 8 with some memory; return what was done and the store's rows."""

    write = FeatureStore.write_block

    def call(memory, *, cache="cache", backbone="tiny", overwrite=False, **given):
        class SmallNetwork:
            def __init__(self, target, settings, *rest):
                self.target, self.rows = target, settings.batch_size

            @cached_property
            def engine(self):
                scale = 1 + len(self.target.weights.label)
                return SmallEngine(memory, self.rows, len(self.target.recipes), scale)

            def rescue(self, pixels, rows):
                memory.use(len(pixels), "rescue")
                return [np.zeros((len(rows), 3), np.float32)] * len(self.target.recipes), [""] * len(rows)

            def drop(self, rows):
                del self.engine
                self.rows = rows

            def check(self):
                return None

            def costs(self):
                return (Cost(10, 1000),) * len(self.target.recipes)

        def write_block(store, keys, rows):
            memory.written += [(store.path, key) for key in keys]
            return write(store, keys, rows)

        def clear():
            assert memory.alive == 0, "engines must be gone before new ones are built"

        class Notes(Silent):
            def say(self, message):
                memory.said.append(message)

            def start(self, task, total, unit="images"):
                memory.advanced = 0

            def advance(self, count=1):
                memory.advanced += count

        monkeypatch.setattr(FeatureStore, "write_block", write_block)
        monkeypatch.setattr(network_pass, "LoadedNetwork", SmallNetwork)
        monkeypatch.setattr(network_pass, "clear_device_memory", clear)
        given = {"weights": "random", "batch_size": 8, "device": "cpu", **given}
        done = extract(
            pictures(21),
            backbone=backbone,
            cache=tmp_path / cache,
            progress=Notes(),
            overwrite=overwrite,
            **given,
        )
        assert len(set(memory.written)) == len(memory.written), "no row is written twice"
        return done, [rows_of(item.store) for item in done]

    return call


def rows_of(folder):
    store = FeatureStore(folder)
    keys = sorted(store.keys())
    return keys, store.read(keys).tobytes()


@pytest.mark.parametrize("when", ["start", "collect"])
@pytest.mark.parametrize("kind", ["TensorFlow", "PyTorch", "JAX", "Python"])
def test_the_batch_is_halved_until_it_fits_and_no_row_is_lost_or_doubled(run, kind, when, tmp_path):
    _, whole = run(Memory(), cache="undisturbed")
    memory = Memory(3, ERRORS[kind], when)
    (done,), small = run(memory)
    assert small == whole
    assert (done.computed, done.batch_size, memory.advanced) == (21, 2, 21)
    assert memory.built == [8, 4, 2]
    told = [note for note in memory.said if note.startswith("out of memory")]
    assert len(told) == 2
    assert told[0].startswith(f"out of memory on cpu with batches of 8 images ({kind}: ")
    assert told[0].endswith("continuing with 4")


@pytest.mark.parametrize("after", [1, 4, 7])
@pytest.mark.parametrize(
    "given", [{"batch_size": 3}, {"batch_size": 4}, {"views": 3}, {"views": 3, "view_pool": "keep"}]
)
def test_it_may_run_out_at_any_batch(run, after, given):
    """Between the batches that were passed on, those in flight and those that wait."""
    _, whole = run(Memory(), cache="undisturbed", **given)
    for when in ("start", "collect"):
        memory = Memory(2, when=when, after=after)
        _, small = run(memory, cache=when, **given)
        assert small == whole
        assert memory.built[0] > memory.built[-1] == 2


def test_memory_may_run_out_while_rows_are_recomputed_in_float32(run):
    """The rows of the batch are passed on only after that."""
    _, whole = run(Memory(nan=True), cache="undisturbed")
    memory = Memory(4, when="rescue", nan=True)
    (done,), small = run(memory)
    assert small == whole
    assert (done.computed, memory.built) == (21, [8, 4])


def test_networks_of_a_pass_are_rebuilt_together(run):
    given = {"weights": ["random:1", "random:12"]}
    _, whole = run(Memory(), cache="undisturbed", **given)
    memory = Memory(4)
    done, small = run(memory, **given)
    assert small == whole
    assert len({rows for _, rows in small}) == 2
    assert memory.built == [8, 8, 4, 4]
    assert [item.batch_size for item in done] == [4, 4]


def test_the_size_that_worked_is_remembered_for_the_place(run, tmp_path):
    run(Memory(3))
    (row,) = json.loads((tmp_path / "cache" / BATCH_SIZES).read_text())
    assert row["batch_size"] == 2
    assert row["place"]["networks"] == [["tiny", ["global pool"]]]
    again = Memory(3)
    (done,), _ = run(again, overwrite=True)
    assert (again.built, done.computed, done.batch_size) == ([2], 21, 2)
    assert any(note.startswith("beginning with batches of 2 images") for note in again.said)
    # Another image size is another place, and a smaller wish is kept.
    other, smaller = Memory(), Memory()
    run(other, image_size=32)
    run(smaller, batch_size=1, overwrite=True)
    assert (other.built, smaller.built) == ([8], [1])


def test_nothing_is_remembered_where_memory_suffices(run, tmp_path):
    run(Memory())
    assert not (tmp_path / "cache" / BATCH_SIZES).exists()


def test_a_single_image_that_does_not_fit_ends_with_one_clear_line(run, tmp_path):
    memory = Memory(0, torch_error)
    with pytest.raises(DeviceMemoryError) as caught:
        run(memory)
    message = str(caught.value)
    assert memory.built == [8, 4, 2, 1]
    assert "\n" not in message
    assert message.startswith(
        "cpu has not enough memory for a batch of one image (PyTorch: CUDA out of memory."
    )
    assert "--wait-gpu" in message
    assert caught.value.exit_code == 1
    assert not (tmp_path / "cache" / BATCH_SIZES).exists()


def test_rows_before_the_end_are_stored(run):
    memory = Memory(0, after=7)  # some batches are done by then
    with pytest.raises(DeviceMemoryError):
        run(memory, batch_size=4)
    again = Memory()
    (done,), _ = run(again)
    assert 0 < done.reused < 21
    assert done.reused + done.computed == 21


def test_another_error_is_not_taken_for_full_memory(run):
    memory = Memory(3, lambda: RuntimeError("shapes differ"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(memory)
    assert memory.built == [8]


@pytest.mark.slow
def test_a_network_of_keras_goes_on_with_smaller_batches(monkeypatch, tmp_path, pictures):
    """The features are those of an extraction that began with the smaller batches, bit for bit."""
    given = {"backbone": "tiny", "weights": "random", "device": "cpu", "engine": "keras", "image_size": 32}
    manifest = pictures(10)
    (small,) = extract(manifest, cache=tmp_path / "small", batch_size=2, **given)
    start = KerasEngine.start

    def limited(self, batch):
        if len(batch) > 2:
            raise tensorflow_error()
        return start(self, batch)

    monkeypatch.setattr(KerasEngine, "start", limited)
    (halved,) = extract(manifest, cache=tmp_path / "halved", batch_size=8, **given)
    assert halved.batch_size == 2
    assert rows_of(halved.store) == rows_of(small.store)


def test_networks_that_do_not_fit_themselves_end_with_one_clear_line(monkeypatch, tmp_path, pictures):
    class Large:
        def __init__(self, *given):
            pass

        @property
        def engine(self):
            raise torch_error()

    monkeypatch.setattr(network_pass, "LoadedNetwork", Large)
    for dry_run in (False, True):
        with pytest.raises(DeviceMemoryError, match="not enough memory for"):
            extract(
                pictures(2), backbone="tiny", weights="random", device="cpu", cache=tmp_path, dry_run=dry_run
            )
    assert not (tmp_path / "features").exists()
