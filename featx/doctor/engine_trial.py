"""A trial of the engines in a process of its own, so that a library that crashes is a row of the table.

The process prints a line of JSON for each stage: the backend of Keras, the GPUs that it sees, OpenVINO, an extraction
of two synthetic images by a small network, and the speed of the forward pass of MobileNet.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from featx.files import aside_folder
from featx.process import quieten_tensorflow

from .check_rows import Trials, existing

__all__ = ["ask_engines"]

_COMMAND = (sys.executable, "-P", "-m", "featx.doctor.engine_trial")
_SECONDS = 180.0
_BATCH, _BATCHES = 8, 3
# Of the synthetic images, in pixels; they are enlarged to the input size.
_SIDE = 64


def ask_engines(
    cache: Path,
    *,
    quick: bool = False,
    environment: Mapping[str, str] | None = None,
    command: Sequence[str] = _COMMAND,
    seconds: float = _SECONDS,
) -> Trials:
    """Run the trial.

    Parameters
    ----------
    cache : Path
        Folder of caches, where the extraction writes to a temporary folder.
    quick : bool
        Whether to leave out the extraction and the speed.
    environment : mapping of str to str, optional
        Environment variables of the process; those of this one by default.
    command : sequence of str
        The process to run.
    seconds : float
        Time after which the process is ended.

    Returns
    -------
    mapping of str to mapping
        Stage to what was found; ``error`` says why a stage failed or was not reached.
    """
    stages = [name for name, timed in _STAGES if not (timed and quick)]
    question = json.dumps({"cache": str(cache), "stages": stages})
    try:
        done = subprocess.run(
            [*command, question],
            env=dict(os.environ if environment is None else environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        printed, why = done.stdout, _end(done.returncode, done.stderr)
    except subprocess.TimeoutExpired as error:
        printed, why = error.stdout or b"", f"no answer within {seconds:g} s"
    found: dict[str, Mapping[str, Any]] = {}
    for line in printed.decode("utf-8", "replace").splitlines():
        if line.startswith('{"stage"'):
            answer = json.loads(line)
            found[answer.pop("stage")] = answer
    for stage in stages:
        if stage not in found:
            found[stage] = {"error": why}
            why = f"not tried, because of the failure before ({stage.replace('_', ' ')})"
    return found


def _end(code: int, stderr: bytes) -> str:
    """Say how a process ended."""
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name}"
    last = stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
    return f"the process ended with exit code {code} ({last[0][:200]})"


def _backend(cache: Path) -> dict[str, Any]:
    import keras

    name = str(keras.config.backend())
    # A backend without arithmetic of its own is found out by the first product.
    keras.ops.convert_to_numpy(keras.ops.ones((2, 2)) @ keras.ops.ones((2, 2)))
    return {"name": name}


def _gpus(cache: Path) -> dict[str, Any]:
    import keras

    return {"seen": _COUNTS[keras.config.backend()]()}


def _tensorflow_gpus() -> int:
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def _torch_gpus() -> int:
    import torch

    return int(torch.cuda.device_count())


def _jax_gpus() -> int:
    import jax

    return sum(device.platform == "gpu" for device in jax.devices())


_COUNTS: dict[str, Callable[[], int]] = {
    "tensorflow": _tensorflow_gpus,
    "torch": _torch_gpus,
    "jax": _jax_gpus,
}


def _openvino(cache: Path) -> dict[str, Any]:
    import openvino as ov

    core = ov.Core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return {"devices": list(core.available_devices), "capabilities": list(capabilities)}


def _round_trip(cache: Path) -> dict[str, Any]:
    import numpy as np

    from featx.features import FeatureStore

    with aside_folder(existing(cache) / "doctor") as folder:
        done = _extracted(folder, "tiny", images=2)
        store = FeatureStore(done.store)
        features = store.read(sorted(store.keys()))
        return {
            "images": len(features),
            "width": store.width,
            "finite": bool(np.isfinite(features).all()),
            "constant": bool((features == features[0]).all()),
        }


def _forward(cache: Path) -> dict[str, Any]:
    with aside_folder(existing(cache) / "doctor") as folder:
        done = _extracted(folder, "mobilenet", images=_BATCH * _BATCHES)
        rate = done.computed / done.seconds["forward"]
        return {
            "images_per_second": round(rate, 2),
            "engine": done.engine,
            "device": done.device,
            "batch": _BATCH,
        }


def _extracted(folder: Path, backbone: str, images: int) -> Any:
    from featx.data import draw_dermoscopy
    from featx.features import extract

    manifest = draw_dermoscopy(folder / "images", images=images, size=_SIDE)
    (done,) = extract(
        manifest, backbone=backbone, weights="random", batch_size=_BATCH, cache=folder / "cache"
    )
    return done


# Name of each stage, and whether it is left out of a quick trial.
_STAGES = (("backend", False), ("gpus", False), ("openvino", False), ("round_trip", True), ("forward", True))
_WORK: dict[str, Callable[[Path], dict[str, Any]]] = {
    "backend": _backend,
    "gpus": _gpus,
    "openvino": _openvino,
    "round_trip": _round_trip,
    "forward": _forward,
}


def answer(stage: str, cache: Path) -> dict[str, Any]:
    """Run a stage in this process; an exception becomes its ``error``."""
    try:
        return _WORK[stage](cache)
    except Exception as error:  # libraries raise whatever they meet
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def main() -> None:
    """Run the stages that the command line names."""
    quieten_tensorflow()
    question = json.loads(sys.argv[1])
    for stage in question["stages"]:
        print(json.dumps({"stage": stage, **answer(stage, Path(question["cache"]))}), flush=True)


if __name__ == "__main__":
    main()
