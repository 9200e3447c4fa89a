"""OpenVINO: the network is exported once from Keras and run by streams beside Python.

In float32 on a CPU it was measured at 1.3 to 2 times a compiled TensorFlow function, with outputs within 5e-5 of
the largest feature. Every export is compared with Keras before it is kept.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.digest import canonical, digest, short
from featx.errors import ConfigError
from featx.files import folder_aside, write_json
from featx.machine import usable_cores
from featx.zoo import Cost, count_costs

from .engines import Batch, Outputs, reference_outputs

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = [
    "EXPORTS",
    "TOLERANCE",
    "OpenVinoEngine",
    "export_costs",
    "export_network",
    "exported",
    "is_exported",
]

# Largest difference from Keras, as a fraction of the largest feature, that an export may show.
TOLERANCE = 2e-4

EXPORTS = "openvino"
"""Folder of exports in the folder of caches."""

_MODEL = "model.xml"
_ABOUT = "about.json"
# Version of an export's folder.
_FORMAT = 2
_HINTS = {"float32": ("f32", "FP32"), "bfloat16": ("bf16", "BF16"), "float16": ("f16", "FP16")}
_STREAM_CORES = 4

# OpenVINO's converter reports each export to its makers, without asking, from forked processes that outlive an
# interrupted run. Where its telemetry package cannot be imported, it uses a stub that does nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


def exported(cache: Path, facts: dict[str, Any]) -> Path:
    """Return the folder of a network's export, which need not exist; `facts` (JSON types) decide the network."""
    libraries = {name: version(name) for name in ("keras", "openvino", "featx")}
    key = {**facts, **libraries, "format": _FORMAT}
    return cache / EXPORTS / f"{facts['backbone']}-{short(digest(key))}"


def is_exported(folder: Path) -> bool:
    """Tell whether an export exists; exports are written atomically, so that an existing one is complete."""
    return (folder / _MODEL).is_file()


def export_network(network: Network, folder: Path) -> None:
    """Export a network in float32, after comparing the export with Keras on two noise images.

    Raises
    ------
    ConfigError
        If the network cannot be exported, or the export computes something else.
    """
    name = network.backbone.name
    with folder_aside(folder) as aside:
        try:
            network.model.export(str(aside / "all.xml"), format="openvino", verbose=False)
            _keep_outputs(aside / "all.xml", aside / _MODEL, len(network.layers))
        except Exception as error:  # converters raise whatever they meet
            text = " ".join(str(error).split())[:200]
            raise ConfigError(
                f"{name} cannot be exported to OpenVINO ({text}); use --engine keras"
            ) from error
        worst = _deviation(network, aside / _MODEL)
        if not worst <= TOLERANCE:
            raise ConfigError(
                f"OpenVINO computes other features of {name} than Keras (difference {worst:.1g} of the largest feature); "
                "use --engine keras"
            )
        costs = canonical(count_costs(network.model))
        write_json(aside / _ABOUT, {"backbone": name, "deviation": worst, "costs": costs})


def export_costs(folder: Path) -> tuple[Cost, ...]:
    """Read what each layer of an export costs."""
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    return tuple(Cost(**cost) for cost in about["costs"])


def _keep_outputs(source: Path, target: Path, count: int) -> None:
    """Keep the network's own outputs: the converter adds inner tensors of some networks as further outputs."""
    import openvino as ov

    model = ov.Core().read_model(source)
    wanted = ["Identity:0", *(f"Identity_{place}:0" for place in range(1, count))]
    named = {name: output for output in model.outputs for name in output.get_names()}
    if len(model.outputs) > count and all(name in named for name in wanted):
        results = [named[name].get_node() for name in wanted]
        model = ov.Model(results, model.get_parameters(), model.get_friendly_name())
    ov.save_model(model, target, compress_to_fp16=False)
    del model  # it maps the file of the weights
    for path in (source, source.with_suffix(".bin")):
        path.unlink()


def _deviation(network: Network, model: Path) -> float:
    size = network.image_size
    noise = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    engine = OpenVinoEngine(model.parent, 2, size, precision="float32", threads=None)
    outputs = engine.start(noise)()
    references = reference_outputs(network.model, noise)
    if [output.shape for output in outputs] != [reference.shape for reference in references]:
        return float("inf")
    return max(
        float(np.abs(output - reference).max() / max(np.abs(reference).max(), 1e-12))
        for output, reference in zip(outputs, references, strict=True)
    )


class OpenVinoEngine:
    """An export, run by asynchronous streams.

    `threads` are those of all streams (all cores for None); `networks` that run side by side share them.

    Raises
    ------
    ConfigError
        If the processor has no arithmetic of this precision.
    """

    name = "openvino"

    def __init__(
        self,
        folder: Path,
        batch_size: int,
        image_size: int,
        *,
        precision: str,
        threads: int | None,
        networks: int = 1,
    ) -> None:
        import openvino as ov

        core = ov.Core()
        hint, capability = _HINTS[precision]
        if capability not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ConfigError(
                f"This processor has no {precision} arithmetic; use --precision float32, or --engine keras"
            )
        model = core.read_model(folder / _MODEL)
        model.reshape([batch_size, image_size, image_size, 3])
        steps = ov.preprocess.PrePostProcessor(model)
        steps.input().tensor().set_element_type(ov.Type.u8)
        for place in range(len(model.outputs)):
            steps.output(place).tensor().set_element_type(ov.Type.f32)
        cores = max(1, (threads or usable_cores()) // networks)
        # Each stream holds its own intermediate results; networks side by side keep the cores busy by themselves.
        streams = max(2, cores // _STREAM_CORES) if networks == 1 else 1
        options = {
            # Left to itself it takes bfloat16 wherever the processor has it.
            "INFERENCE_PRECISION_HINT": hint,
            "INFERENCE_NUM_THREADS": cores,
            "NUM_STREAMS": streams,
            # Reader threads run on the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = core.compile_model(steps.build(), "CPU", options)
        # One batch more than there are streams, so that none waits for Python.
        self.in_flight = streams + 1
        self._outputs = len(compiled.outputs)
        self._tensor = ov.Tensor
        self._free = deque(compiled.create_infer_request() for _ in range(self.in_flight))

    def start(self, batch: Batch) -> Callable[[], Outputs]:
        """Start on a batch of pixels; no more than `in_flight` batches may be waited for at a time."""
        request = self._free.popleft()
        request.set_input_tensor(self._tensor(batch, shared_memory=True))
        request.start_async()

        def collect() -> Outputs:
            request.wait()
            outputs = [np.array(request.get_output_tensor(place).data) for place in range(self._outputs)]
            assert batch is not None  # the request reads its memory until here
            self._free.append(request)
            return outputs

        return collect
