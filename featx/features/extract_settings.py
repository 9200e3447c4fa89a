"""Options of `featx extract`, each written once. This file imports no heavy library, so that help stays fast."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.errors import ConfigError
from featx.machine import usable_cores
from featx.options import REQUIRED, DeviceOptions, ImageOptions, Options, choice, switch, text, texts, whole
from featx.progress import Progress, Silent

from .low_precision.bfloat16_networks import refused_networks

__all__ = [
    "ENGINES",
    "ON_ERROR",
    "PRECISIONS",
    "VIEW_POOLS",
    "EngineOptions",
    "ExtractSettings",
    "FeatureOptions",
    "check_arm",
    "shard_of",
]

ENGINES = ("auto", "keras", "openvino")
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
VIEW_POOLS = ("mean", "keep")
ON_ERROR = ("finish", "skip", "fail")
# The names in `featx.images` and `featx.zoo`, which import numpy and Pillow; a test compares them.
POOLS = ("avg", "max", "gem", "flatten", "cls")
PREPARATIONS = ("resize", "center-square", "atlas", "retina")
VIEW_RANGES = ("none", "paper", "turns")

_LONGEST_NAME = 100
_READ_AHEAD_BYTES = 256 << 20


def shard_of(text: str) -> tuple[int, int]:
    """Read a shard ``I/N`` with I from 1 to N.

    Examples
    --------
    >>> shard_of("2/3")
    (2, 3)
    """
    part, _, whole = text.partition("/")
    if not (part.isdecimal() and whole.isdecimal() and 1 <= int(part) <= int(whole)):
        raise ConfigError(f"The 'shard' parameter must be I/N with I from 1 to N. Got {text!r} instead.")
    return int(part), int(whole)


def check_arm(name: str) -> None:
    """Refuse a name of an arm that is not a good file name."""
    good = name.strip() == name and name.isprintable() and not name.startswith(".")
    if not good or not 0 < len(name) <= _LONGEST_NAME or any(char in name for char in "/\\"):
        raise ConfigError(
            f"The 'arm' parameter must be a name of 1 to {_LONGEST_NAME} characters without path separators that "
            f"does not begin with a dot or a space. Got {name!r} instead."
        )


@dataclass(frozen=True, kw_only=True)
class _Networks(Options):
    """Which networks run."""

    backbone: str | Sequence[str] = texts(
        REQUIRED,
        "Pre-trained network of the zoo, or module:function of your own (docs/own-backbone.md); may be repeated. Networks of one input size and preparation share one pass "
        "over the images.",
        short="-m",
    )
    weights: str | Path | Sequence[str | Path] = texts(
        ("imagenet",),
        "Weights source: random[:SEED], imagenet, preset, a weights file, a fine-tuning run, or a folder of such runs "
        "(a network for each fold); may be repeated. With several backbones: one source for all, or one each in the "
        "same order.",
        short="-w",
        types=(Path,),
    )


@dataclass(frozen=True, kw_only=True)
class EngineOptions(DeviceOptions):
    """How the forward pass runs. None of it decides a value."""

    engine: str = choice("auto", ENGINES, "Library that runs the forward pass.")
    batch_size: int = whole(
        32, "Images of a batch; the last batch is padded to this number.", low=1, short="-b"
    )
    threads: int | None = whole(
        None, "Number of threads of the forward pass.", low=1, default_text="the engine's"
    )


@dataclass(frozen=True, kw_only=True)
class FeatureOptions(EngineOptions):
    """How a network turns an image into features; what decides their values goes into recipes."""

    layers: Sequence[str] = texts(
        (), "Layer of the network; may be repeated.", flag="layer", default_text="penultimate layer"
    )
    pool: str = choice("avg", POOLS, "How a feature map becomes a vector.")
    image_size: int | None = whole(
        None,
        "Input size in pixels.",
        low=1,
        default_text="as fine-tuned weights were trained, else the network's own",
    )
    preparation: str | None = choice(
        None,
        PREPARATIONS,
        "Which part of an image is resized to the input size.",
        default_text="as fine-tuned weights were trained, else resize",
    )
    precision: str | None = choice(
        None,
        PRECISIONS,
        "Arithmetic of the forward pass. tf32 is float32 whose products an NVIDIA GPU rounds to ten bits of mantissa.",
        default_text="as fine-tuned weights were trained, else float32",
    )
    force_precision: bool = switch(
        False,
        "Compute in bfloat16 also where it was found to change an AUC too much or to save too little time "
        f"(docs/extraction.md): {refused_networks()}.",
    )
    views: int = whole(
        1,
        "Number of augmented views of each image (test-time augmentation), from a Halton sequence; 1 for the image "
        "as it is.",
        low=1,
    )
    view_ranges: str = choice("paper", VIEW_RANGES, "Augmentation ranges of the views.")
    view_pool: str = choice("mean", VIEW_POOLS, "Average the features of an image's views, or keep them all.")

    @property
    def mean(self) -> bool:
        """Whether the features of an image's views are averaged."""
        return self.views > 1 and self.view_pool == "mean"

    def chosen_engine(self, precision: str = "float32") -> str:
        """Choose the engine: of ``auto``, OpenVINO on a CPU where it is installed, else Keras.

        Raises
        ------
        ConfigError
            If OpenVINO is wanted and not installed, or wanted on a GPU or for TF32.
        """
        installed = importlib.util.find_spec("openvino") is not None
        wanted = self.wanted_device
        on_gpu = wanted.kind == "gpu" if wanted else bool(self.wait_gpu) or Path("/dev/nvidiactl").exists()
        if self.engine == "auto":
            return "openvino" if installed and not on_gpu and precision != "tf32" else "keras"
        if self.engine == "openvino" and precision == "tf32":
            raise ConfigError(
                "The engine 'openvino' has no tf32 arithmetic; use --engine keras on an NVIDIA GPU"
            )
        if self.engine == "openvino" and not installed:
            raise ConfigError(
                "The engine 'openvino' is not installed; run `pip install openvino`, or use --engine keras"
            )
        if self.engine == "openvino" and (wanted or self.wait_gpu) and on_gpu:
            wait = " and wait_gpu" if self.wait_gpu else ""
            raise ConfigError(
                f"The engine 'openvino' runs on the CPU only. Got device {self.device!r}{wait}; use --engine keras"
            )
        return self.engine


