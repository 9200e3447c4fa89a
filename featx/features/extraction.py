"""Extraction: images of a manifest to rows of feature stores, computing only what the stores lack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featx.data import Manifest, read_manifest
from featx.errors import ConfigError, ExtractionError
from featx.features.job import run_job
from featx.features.passes import ExtractionJob
from featx.features.plan import ON_ERROR, ExtractSettings, shard_of, targets
from featx.features.results import Extraction, failure_message
from featx.progress import Progress, Silent

__all__ = ["Extraction", "extract"]


def extract(
    manifest: Manifest | Path | str,
    *,
    backbone: str | Sequence[str],
    weights: str | Path | Sequence[str | Path] = "imagenet",
    layers: Sequence[str] = (),
    pool: str = "avg",
    image_size: int | None = None,
    preparation: str | None = None,
    precision: str | None = None,
    views: int = 1,
    view_ranges: str = "paper",
    view_pool: str = "mean",
    engine: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    cache: Path | str = "cache",
    root: Path | str | None = None,
    allow_outside: bool = False,
    on_error: str = "finish",
    overwrite: bool = False,
    dry_run: bool = False,
    shard: str | None = None,
    progress: Progress | None = None,
) -> tuple[Extraction, ...]:
    """Compute the features that the stores lack.

    Parameters
    ----------
    manifest : Manifest, Path or str
        The images.
    backbone : str or sequence of str
        Names in the zoo's table. Networks of one input size and preparation share one pass over the pixels.
    weights : str, Path or sequence of these
        ``random``, ``random:SEED``, ``imagenet``, a weights file, a fine-tuning run, or a folder of such runs (a
        network a fold). With several backbones: one source for all, or one each, in the same order.
    layers : sequence of str
        Layers to read, a store each; empty for the penultimate one.
    pool : str
        How feature maps become vectors.
    image_size : int, optional
        Side of the network's input in pixels. Default: what fine-tuned weights were trained with, else the
        backbone's own.
    preparation : str, optional
        Key of `featx.images.prepare.PREPARATIONS`. Default: what fine-tuned weights were trained with, else
        ``resize``.
    precision : {"float32", "tf32", "bfloat16", "float16"}, optional
        Arithmetic of the forward pass. ``tf32`` is float32 whose products an NVIDIA GPU rounds to ten bits of
        mantissa. Default: what fine-tuned weights were trained with, else ``float32``. Another size, preparation
        or precision than the weights were trained with is warned of.
    views : int
        Views of an image, from a Halton sequence over the ranges; 1 for the image as it is.
    view_ranges : str
        Key of `featx.images.augment.PRESETS`.
    view_pool : {"mean", "keep"}
        Whether an image's views are averaged or kept apart.
    engine : {"auto", "keras", "openvino"}
        What runs the forward pass.
    batch_size : int
        Rows of a batch; every batch has this many, the last one is padded.
    workers : int, optional
        Reader threads; one a core if not given.
    threads : int, optional
        Threads of the forward pass; left to the engine if not given.
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
    cache : Path or str
        Folder of caches; stores are in ``features`` below it.
    root : Path or str, optional
        Folder that the manifest's image paths are relative to.
    allow_outside : bool
        Whether image paths may lead out of it.
    on_error : {"finish", "skip", "fail"}
        What a bad image leads to: an error once everything else is stored, nothing but a line in the result, or
        an error at once (what is computed by then is stored).
    overwrite : bool
        Compute again what stands there.
    dry_run : bool
        Say what would be computed, and stop.
    shard : str, optional
        ``"I/N"``: only the I-th of N parts of the images, by content, for several machines at once.
    progress : Progress, optional
        Receiver of progress and messages.

    Returns
    -------
    tuple of Extraction
        One a store: each network's layers in turn.

    Raises
    ------
    InputError
        If an option, the manifest, a backbone, a weights source or a store cannot be used.
    ExtractionError
        If images failed (with ``on_error="finish"`` or ``"fail"``), or features cannot be written.
    """
    if on_error not in ON_ERROR:
        raise ConfigError(
            f"The 'on_error' parameter must be one of {', '.join(ON_ERROR)}. Got {on_error!r} instead."
        )
    settings = ExtractSettings(
        tuple([layers] if isinstance(layers, str) else layers),
        pool,
        image_size,
        preparation,
        precision,
        views,
        view_ranges,
        view_pool,
        engine,
        batch_size,
        workers,
        threads,
        device,
    )
    names = [backbone] if isinstance(backbone, str) else list(backbone)
    sources = [str(item) for item in ([weights] if isinstance(weights, str | Path) else weights)]
    if shard is not None:
        shard_of(shard)
    wanted = targets(names, sources, settings, Path(cache))
    table = read_manifest(manifest, root=root, allow_outside=allow_outside)
    job = ExtractionJob(settings, Path(cache), on_error, overwrite, dry_run, shard, progress or Silent())
    done = run_job(job, table, wanted)
    if on_error == "finish" and (message := failure_message(done)):
        raise ExtractionError(message)
    return done
