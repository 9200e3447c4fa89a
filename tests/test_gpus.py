"""GPUs by a stand-in for NVML, and how full memory is recognised."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from featx import gpus
from featx.errors import ConfigError, ExtractionError
from featx.gpus import MIB, Device, Gpu, memory_error, most_free, parse_device, set_gpu_defaults, visible_gpus
from tests.fake_nvml import gpu, install

A, B, C = (
    gpu("GPU-aaaa-1", 10_000, load=90),
    gpu("GPU-bbbb-2", 30_000, name="NVIDIA A100"),
    gpu("GPU-bbcc-3", 20_000),
)
SLICE = gpu("MIG-1234", 9_000, 10_000)


def test_device_names() -> None:
    assert parse_device("auto") is None
    assert parse_device("cpu") == Device("cpu", 0)
    assert parse_device("gpu:3") == Device("gpu", 3)
    assert str(parse_device("gpu:any")) == "gpu:any"
    for text in ("tpu", "gpu:", "gpu:x", "gpu:-1", "", "cpu:any"):
        with pytest.raises(ConfigError, match="device"):
            parse_device(text)


def test_all_facts_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, A, B)
    first, second = visible_gpus()
    assert first == Gpu(0, "GPU-aaaa-1", "NVIDIA H100", 10_000 * MIB, 80_000 * MIB, 90)
    assert (second.index, second.name, second.utilisation) == (1, "NVIDIA A100", None)
    assert str(first) == "gpu:0 (NVIDIA H100, 10000 of 80000 MB free)"


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        (None, ["GPU-aaaa-1", "GPU-bbbb-2", "GPU-bbcc-3"]),
        ("2,0", ["GPU-bbcc-3", "GPU-aaaa-1"]),
        ("GPU-bbcc-3, 1", ["GPU-bbcc-3", "GPU-bbbb-2"]),
        ("GPU-bbb", ["GPU-bbbb-2"]),  # the beginning of one UUID
        ("GPU-bb", []),  # of two
        ("GPU-", []),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("1,-1,0", ["GPU-bbbb-2"]),  # CUDA stops at the first unknown one
        ("0,7,1", ["GPU-aaaa-1"]),
        ("1,1", []),  # CUDA finds none
        ("MIG-1234", ["MIG-1234"]),
        ("3", []),  # a slice has no number
    ],
)
def test_only_visible_gpus_are_listed(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, uuids: list[str]
) -> None:
    install(monkeypatch, A, B, C, SLICE, visible=visible)
    found = visible_gpus()
    assert [gpu.uuid for gpu in found] == uuids
    assert [gpu.index for gpu in found] == list(range(len(uuids)))


def test_the_freest_gpu_is_chosen_and_of_equal_ones_the_idle_one() -> None:
    def made(*facts: tuple[int | None, int | None]) -> list[Gpu]:
        return [Gpu(place, f"GPU-{place}", "A", free, 99, load) for place, (free, load) in enumerate(facts)]

    def chosen(found: list[Gpu], least: int = 0) -> int | None:
        best = most_free(found, least)
        return best and best.index

    assert chosen(made((10, 0), (30, 99), (20, 0))) == 1
    assert chosen(made((30, 50), (30, 10), (30, 10))) == 1
    assert chosen(made((None, 0), (5, 90))) == 1
    assert chosen(made((10, 0), (30, 99)), least=31) is None
    assert chosen(made((None, 0))) is None
    assert chosen([]) is None


def test_without_nvml_the_driver_tells_the_gpus_but_not_their_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    assert visible_gpus() == ()
    for bus, uuid in (
        ("0000:b1:00.0", "GPU-second"),
        ("0000:01:00.0", "GPU-first"),
        ("0000:c1:00.0", "GPU-??"),
    ):
        (tmp_path / bus).mkdir()
        text = f"Model: \t\t NVIDIA A40\nIRQ:   \t\t 4\nGPU UUID: \t {uuid}\nBus Location: \t {bus}\n"
        (tmp_path / bus / "information").write_text(text)
    assert visible_gpus() == (
        Gpu(0, "GPU-first", "NVIDIA A40"),
        Gpu(1, "GPU-second", "NVIDIA A40"),
        Gpu(2, "", "NVIDIA A40"),
    )
    assert str(visible_gpus()[0]) == "gpu:0 (NVIDIA A40, memory unknown)"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-second")
    assert [gpu.uuid for gpu in visible_gpus()] == ["GPU-second"]


def test_a_library_without_a_driver_counts_as_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, A)

    def fail() -> None:
        raise sys.modules["pynvml"].NVMLError("driver not loaded")

    monkeypatch.setattr(sys.modules["pynvml"], "nvmlInit", fail)
    monkeypatch.setattr(gpus, "_DRIVER", tmp_path)
    assert visible_gpus() == ()


def test_what_is_set_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    set_gpu_defaults()
    assert (os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"], os.environ["CUDA_DEVICE_ORDER"]) == (
        "true",
        "PCI_BUS_ID",
    )
    monkeypatch.delenv("XLA_PYTHON_CLIENT_PREALLOCATE")
    set_gpu_defaults()
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"


def test_full_memory_is_recognised_whoever_raises_it() -> None:
    tensorflow = pytest.importorskip("tensorflow")
    torch = pytest.importorskip("torch")
    jax = pytest.importorskip("jax")
    full = {
        tensorflow.errors.ResourceExhaustedError(
            None, None, "OOM when allocating\nmore"
        ): "TensorFlow: OOM when allocating",
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried"): "PyTorch: CUDA out of memory. Tried",
        jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Out of memory"
        ): "JAX: RESOURCE_EXHAUSTED: Out of memory",
        RuntimeError(
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"
        ): "CUDA: cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        MemoryError(): "Python: MemoryError",
    }
    assert {error: memory_error(error) for error in full} == full
    others = [
        jax.errors.JaxRuntimeError("INTERNAL: bad"),
        tensorflow.errors.InternalError(None, None, "bad"),
        RuntimeError("shapes differ"),
        ExtractionError("out of memory"),
    ]
    assert [memory_error(error) for error in others] == [""] * 4
