"""GPUs found by files of the driver, on the PCI bus, and by NVML."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from featx.doctor import graphics
from featx.doctor.graphics import GraphicsCards, find_cards

VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2026\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def with_driver(root: Path, nodes: bool = True) -> Path:
    """Lay out what the kernel shows of two GPUs with a driver."""
    files = {"proc/driver/nvidia/version": VERSION}
    for minor in (0, 1):
        about = f"Model: \t\t NVIDIA A100\nIRQ:   \t\t 1\nDevice Minor: \t {minor}\n"
        files[f"proc/driver/nvidia/gpus/0000:0{minor}:00.0/information"] = about
        if nodes:
            files[f"dev/nvidia{minor}"] = ""
    return write(root, files)


def test_a_machine_without_gpus_has_none(tmp_path: Path) -> None:
    assert find_cards(tmp_path) == GraphicsCards()


@pytest.mark.linux
def test_the_files_of_the_driver_name_gpus(tmp_path: Path) -> None:
    found = find_cards(with_driver(tmp_path))
    assert found == GraphicsCards(("NVIDIA A100", "NVIDIA A100"), "550.54.15", closed=False)


@pytest.mark.linux
def test_gpus_without_device_files_are_not_given_to_this_process(tmp_path: Path) -> None:
    assert find_cards(with_driver(tmp_path, nodes=False)).closed


def test_a_gpu_without_a_driver_is_found_on_the_bus(tmp_path: Path) -> None:
    devices = "sys/bus/pci/devices"
    write(
        tmp_path,
        {
            f"{devices}/0000:01:00.0/vendor": "0x10de\n",
            f"{devices}/0000:01:00.0/class": "0x030200\n",
            f"{devices}/0000:01:00.1/vendor": "0x10de\n",
            f"{devices}/0000:01:00.1/class": "0x040300\n",
            f"{devices}/0000:02:00.0/vendor": "0x8086\n",
            f"{devices}/0000:02:00.0/class": "0x030000\n",
        },
    )
    assert find_cards(tmp_path) == GraphicsCards(("NVIDIA GPU at 0000:01:00.0",))


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("pynvml")
    module.NVMLError = RuntimeError
    module.nvmlInit = module.nvmlShutdown = lambda: None
    module.nvmlDeviceGetCount = lambda: 1
    module.nvmlDeviceGetHandleByIndex = lambda index: index
    module.nvmlDeviceGetName = lambda handle: "NVIDIA H100"
    module.nvmlSystemGetDriverVersion = lambda: "570.1"
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return module


CARDS = GraphicsCards(("NVIDIA A100",), "550.54")


def test_nvml_is_asked_where_it_is_installed(nvml: ModuleType) -> None:
    assert graphics._by_nvml(CARDS) == GraphicsCards(("NVIDIA H100",), "570.1")


def test_a_library_that_does_not_fit_the_driver_is_an_error(nvml: ModuleType) -> None:
    def fail() -> None:
        raise RuntimeError("Driver/library version mismatch")

    nvml.nvmlInit = fail
    found = graphics._by_nvml(CARDS)
    assert found is not None
    assert (found.names, found.error) == (("NVIDIA A100",), "Driver/library version mismatch")


def test_a_gpu_that_does_not_answer_is_an_error(nvml: ModuleType) -> None:
    def fail(index: int) -> None:
        raise RuntimeError("GPU is lost")

    nvml.nvmlDeviceGetHandleByIndex = fail
    found = graphics._by_nvml(CARDS)
    assert found is not None
    assert (found.names, found.error) == (("NVIDIA A100",), "GPU is lost")


def test_without_nvml_the_files_count(nvml: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("NVML Shared Library Not Found")

    nvml.nvmlInit = fail
    assert graphics._by_nvml(CARDS) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert graphics._by_nvml(CARDS) is None
