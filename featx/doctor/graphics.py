"""NVIDIA GPUs of the machine and their driver, found without a backend of Keras."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from featx.disks import open_flags

__all__ = ["GraphicsCards", "find_cards"]

_NVIDIA, _DISPLAY = "0x10de", "0x03"


@dataclass(frozen=True)
class GraphicsCards:
    """NVIDIA GPUs of a machine.

    Attributes
    ----------
    names : tuple of str
        One for each GPU.
    driver : str
        Version of the driver; empty where none is loaded.
    closed : bool
        Whether this process may open none of their device files, as in a batch job without GPUs.
    error : str
        Why the driver cannot be asked, if that is so.
    """

    names: tuple[str, ...] = ()
    driver: str = ""
    closed: bool = False
    error: str = ""


def find_cards(root: Path = Path("/")) -> GraphicsCards:
    """Find GPUs by NVML where pynvml is installed, else by the files of the driver, else on the PCI bus.

    Examples
    --------
    >>> find_cards(Path("/nowhere")).names
    ()
    """
    cards = _by_driver(root) or _on_bus(root)
    return (_by_nvml(cards) or cards) if cards.driver and root == Path("/") else cards


def _by_nvml(cards: GraphicsCards) -> GraphicsCards | None:
    """Ask NVML; None where it is missing or finds the same trouble as the files."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        mismatch = "mismatch" in str(error).lower()
        return GraphicsCards(cards.names, cards.driver, cards.closed, str(error)) if mismatch else None
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        names = tuple(str(pynvml.nvmlDeviceGetName(handle)) for handle in handles)
        return GraphicsCards(names, str(pynvml.nvmlSystemGetDriverVersion()), cards.closed) if names else None
    except pynvml.NVMLError as error:  # a GPU that has fallen off the bus
        return GraphicsCards(cards.names, cards.driver, cards.closed, str(error))
    finally:
        pynvml.nvmlShutdown()


def _by_driver(root: Path) -> GraphicsCards | None:
    files = sorted((root / "proc/driver/nvidia/gpus").glob("*/information"))
    if not files:
        return None
    facts = [dict(re.findall(r"^([^:\n]+):\s*(.*?)\s*$", _text(file), re.MULTILINE)) for file in files]
    version = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", _text(root / "proc/driver/nvidia/version"))
    nodes = [root / f"dev/nvidia{item.get('Device Minor', '')}" for item in facts]
    return GraphicsCards(
        tuple(item.get("Model", "NVIDIA GPU") for item in facts),
        version[1] if version else "of unknown version",
        not any(_opens(node) for node in nodes),
    )


def _on_bus(root: Path) -> GraphicsCards:
    found = [
        device.name
        for device in sorted((root / "sys/bus/pci/devices").glob("*"))
        if _text(device / "vendor").strip() == _NVIDIA and _text(device / "class").startswith(_DISPLAY)
    ]
    return GraphicsCards(tuple(f"NVIDIA GPU at {name}" for name in found))


def _opens(node: Path) -> bool:
    """Tell whether a device file can be opened: control groups refuse it whatever its permissions say."""
    try:
        os.close(os.open(node, open_flags("O_RDWR", "O_CLOEXEC")))
    except OSError:
        return False
    return True


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