@dataclass(frozen=True, kw_only=True)
class ExtractSettings(ImageOptions, FeatureOptions, _Networks):
    """Options of `featx.extract`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds.

    Examples
    --------
    >>> ExtractSettings(backbone="tiny", weights="random", views=4).mean
    True
    """

    on_error: str = choice(
        "finish",
        ON_ERROR,
        "What an image that cannot be used leads to. finish: an error after all other images are stored; skip: a "
        "warning; fail: an error at once, with what is computed by then stored.",
    )
    dry_run: bool = switch(False, "Report what would be done, and stop.")
    shard: str | None = text(
        None,
        "Extract the I-th of N parts of the images only, whole batches of distinct images; for several machines at once.",
        metavar="I/N",
    )
    arm: str | None = text(
        None,
        "Name of the arm. The file arms/NAME.json in the cache folder lists its stores, and `featx train-svm --arm NAME` "
        "finds them.",
        metavar="NAME",
    )

    def check(self) -> None:
        """Refuse a shard, an arm or a device that cannot be named."""
        super().check()
        if self.shard is not None:
            shard_of(self.shard)
        if self.arm is not None:
            check_arm(self.arm)

    @property
    def home(self) -> Path:
        """Folder of caches."""
        return Path(self.cache)

    @property
    def receiver(self) -> Progress:
        """Receiver of progress and messages."""
        return self.progress or Silent()

    @property
    def cores(self) -> int:
        """Number of reader threads: as given, or one for each core that this process may use."""
        return usable_cores() if self.workers is None else self.workers

    def ahead(self, side: int) -> int:
        """Choose how many images of this side may wait for the network, within 256 MB of pixels."""
        fitting = _READ_AHEAD_BYTES // (3 * side * side * self.views)
        return max(self.cores + 1, min(2 * self.batch_size // self.views + self.cores, fitting))
