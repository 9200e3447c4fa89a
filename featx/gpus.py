"""The GPUs that this process may use, their free memory, and how full memory is recognised.

NVIDIA's management library is asked through `pynvml` (package nvidia-ml-py). It opens no context on a GPU, so that
looking costs no GPU memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from featx.errors import ConfigError, FeatxError

__all__ = [
    "MIB",
    "Device",
    "Gpu",
    "memory_error",
    "most_free",
    "parse_device",
    "set_gpu_defaults",
    "visible_gpus",
]

MIB = 1 << 20
"""Bytes of a MB, as nvidia-smi counts them."""

_DRIVER = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Device:
    """Where networks run: ``"cpu"`` or ``"gpu"``, and which of several GPUs (None for the one with most free memory)."""

    kind: str = "cpu"
    index: int | None = 0

    def __str__(self) -> str:
        return f"{self.kind}:{'any' if self.index is None else self.index}"


def parse_device(text: str) -> Device | None:
    """Read ``auto`` (which gives None), ``cpu``, ``gpu``, ``gpu:N`` or ``gpu:any``.

    Examples
    --------
    >>> str(parse_device("gpu:1"))
    'gpu:1'
    """
    kind, _, index = text.lower().partition(":")
    if text == "auto":
        return None
    if (kind, index) == ("gpu", "any"):
        return Device("gpu", None)
    if kind not in ("cpu", "gpu") or not (index.isdigit() or (index == "" and ":" not in text)):
        raise ConfigError(
            f"The 'device' parameter must be auto, cpu, gpu, gpu:N or gpu:any. Got {text!r} instead."
        )
    return Device(kind, int(index or 0))


@dataclass(frozen=True)
class Gpu:
    """A GPU that this process may use.

    Attributes
    ----------
    index : int
        Position among the GPUs that this process may use, from 0.
    uuid : str
        The driver's identifier, such as ``GPU-5d3c...``; empty if it is not known.
    name : str
        Model.
    free, total : int or None
        Bytes of memory; None if they are not known.
    utilisation : int or None
        Percent of the last moments in which something ran on it; None if it is not known.
    """

    index: int
    uuid: str
    name: str
    free: int | None = None
    total: int | None = None
    utilisation: int | None = None

    def __str__(self) -> str:
        if self.free is None or self.total is None:
            return f"gpu:{self.index} ({self.name}, memory unknown)"
        return f"gpu:{self.index} ({self.name}, {self.free // MIB} of {self.total // MIB} MB free)"


def visible_gpus() -> tuple[Gpu, ...]:
    """List the GPUs that this process may use: all, or those of ``CUDA_VISIBLE_DEVICES``, in its order.

    Returns
    -------
    tuple of Gpu
        In the order of nvidia-smi where the variable is not set. Without nvidia-ml-py the driver's files in ``/proc``
        tell the GPUs, and their memory and utilisation are None.

    Notes
    -----
    As in CUDA, whatever follows an unknown name in the variable is left out, and a repeated name leaves none.

    Examples
    --------
    >>> [gpu.index for gpu in visible_gpus()] == list(range(len(visible_gpus())))
    True
    """
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = None if wanted is None else [name.strip() for name in wanted.split(",")]
    with _nvml() as nvml:
        found = _driver_gpus(_DRIVER) if nvml is None else _nvml_gpus(nvml, names or ())
    if names is None:
        return tuple(gpu for gpu in found if not gpu.uuid.startswith("MIG-"))
    chosen: list[Gpu] = []
    for name in names:
        gpu = _named(found, name)
        if gpu is None:
            break
        chosen.append(gpu)
    if len(set(chosen)) < len(chosen):
        return ()
    return tuple(replace(gpu, index=place) for place, gpu in enumerate(chosen))


def _named(gpus: Sequence[Gpu], name: str) -> Gpu | None:
    """Find a GPU by its number, or by the beginning of its UUID if only one begins so."""
    if name.isdigit():
        whole = [gpu for gpu in gpus if not gpu.uuid.startswith("MIG-")]
        return whole[int(name)] if int(name) < len(whole) else None
    fitting = [gpu for gpu in gpus if len(name) > len("GPU-") and gpu.uuid.startswith(name)]
    return fitting[0] if len(fitting) == 1 else None


@contextmanager
def _nvml() -> Iterator[Any | None]:
    """Open the management library; None where it, or a driver, is missing."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _nvml_gpus(nvml: Any, names: Sequence[str]) -> list[Gpu]:
    """List whole GPUs, and those slices of GPUs (MIG) that are named."""
    handles = [nvml.nvmlDeviceGetHandleByIndex(place) for place in range(nvml.nvmlDeviceGetCount())]
    for name in names:
        if name.startswith("MIG-"):
            handles += [
                handle
                for handle in [_asked(nvml, nvml.nvmlDeviceGetHandleByUUID, name)]
                if handle is not None
            ]
    return [_nvml_gpu(nvml, place, handle) for place, handle in enumerate(handles)]


