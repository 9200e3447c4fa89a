"""An export in a process of its own: TensorFlow's memory is given back before the network runs.

What to do is pickled for the process, which answers with a line of JSON: the error that featx raised there, or nothing.
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
from featx.process import quieten_tensorflow

from .network_build import NetworkBuild

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = ["export_apart"]

# TensorFlow must not be forked, and a new interpreter does not run the caller's script again, as multiprocessing would.
_COMMAND = (sys.executable, "-P", "-m", "featx.features.exports.export_process")


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
        What building or exporting raised there; `ConfigError` if the process ended otherwise.
    """
    done = subprocess.run(
        command, input=pickle.dumps((export, build, folder.absolute())), capture_output=True, check=False
    )
    answer = _answer(done.stdout)
    if answer is None:
        raise ConfigError(
            f"{build.backbone.name} cannot be exported to OpenVINO ({_end(done)}); use --engine keras"
        )
    if answer:
        raise getattr(errors, answer["error"])(answer["message"])


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
        name = signal.Signals(-done.returncode).name
        return f"its process was ended by {name}, as the system does where memory runs out"
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
    return f"its process ended with exit code {done.returncode}: {' '.join(last[0].split())[:200]}"


def main() -> None:
    """Do what stands on the standard input, and answer on the standard output."""
    quieten_tensorflow()
    answers = os.dup(1)
    # Whatever libraries print must not stand beside the answer.
    os.dup2(2, 1)
    export, build, folder = pickle.load(sys.stdin.buffer)  # written by `export_apart`
    answer = {}
    try:
        export(build(), folder)
    except FeatxError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    os.write(answers, json.dumps(answer).encode())


if __name__ == "__main__":
    main()
