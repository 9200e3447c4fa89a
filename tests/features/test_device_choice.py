"""The choice of a device, with stand-ins for NVML and for what the backends of Keras find."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from featx import gpu_queue, gpus
from featx.errors import ConfigError
from featx.features import device_choice
from featx.features.device_choice import choose_device, take_device
from featx.gpus import MIB, Device
from featx.options import DeviceOptions
from featx.progress import Silent
from tests.fake_nvml import gpu, install


class Notes(Silent):
    def __init__(self):
        self.said = []

    def say(self, message):
        self.said.append(message)


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Forget earlier choices of this process, and restore its environment."""
    monkeypatch.setattr(device_choice, "_given", {})
    monkeypatch.setattr(device_choice, "_granted", {})
    monkeypatch.setattr(device_choice, "keras_backend", lambda: "tensorflow")
    monkeypatch.setattr(gpu_queue.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpu_queue, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    for name in ("CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        monkeypatch.setenv(name, "for the test")
        monkeypatch.delenv(name)


@pytest.fixture
def box(monkeypatch):
    """A machine with three GPUs, all of which Keras finds unless they are hidden."""
    install(monkeypatch, gpu("GPU-a", 10_000), gpu("GPU-b", 50_000), gpu("GPU-c", 20_000))
    monkeypatch.setattr(device_choice, "_count_gpus", lambda: len(gpus.visible_gpus()))


def taken(progress=None, **given):
    with take_device(DeviceOptions(**given), progress or Silent()) as found:
        return str(found.device), found.name


def test_a_gpu_that_keras_does_not_find_is_refused():
    assert choose_device(Device("cpu")) == Device("cpu")
    with pytest.raises(ConfigError, match=r"finds \d+ GPUs"):
        choose_device(Device("gpu", 99))


@pytest.mark.parametrize(("count", "device"), [(0, "cpu:0"), (2, "gpu:0")])
def test_a_gpu_is_taken_where_there_is_one(monkeypatch, count, device):
    tensorflow = pytest.importorskip("tensorflow")
    grown = []
    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: [f"{kind}:0"] * count)
    monkeypatch.setattr(
        tensorflow.config.experimental, "set_memory_growth", lambda gpu, wanted: grown.append(wanted)
    )
    assert str(choose_device(None)) == device
    assert grown == [True] * count
    if count:
        assert choose_device(Device("gpu", 1)) == Device("gpu", 1)


@pytest.mark.parametrize(
    ("device", "wanted"),
    [("auto", "gpu:1"), ("gpu:any", "gpu:1"), ("gpu:2", "gpu:2"), ("gpu", "gpu:0"), ("cpu", "cpu:0")],
)
def test_devices_by_their_names(box, device, wanted):
    assert taken(device=device) == (wanted, "cpu" if device == "cpu" else "NVIDIA H100")


def test_which_gpu_is_used_is_said(box):
    notes = Notes()
    taken(notes)
    assert notes.said == ["using gpu:1 (NVIDIA H100, 50000 of 80000 MB free)"]


def test_a_process_stays_with_its_gpu(box, monkeypatch):
    assert taken()[0] == "gpu:1"
    install(monkeypatch, gpu("GPU-a", 60_000), gpu("GPU-b", 1_000), gpu("GPU-c", 20_000))
    assert taken()[0] == "gpu:1"
    assert taken(device="gpu:any")[0] == "gpu:0"


def test_auto_is_the_cpu_where_keras_has_no_gpu(box, monkeypatch):
    monkeypatch.setattr(device_choice, "_count_gpus", lambda: 0)
    notes = Notes()
    assert taken(notes) == ("cpu:0", "cpu")
    assert notes.said == []
    with pytest.raises(ConfigError, match="finds 0 GPUs"):
        taken(device="gpu:any")
    with pytest.raises(ConfigError, match="finds 0 GPUs"):
        taken(wait_gpu=100)


def test_a_gpu_that_is_not_there_is_refused(box):
    with pytest.raises(ConfigError, match="gpu:3, but Keras on tensorflow finds 3 GPUs"):
        taken(device="gpu:3")


def test_without_nvml_memory_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    for bus in "01":
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text("Model: NVIDIA A40\n")
    monkeypatch.setattr(device_choice, "_count_gpus", lambda: 2)
    notes = Notes()
    assert taken(notes) == ("gpu:0", "NVIDIA A40")
    assert notes.said == [
        "using gpu:0 (NVIDIA A40, memory unknown); the package nvidia-ml-py would tell how much is free"
    ]
    assert taken(device="gpu:1")[0] == "gpu:1"
    for given in ({"device": "gpu:any"}, {"wait_gpu": 100}):
        with pytest.raises(ConfigError, match="nvidia-ml-py"):
            taken(**given)


def test_a_process_of_its_own_sees_the_chosen_gpu_only(box, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    # Two passes of one extraction: the second finds the same GPU at its new place.
    assert [taken(device="gpu:2", own_process=True)[0] for _ in range(2)] == ["gpu:0", "gpu:0"]
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-c"
    taken(device="cpu", own_process=True)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


def test_a_backend_that_had_looked_before_sees_all_gpus(box, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(device_choice, "_count_gpus", lambda: 3)
    assert taken(device="gpu:2", own_process=True)[0] == "gpu:2"


def test_torch_is_not_told_other_gpus_after_its_import(box, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    assert taken(device="gpu:2", own_process=True)[0] == "gpu:2"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.slow
def test_importing_the_trainer_does_not_make_tensorflow_look_for_gpus():
    """Else GPUs that are hidden later would stay visible to it."""
    program = """
import featx.finetuning.trainer
from tensorflow.python.eager import context
assert context.context()._physical_devices is None
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr[-2000:]


def tickets(tmp_path):
    return list(tmp_path.rglob("*.ticket"))


def test_a_gpu_is_waited_for_and_the_next_job_waits_until_its_memory_is_allocated(box, monkeypatch, tmp_path):
    def sleep(seconds):
        install(monkeypatch, gpu("GPU-a", 10_000), gpu("GPU-b", 50_000), gpu("GPU-c", 70_000))

    monkeypatch.setattr(gpu_queue.time, "sleep", sleep)
    notes = Notes()
    options = DeviceOptions(wait_gpu=60_000)
    with take_device(options, notes, all_gpus=True) as found:
        assert str(found.device) == "gpu:2"
        assert len(tickets(tmp_path)) == 1
        found.allocated()
        assert tickets(tmp_path) == []
    assert [note.split(";")[0] for note in notes.said] == [
        "waiting for a GPU with 60000 MB of free memory",
        "using gpu:2 (NVIDIA H100, 70000 of 80000 MB free)",
    ]
    # Its own memory is in use now: a second pass of the process does not wait for it to become free.
    install(monkeypatch, gpu("GPU-a", 10_000), gpu("GPU-b", 50_000), gpu("GPU-c", 10))
    assert taken(wait_gpu=60_000)[0] == "gpu:2"


def test_a_job_that_fails_frees_its_place(box, tmp_path):
    with pytest.raises(ZeroDivisionError), take_device(DeviceOptions(wait_gpu=100), Silent()):
        assert len(tickets(tmp_path)) == 1
        raise ZeroDivisionError
    assert tickets(tmp_path) == []
    # It has allocated nothing, so that the next call in this process waits again.
    with take_device(DeviceOptions(wait_gpu=100), Silent()):
        assert len(tickets(tmp_path)) == 1


def test_a_certain_gpu_is_waited_for(box, monkeypatch):
    def sleep(seconds):
        install(monkeypatch, gpu("GPU-a", 40_000), gpu("GPU-b", 50_000))

    monkeypatch.setattr(gpu_queue.time, "sleep", sleep)
    assert taken(device="gpu:0", wait_gpu=30_000)[0] == "gpu:0"


def test_all_gpus_are_one_device(box):
    with take_device(DeviceOptions(), Silent(), all_gpus=True) as found:
        assert found.device is None
    with take_device(DeviceOptions(device="gpu:any"), Silent(), all_gpus=True) as found:
        assert str(found.device) == "gpu:1"


def test_a_limit_is_told_to_each_backend(box, monkeypatch):
    tensorflow = pytest.importorskip("tensorflow")
    torch = pytest.importorskip("torch")
    told = []
    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: ["a", "b", "c"])
    monkeypatch.setattr(
        tensorflow.config,
        "set_logical_device_configuration",
        lambda gpu, limits: told.append((gpu, [limit.memory_limit for limit in limits])),
    )
    taken(gpu_memory=8_000)
    assert (told, os.environ["TF_FORCE_GPU_ALLOW_GROWTH"]) == ([("b", [8_000])], "true")

    monkeypatch.setattr(device_choice, "keras_backend", lambda: "torch")
    memory = SimpleNamespace(total_memory=80_000 * MIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: memory)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *given: told.append(given))
    with take_device(DeviceOptions(gpu_memory=8_000), Silent(), all_gpus=True):
        pass
    assert told[1:] == [(0.1, 0), (0.1, 1), (0.1, 2)]

    monkeypatch.setattr(device_choice, "keras_backend", lambda: "jax")
    counted = []
    monkeypatch.setattr(
        device_choice,
        "_count_gpus",
        lambda: counted.append(os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"]) or 3,
    )
    taken(gpu_memory=20_000)
    assert counted[0] == "0.2500", "JAX reads it when it looks for GPUs"


def test_a_limit_that_comes_too_late_is_said(box, monkeypatch):
    def late(megabytes, indices):
        raise RuntimeError("initialized")

    monkeypatch.setitem(device_choice._LIMITS, "tensorflow", late)
    notes = Notes()
    taken(notes, gpu_memory=8_000, device="gpu:0")
    assert notes.said[0].startswith("warning: --gpu-memory has no effect")