def _nvml_gpu(nvml: Any, place: int, handle: Any) -> Gpu:
    memory = _asked(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _asked(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    return Gpu(
        place,
        str(_asked(nvml, nvml.nvmlDeviceGetUUID, handle) or ""),
        str(_asked(nvml, nvml.nvmlDeviceGetName, handle) or "unknown GPU"),
        None if memory is None else int(memory.free),
        None if memory is None else int(memory.total),
        None if rates is None else int(rates.gpu),
    )


def _asked(nvml: Any, ask: Callable[[Any], Any], of: Any) -> Any:
    """Ask for a fact; None where the GPU does not tell it."""
    try:
        return ask(of)
    except nvml.NVMLError:
        return None


def _driver_gpus(folder: Path) -> list[Gpu]:
    """List GPUs by the driver's files; the folders are named by bus address, which gives nvidia-smi's order."""
    found = []
    for place, path in enumerate(sorted(folder.glob("*/information"))):
        facts = dict(re.findall(r"^([^:\n]+):[ \t]*(.*?)[ \t]*$", path.read_text(errors="replace"), re.M))
        uuid = facts.get("GPU UUID", "")
        found.append(Gpu(place, "" if "?" in uuid else uuid, facts.get("Model", "unknown GPU")))
    return found


def most_free(gpus: Sequence[Gpu], least: int = 0) -> Gpu | None:
    """Choose the GPU with most free memory; of equal ones the least utilised, then the first.

    Parameters
    ----------
    gpus : sequence of Gpu
        What `visible_gpus` returned.
    least : int
        Bytes that must be free.

    Returns
    -------
    Gpu or None
        None if no GPU is known to have so much.

    Examples
    --------
    >>> most_free([Gpu(0, "GPU-a", "A", 1, 9), Gpu(1, "GPU-b", "A", 5, 9)]).index
    1
    """
    roomy = [gpu for gpu in gpus if gpu.free is not None and gpu.free >= least]
    return min(roomy, key=lambda gpu: (-(gpu.free or 0), gpu.utilisation or 0, gpu.index), default=None)


def set_gpu_defaults() -> None:
    """Set what libraries read when they first use a GPU; what is set already stays.

    JAX does not reserve three quarters of each GPU, and CUDA numbers GPUs as nvidia-smi does.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


# How full memory is recognised: library, class of the error or of one of its bases, and words of its message.
_MEMORY_ERRORS = (
    ("Python", "MemoryError", ""),
    ("TensorFlow", "ResourceExhaustedError", ""),
    ("PyTorch", "OutOfMemoryError", ""),
    ("JAX", "JaxRuntimeError", "resource_exhausted"),
    ("JAX", "XlaRuntimeError", "resource_exhausted"),
    ("CUDA", "Exception", "resource_exhausted"),
    ("CUDA", "Exception", "out of memory"),
    ("CUDA", "Exception", "out_of_memory"),
    ("CUDA", "Exception", "_alloc_failed"),
)


def memory_error(error: BaseException) -> str:
    """Recognise what libraries raise when memory is full.

    Returns
    -------
    str
        Library and first line of the message; empty for any other error, and for those of featx.

    Examples
    --------
    >>> memory_error(MemoryError("no room"))
    'Python: no room'
    >>> memory_error(ValueError("no room"))
    ''
    """
    if isinstance(error, FeatxError):
        return ""
    classes = {kind.__name__ for kind in type(error).__mro__}
    text = str(error)
    for library, kind, words in _MEMORY_ERRORS:
        if kind in classes and words in text.lower():
            first = " ".join((text.strip() or type(error).__name__).splitlines()[0].split())
            return f"{library}: {first[:160]}"
    return ""
