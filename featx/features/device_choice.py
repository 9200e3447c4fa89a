"""Which device runs the networks: the choice, waiting for a GPU, and what each backend of Keras has to be told.

GPUs are chosen before a backend uses one, since a backend opens a context of some hundred MB on each GPU it sees.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from featx.errors import ConfigError
from featx.gpu_queue import QueueTicket, wait_for_gpu
from featx.gpus import MIB, Device, Gpu, most_free, visible_gpus
from featx.options import DeviceOptions
from featx.progress import Progress

from .engines import keras_backend

__all__ = ["TakenDevice", "choose_device", "clear_device_memory", "take_device"]

# What this process was given before: the GPU's UUID for each text of the option `device`, and for each GPU the MB that
# were waited for. Backends keep what they have allocated, so that the process stays with its GPU, and has that memory.
_given: dict[str, str] = {}
_granted: dict[str, int] = {}


def _nothing() -> None:
    """Stand in for the release of a place in the queue, where there was none."""


@dataclass(frozen=True)
class TakenDevice:
    """A device that may be used.

    Attributes
    ----------
    device : Device or None
        The device; None for all that there are.
    name : str
        Model of the GPU, or ``"cpu"``.
    allocated : callable
        To be called once its memory is allocated: the next job that waits for a GPU may then look for room.
    """

    device: Device | None
    name: str = "cpu"
    allocated: Callable[[], None] = _nothing

    @property
    def one(self) -> Device:
        """The device, where one was asked for."""
        assert self.device is not None
        return self.device


@contextmanager
def take_device(
    options: DeviceOptions, progress: Progress, *, all_gpus: bool = False
) -> Iterator[TakenDevice]:
    """Choose a device, wait for its memory if that is wanted, and set its limits.

    With `all_gpus` the device ``auto`` means all GPUs, unless one is waited for.

    Raises
    ------
    ConfigError
        If there is no such device, or its free memory is needed and not known.
    """
    wanted = options.wanted_device
    if wanted is not None and wanted.kind == "cpu":
        _hide(options, "-1")
        yield TakenDevice(wanted)
        return
    if wanted is None and all_gpus and not options.wait_gpu:
        _before_use(options)
        _limit(options, range(_count_gpus()), progress)
        yield TakenDevice(None, _names(visible_gpus()))
        return
    gpu, ticket = _choose_gpu(options, wanted, progress)

    def allocated() -> None:
        if gpu is not None and ticket is not None:
            _granted[gpu.uuid] = options.wait_gpu or 0
            ticket.release()

    try:
        device = _open(options, wanted, gpu)
        if device.kind == "gpu":
            _limit(options, [device.index or 0], progress)
        if device.kind == "cpu" or gpu is None:
            yield TakenDevice(device, device.kind, allocated)
            return
        unknown = "; the package nvidia-ml-py would tell how much is free" if gpu.free is None else ""
        progress.say(f"using {gpu}{unknown}")
        yield TakenDevice(device, gpu.name, allocated)
    finally:
        if ticket is not None:
            ticket.release()


def _open(options: DeviceOptions, wanted: Device | None, gpu: Gpu | None) -> Device:
    """Let the backend of Keras look for GPUs, and name the chosen one as the backend does."""
    hidden = gpu is not None and bool(gpu.uuid) and _hide(options, gpu.uuid)
    _before_use(options)
    if gpu is not None and hidden and _count_gpus() == 1:
        gpu = replace(gpu, index=0)
    return choose_device(Device("gpu", None) if options.wait_gpu and wanted is None else wanted, gpu)


def _names(gpus: Sequence[Gpu]) -> str:
    return ", ".join(gpu.name for gpu in gpus) or "cpu"


def _choose_gpu(
    options: DeviceOptions, wanted: Device | None, progress: Progress
) -> tuple[Gpu | None, QueueTicket | None]:
    """Choose a GPU by what its driver tells; None where it tells nothing."""

    def look() -> tuple[Gpu, ...]:
        gpus = visible_gpus()
        same = tuple(gpu for gpu in gpus if gpu.uuid and gpu.uuid == _given.get(options.device))
        if same or wanted is None or wanted.index is None:
            return same or gpus
        return gpus[wanted.index : wanted.index + 1]

    ticket = None
    gpus = look()
    if options.wait_gpu:
        gpu = next((gpu for gpu in gpus if _granted.get(gpu.uuid, 0) >= options.wait_gpu), None)
        if gpu is None:
            gpu, ticket = wait_for_gpu(options.wait_gpu, look, progress)
            ticket.release_later()
    else:
        gpu = _pick(options, gpus)
    if gpu is not None:
        _given[options.device] = gpu.uuid
    return gpu, ticket


def _pick(options: DeviceOptions, gpus: tuple[Gpu, ...]) -> Gpu | None:
    gpu = most_free(gpus) or next(iter(gpus), None)
    if len(gpus) > 1 and gpu is not None and gpu.free is None and options.device != "auto":
        raise ConfigError(
            "The device 'gpu:any' needs the free memory of GPUs, which is unknown without the package nvidia-ml-py; run "
            "`pip install 'featx[gpu]'`, or give gpu:N"
        )
    return gpu


def _hide(options: DeviceOptions, names: str) -> bool:
    """Hide all other GPUs from a process that does nothing else, before its backend looks for GPUs.

    PyTorch looks when it is imported, and opens contexts on the GPUs that it uses only.
    """
    if not options.own_process or "torch" in sys.modules:
        return False
    os.environ["CUDA_VISIBLE_DEVICES"] = names
    return True


def choose_device(wanted: Device | None, gpu: Gpu | None = None) -> Device:
    """Choose a device that Keras can use: the wanted one, or (for None) a GPU where there is one, else the CPU.

    Parameters
    ----------
    wanted : Device or None
        What was asked for.
    gpu : Gpu, optional
        The GPU that was chosen for it.

    Raises
    ------
    ConfigError
        If a GPU is wanted that Keras does not find.
    """
    if wanted is not None and wanted.kind == "cpu":
        return wanted
    found = _count_gpus()
    if wanted is None and not found:
        return Device("cpu")
    index = gpu.index if gpu is not None else (wanted.index or 0) if wanted is not None else 0
    if index >= found:
        raise ConfigError(
            f"The 'device' parameter is {wanted or 'auto'}, but Keras on {keras_backend()} finds {found} GPUs; "
            "use --device cpu, or install the GPU build of the backend"
        )
    return Device("gpu", index)


def _count_gpus() -> int:
    """Count the GPUs, and keep TensorFlow from allocating all memory of each."""
    backend = keras_backend()
    if backend == "torch":
        import torch

        return int(torch.cuda.device_count())
    if backend == "jax":
        import jax

        return sum(device.platform == "gpu" for device in jax.devices())
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # A GPU in use has its memory already; one with a limit grows by TF_FORCE_GPU_ALLOW_GROWTH.
        with suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(gpu, True)
    return len(gpus)


def _limit(options: DeviceOptions, indices: Sequence[int], progress: Progress) -> None:
    """Limit the memory that the backend takes of some GPUs; JAX was told before it looked for GPUs."""
    limit = _LIMITS.get(keras_backend())
    if not options.gpu_memory or limit is None:
        return
    try:
        limit(options.gpu_memory, indices)
    except RuntimeError:
        progress.say(
            "warning: --gpu-memory has no effect, since the GPU was used before in this process; start a new process"
        )


def _limit_tensorflow(megabytes: int, indices: Sequence[int]) -> None:
    import tensorflow as tf

    # Without it TensorFlow takes all memory below a limit at once.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    gpus = tf.config.list_physical_devices("GPU")
    for index in indices:
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=megabytes)
        tf.config.set_logical_device_configuration(gpus[index], [limit])


def _limit_torch(megabytes: int, indices: Sequence[int]) -> None:
    from torch import cuda

    for index in indices:
        total = cuda.get_device_properties(index).total_memory
        cuda.set_per_process_memory_fraction(min(1.0, megabytes * MIB / total), index)


def _before_use(options: DeviceOptions) -> None:
    """Tell JAX the limit, which it reads when it first looks for GPUs."""
    if not options.gpu_memory or keras_backend() != "jax":
        return
    totals = [gpu.total for gpu in visible_gpus() if gpu.total is not None]
    if not totals:
        raise ConfigError(
            "The 'gpu_memory' parameter under JAX needs the size of the GPU's memory, which is unknown without the "
            "package nvidia-ml-py; run `pip install 'featx[gpu]'`"
        )
    os.environ["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{min(1.0, options.gpu_memory * MIB / min(totals)):.4f}"


_LIMITS: dict[str, Callable[[int, Sequence[int]], None]] = {
    "tensorflow": _limit_tensorflow,
    "torch": _limit_torch,
}


def clear_device_memory() -> None:
    """Give back the memory of networks that nothing refers to any more."""
    keras: Any = sys.modules.get("keras")
    if keras is not None:
        keras.backend.clear_session()
    # Keras' models are full of reference cycles.
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    jax: Any = sys.modules.get("jax")
    if jax is not None:
        jax.clear_caches()
