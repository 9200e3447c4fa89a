"""Timings of the stages of an extraction, and a small extraction from image files to stored features."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from io import BytesIO

from featx.errors import FeatxError
from featx.files import aside_folder, write_bytes
from featx.images import load_image
from featx.machine import usable_cores

from .check_rows import CheckContext, CheckRow, existing, ok, problem

__all__ = ["check_decode", "check_forward", "check_round_trip", "check_write"]

_WIDTH, _HEIGHT, _SIDE, _IMAGES = 600, 450, 224, 32
_BLOCK = 8 << 20


def check_round_trip(context: CheckContext) -> Iterator[CheckRow]:
    """Tell whether an extraction of two synthetic images into a temporary store gives finite features."""
    done = context.trial("round_trip")
    remedy = "Run `featx demo --debug`, which shows where it fails."
    if "error" in done:
        yield problem("extraction", f"two synthetic images have no features: {done['error']}", remedy)
    elif not done["finite"]:
        yield problem(
            "extraction",
            "features of synthetic images are not finite",
            "Update the driver, or give `featx extract` another --engine or --device cpu.",
            done,
        )
    elif done["constant"]:
        text = "two different images have equal features"
        yield problem("extraction", text, "Give `featx extract` another --engine or --device cpu.", done)
    else:
        text = f"{done['images']} synthetic images gave {done['width']} finite features each"
        yield ok("extraction", text, done)


def check_decode(context: CheckContext) -> Iterator[CheckRow]:
    """Time the decoding of a synthetic JPEG of 600 x 450 pixels, on one core."""
    data = _jpeg()
    load_image(data, "resize", _SIDE)
    begun = time.perf_counter()
    for _ in range(_IMAGES):
        load_image(data, "resize", _SIDE)
    rate = _IMAGES / (time.perf_counter() - begun)
    cores = usable_cores(context.root)
    text = f"{rate:.0f} images/s on one of {cores} cores (JPEG, {_WIDTH} x {_HEIGHT} to {_SIDE} px)"
    yield ok("decode", text, {"images_per_second": round(rate, 1), "cores": cores})


def _jpeg() -> bytes:
    """Make a JPEG that is as hard to decode as a photograph: a gradient with noise."""
    from PIL import Image

    size = (_WIDTH, _HEIGHT)
    gradient = Image.linear_gradient("L").resize(size)
    noise = Image.effect_noise(size, 24)
    file = BytesIO()
    Image.merge("RGB", (gradient, Image.blend(gradient, noise, 0.5), noise)).save(file, "JPEG", quality=92)
    return file.getvalue()


def check_forward(context: CheckContext) -> Iterator[CheckRow]:
    """Tell the speed of the forward pass of MobileNet with random weights."""
    done = context.trial("forward")
    if "error" in done:
        text = f"MobileNet cannot compute features: {done['error']}"
        yield problem("forward pass", text, "Give `featx extract` another --engine or --device cpu.")
        return
    text = f"{done['images_per_second']:.1f} images/s, MobileNet with {done['engine']} on {done['device']}"
    yield ok("forward pass", f"{text}, batches of {done['batch']}", done)


def check_write(context: CheckContext) -> Iterator[CheckRow]:
    """Time an atomic write of 8 MB to the cache folder, flushed to the disk."""
    data = os.urandom(_BLOCK)
    place = str(context.cache)
    try:
        with aside_folder(existing(context.cache) / "doctor") as folder:
            begun = time.perf_counter()
            write_bytes(folder / "block", data)
            seconds = time.perf_counter() - begun
    except (FeatxError, OSError) as error:
        remedy = "Free some space, or give --cache on another disk."
        yield problem("write", f"a block of 8 MB cannot be written: {error}", remedy, place=place)
        return
    rate = _BLOCK / 1e6 / seconds
    yield ok(
        "write",
        f"{rate:.0f} MB/s, a block of 8 MB flushed to the disk",
        {"megabytes_per_second": round(rate, 1)},
        place=place,
    )
