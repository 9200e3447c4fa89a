"""An export in a process of its own: TensorFlow's memory is given back before the network runs.

What to do is pickled for the process, which answers with a line of JSON: the class and arguments of an error, or nothing.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx import errors
from featx.errors import ConfigError, FeatxError
from featx.gpus import memory_error
from featx.process import quieten_tensorflow

from .network_build import NetworkBuild

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = ["export_apart"]

# TensorFlow must not be forked, and a new interpreter does not run the caller's script again, as multiprocessing would.
_COMMAND = (sys.executable, "-P", "-m", "featx.features.exports.export_process")

# Full disks and full memory say nothing about the network: they are raised as what they are.
_PASSED_ON: dict[str, type[Exception]] = {"MemoryError": MemoryError, "OSError": OSError}


def export_apart(
    export: Callable[[Network, Path], None],
    build: NetworkBuild,
    folder: Path,
    command: Sequence[str] = _COMMAND,
) -> None:
    """Build a network and call a function of a module with it and a folder, in a process that ends afterwards.

    Raises
    ------
    FeatxError
        What building or exporting raised there; `ConfigError` if the process ended without an answer.
    OSError
        As the process met it, for example where a file may not be read.
    MemoryError
        If memory ran out in a way that Python or a library noticed.
    """
    done = subprocess.run(
        command,
        input=pickle.dumps((export, build, folder.absolute())),
        capture_output=True,
        check=False,
        env=_environment(build),
    )
    answer = _answer(done.stdout)
    if answer is None:
        raise ConfigError(
            f"{build.backbone.name} cannot be exported to OpenVINO ({_end(done)}); use --engine keras"
        )
    if answer:
        kind = _PASSED_ON.get(answer["error"]) or getattr(errors, answer["error"])
        raise kind(*answer["arguments"])


def _environment(build: NetworkBuild) -> dict[str, str]:
    """Hide GPUs that the network is not built on: TensorFlow would take all their memory when it looks at them."""
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"} if build.device.startswith("cpu") else {}
    return {**os.environ, **hidden}


def _answer(printed: bytes) -> dict[str, Any] | None:
    """Read the answer; None if there is none."""
    try:
        found: dict[str, Any] = json.loads(printed)
    except ValueError:
        return None
    return found


def _end(done: subprocess.CompletedProcess[bytes]) -> str:
    """Say how the process ended."""
    if done.returncode < 0:
        return f"its process was ended by {_signal(-done.returncode)}"
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
    return f"its process ended with exit code {done.returncode}: {' '.join(last[0].split())[:200]}"


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:  # real-time signals have no names
        return f"signal {number}"
    return f"{name}, as the system does where memory runs out" if name == "SIGKILL" else name


def _failure(error: Exception) -> dict[str, Any] | None:
    """Describe an error for the answer; None for one that says that this network cannot be exported."""
    if isinstance(error, FeatxError):
        return {"error": type(error).__name__, "arguments": [str(error)]}
    if memory_error(error):
        return {"error": "MemoryError", "arguments": [str(error)]}
    if isinstance(error, OSError):
        told = [error.errno, error.strerror, error.filename] if error.errno else [str(error)]
        return {"error": "OSError", "arguments": told}
    return None


def main() -> None:
    """Do what stands on the standard input, and answer on the standard output."""
    quieten_tensorflow()
    answers = os.dup(1)
    # Whatever libraries print must not stand beside the answer.
    os.dup2(2, 1)
    answer: dict[str, Any] | None = {}
    try:
        export, build, folder = pickle.load(sys.stdin.buffer)  # written by `export_apart`
        export(build(), folder)
    except Exception as error:
        answer = _failure(error)
        if answer is None:
            raise
    # A file's name may be a path.
    os.write(answers, json.dumps(answer, default=str).encode())


if __name__ == "__main__":
    main()
