"""Checks of the backend of Keras, OpenVINO, the arithmetic of the processor and GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from featx.machine import versions

from .check_rows import CheckContext, CheckRow, note, ok, problem
from .graphics import GraphicsCards, find_cards

__all__ = ["check_backend", "check_gpus", "check_openvino", "check_precision"]

# Backend to the command that installs its GPU build.
_GPU_BUILDS = {
    "tensorflow": "pip install 'featx[gpu]'",
    "jax": "pip install 'jax[cuda12]'",
    "torch": "pip install torch",
}
_CHOOSE_BACKEND = f"Set KERAS_BACKEND to one of {', '.join(_GPU_BUILDS)}."
# CUDA 12 runs on this driver and newer ones.
_OLDEST_DRIVER = 525
_CAPABILITIES = {"FP32": "float32", "BF16": "bfloat16", "FP16": "float16"}
# Flags of /proc/cpuinfo, of x86 and of ARM.
_FLAGS = {"bfloat16": {"avx512_bf16", "amx_bf16", "bf16"}, "float16": {"avx512_fp16", "amx_fp16", "fphp"}}


def check_backend(context: CheckContext) -> Iterator[CheckRow]:
    """Check that Keras can be imported with its backend, in a process of its own."""
    done = context.trial("backend")
    given = context.environment.get("KERAS_BACKEND", "")
    if "error" in done:
        remedy = _CHOOSE_BACKEND
        if given in {"", *_GPU_BUILDS}:
            wanted = given or "tensorflow"
            remedy = f"Run `pip install --force-reinstall keras {wanted}` in the environment of featx."
        yield problem("Keras backend", f"{given or 'Keras'} cannot be imported: {done['error']}", remedy)
        return
    name = str(done["name"])
    if name not in _GPU_BUILDS:
        yield problem("Keras backend", f"{name}, which featx does not run on", _CHOOSE_BACKEND)
        return
    found = versions(["keras", *_GPU_BUILDS])
    others = [f"{other} {found[other]}" for other in _GPU_BUILDS if other in found and other != name]
    text = f"{name} {found.get(name, '')} with Keras {found.get('keras', '')}".replace("  ", " ")
    chosen = "KERAS_BACKEND" if given else "the settings of Keras"
    more = f"; also installed: {', '.join(others)}" if others else ""
    yield ok("Keras backend", f"{text}, chosen by {chosen}{more}", {"name": name})


def check_openvino(context: CheckContext) -> Iterator[CheckRow]:
    """Check that OpenVINO can be imported, if it is installed."""
    if "openvino" not in versions(["openvino"]):
        yield ok(
            "OpenVINO",
            "not installed; Keras computes features on the CPU, more slowly (`pip install openvino`)",
        )
        return
    done = context.trial("openvino")
    if "error" in done:
        yield problem(
            "OpenVINO",
            f"cannot be used: {done['error']}",
            "Run `pip install --force-reinstall openvino`, or give `featx extract` --engine keras.",
        )
        return
    yield ok("OpenVINO", f"{versions(['openvino'])['openvino']}, on {', '.join(done['devices'])}")


def check_precision(context: CheckContext) -> Iterator[CheckRow]:
    """Name the precisions that the processor computes in."""
    capabilities = context.trial("openvino").get("capabilities")
    if capabilities is not None:
        found = [name for flag, name in _CAPABILITIES.items() if flag in capabilities]
    else:
        flags = _processor_flags(context)
        found = ["float32", *(name for name, some in _FLAGS.items() if flags & some)]
    yield ok("precision of the CPU", ", ".join(found), {"precisions": found})


def _processor_flags(context: CheckContext) -> set[str]:
    try:
        lines = (context.root / "proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return {
        flag
        for line in lines
        if line.lower().startswith(("flags", "features"))
        for flag in line.partition(":")[2].split()
    }


def check_gpus(context: CheckContext) -> Iterator[CheckRow]:
    """Compare the GPUs of the machine with those that the backend of Keras sees."""
    cards = find_cards(context.root)
    trial = context.trial("gpus")
    seen = int(trial.get("seen", 0))
    figures = {"gpus": list(cards.names), "driver": cards.driver, "seen": seen}
    shown = f"{', '.join(cards.names)}; " + (f"driver {cards.driver}" if cards.driver else "no driver")
    backend = str(context.trial("backend").get("name", "tensorflow"))
    hidden = context.environment.get("CUDA_VISIBLE_DEVICES")
    if seen:
        yield ok("GPUs", f"{shown if cards.names else 'found'}; {backend} sees {seen}", figures)
    elif not cards.names:
        yield ok("GPUs", "none; networks run on the CPU", figures)
    elif hidden is not None and hidden.strip() in ("", "-1", "NoDevFiles"):
        yield note(
            "GPUs", f"{shown}; hidden by CUDA_VISIBLE_DEVICES={hidden}", "Unset it to use them.", figures
        )
    elif cards.closed:
        text = f"{shown}; this process was given none of them"
        yield note("GPUs", text, "Ask the batch system or the container for a GPU.", figures)
    else:
        error = cards.error or trial.get("error", "")
        text = f"{shown}; {backend} sees none{error and ': ' + str(error)}"
        yield problem("GPUs", text, _gpu_remedy(cards, backend), figures)


def _gpu_remedy(cards: GraphicsCards, backend: str) -> str:
    if not cards.driver:
        return "Install the NVIDIA driver, or start the container with its GPUs (`docker run --gpus all`)."
    if cards.error:
        return "Restart the machine, so that the kernel loads the driver that was installed last."
    number = cards.driver.partition(".")[0]
    if number.isdigit() and int(number) < _OLDEST_DRIVER:
        return f"Install an NVIDIA driver of version {_OLDEST_DRIVER} or newer, which CUDA 12 needs."
    return f"Install the GPU build of the backend: `{_GPU_BUILDS.get(backend, _GPU_BUILDS['tensorflow'])}`."
