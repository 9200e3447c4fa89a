"""Corruptions: what photographs, cameras and clinics do to images, simulated at five stated severities.

Lengths are fractions of the shorter side of the image, so that a severity means the same for images of any resolution. A
corrupted image is a function of its pixels, the corruption, the severity, and a text that seeds everything random, such
as the SHA-256 of its file. The version of a corruption increases whenever its pixels change.

Blur, noise, brightness, contrast and JPEG have the severities of ImageNet-C (Hendrycks & Dietterich 2019, ICLR), whose
lengths are in pixels of images of 224. The idea of such a benchmark for dermatoscopic images is from Maron et al. 2021
(European Journal of Cancer 155, 191-199). The artefacts are those of dermatoscopic images (Bissoto et al. 2019, CVPR
Workshops): ink changed the decisions of a network in Winkler et al. 2019 (JAMA Dermatology 155, 1135-1141), dark corners in
Pewton et al. 2024 (Computer Methods and Programs in Biomedicine 244, 107986). Their severities are chosen by eye. They
are drawings: a lower AUC on them shows a dependence, an equal one is no proof of none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from featx.errors import ConfigError

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corruption", "corrupt_image", "corruption_key"]

SEVERITIES = (1, 2, 3, 4, 5)

_Pixels = npt.NDArray[np.float64]
_Change = Callable[[_Pixels, Mapping[str, float], np.random.Generator], _Pixels]

# Drawings are made at this multiple of the size, and reduced, which smooths their edges.
_FINER = 2


@dataclass(frozen=True)
class Corruption:
    """A corruption with its parameters at each severity.

    Attributes
    ----------
    name : str
        As in ``--corruption``.
    version : int
        Incremented whenever the pixels change.
    parameters : mapping of str to tuple of float
        Name of each parameter to its value at severities 1 to 5.
    text : str
        Description in one line.
    change : callable
        Takes pixels (float64 of 0 to 1, shape (height, width, 3)), the parameters at a severity and a generator of
        random numbers; returns pixels, which are clipped afterwards.
    """

    name: str
    version: int
    parameters: Mapping[str, tuple[float, ...]]
    text: str
    change: _Change


def _shorter(pixels: _Pixels) -> int:
    return int(min(pixels.shape[:2]))


def _blur(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    from scipy.ndimage import gaussian_filter

    sigma = given["sigma"] * _shorter(pixels)
    return np.asarray(gaussian_filter(pixels, (sigma, sigma, 0), mode="nearest"))


def _noise(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    height, width, _ = pixels.shape
    grain = max(given["grain"] * _shorter(pixels), 1.0)
    rows, columns = (max(round(side / grain), 1) for side in (height, width))
    drawn = rng.normal(0.0, given["sd"], (rows, columns, 3))
    down = np.arange(height) * rows // height
    across = np.arange(width) * columns // width
    return np.asarray(pixels + drawn[down][:, across])


def _brightness(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    # The value of HSV is the largest channel; hue and saturation stay.
    value = pixels.max(axis=2, keepdims=True)
    wanted = np.clip(value + given["value"], 0.0, 1.0)
    scale = np.divide(wanted, value, out=np.zeros_like(value), where=value > 0)
    return np.asarray(np.where(value > 0, pixels * scale, wanted))


def _contrast(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    mean = pixels.mean(axis=(0, 1), keepdims=True)
    return np.asarray((pixels - mean) * given["factor"] + mean)


def _jpeg(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    file = BytesIO()
    Image.fromarray(_bytes(pixels)).save(file, "JPEG", quality=int(given["quality"]))
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"), np.float64) / 255


def _colour(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    gain = given["gain"] * rng.choice([-1.0, 1.0])
    return np.asarray(pixels * np.array([1 + gain, 1.0, 1 - gain]))


def _vignette(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    distance = _from_centre(pixels) / np.hypot(*pixels.shape[:2]) * 2
    return np.asarray(pixels * (1 - given["strength"] * distance[..., None] ** 2))


def _dark_corners(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    side = _shorter(pixels)
    inside = np.clip((given["radius"] * side - _from_centre(pixels)) / (0.02 * side), 0.0, 1.0)
    return np.asarray(pixels * inside[..., None])


def _from_centre(pixels: _Pixels) -> _Pixels:
    height, width, _ = pixels.shape
    rows = np.arange(height) - (height - 1) / 2
    columns = np.arange(width) - (width - 1) / 2
    return np.asarray(np.hypot(rows[:, None], columns[None, :]))


def _hair(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    side = _shorter(pixels)
    for _ in range(int(given["hairs"])):
        start = rng.uniform(0, 1, 2)
        angle, length, bend = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.9), rng.normal(0, 0.12)
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        middle = (start + end) / 2 + bend * np.array([-np.sin(angle), np.cos(angle)])
        shade = np.array([0.16, 0.11, 0.08]) * rng.uniform(0.6, 1.6)
        width = given["width"] * rng.uniform(0.6, 1.2) * side
        pixels = _stroke(pixels, (start, middle, end), width, shade, 0.9)
    return pixels


def _ink(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    side = _shorter(pixels)
    shade = np.array([0.25, 0.15, 0.55]) + rng.uniform(-0.08, 0.08, 3)
    for _ in range(int(given["strokes"])):
        # Surgeons draw beside the lesion: strokes begin near an edge.
        angle = rng.uniform(0, 2 * np.pi)
        start = 0.5 + rng.uniform(0.36, 0.48) * np.array([np.cos(angle), np.sin(angle)])
        turn = angle + np.pi / 2 + rng.normal(0, 0.3)
        end = start + rng.uniform(0.2, 0.4) * np.array([np.cos(turn), np.sin(turn)])
        middle = (start + end) / 2 + rng.normal(0, 0.04, 2)
        pixels = _stroke(pixels, (start, middle, end), given["width"] * side, shade, 0.75)
    return pixels


def _ruler(pixels: _Pixels, given: Mapping[str, float], rng: np.random.Generator) -> _Pixels:
    height, width, _ = pixels.shape
    side = _shorter(pixels)
    edges = rng.permutation(4)[: int(given["edges"])]
    shade = np.full(3, rng.uniform(0.05, 0.2))
    for edge in edges.tolist():
        along, across = (width, height) if edge < 2 else (height, width)
        for place, at in enumerate(np.arange(rng.uniform(0.02, 0.05) * side, along, 0.05 * side)):
            reach = given["length"] * (1.0 if place % 5 == 0 else 0.6) * side
            low, high = (0.01 * side, 0.01 * side + reach)
            ends = np.array([low, high]) if edge % 2 == 0 else across - np.array([low, high])
            points = [np.array([at, end] if edge < 2 else [end, at]) for end in ends]
            pixels = _line(pixels, points, 0.006 * side, shade, 0.9)
    return pixels


def _stroke(
    pixels: _Pixels, bezier: tuple[_Pixels, _Pixels, _Pixels], width: float, shade: _Pixels, cover: float
) -> _Pixels:
    """Draw a quadratic Bézier curve, given by fractions of width and height."""
    start, middle, end = bezier
    steps = np.linspace(0, 1, 24)[:, None]
    curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * middle + steps**2 * end
    return _line(pixels, list(curve * np.array(pixels.shape[1::-1])), width, shade, cover)


def _line(pixels: _Pixels, points: list[_Pixels], width: float, shade: _Pixels, cover: float) -> _Pixels:
    """Blend a line through points (x, y) in pixels with the image; only the box around it is touched."""
    height, across, _ = pixels.shape
    edge, corners = width + 2, np.array(points)
    left, top = np.maximum(np.floor(corners.min(axis=0) - edge), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0) + edge), (across, height)).astype(int)
    if right <= left or bottom <= top:
        return pixels
    mask = Image.new("L", ((right - left) * _FINER, (bottom - top) * _FINER))
    path = [tuple(((point - (left, top)) * _FINER).tolist()) for point in points]
    ImageDraw.Draw(mask).line(path, fill=255, width=max(round(width * _FINER), 1), joint="curve")
    small = mask.resize((right - left, bottom - top), Image.Resampling.BOX)
    share = cover * np.asarray(small, np.float64)[..., None] / 255
    pixels = pixels.copy()
    pixels[top:bottom, left:right] = (1 - share) * pixels[top:bottom, left:right] + share * shade
    return pixels


CORRUPTIONS: dict[str, Corruption] = {
    row.name: row
    for row in (
        Corruption(
            "blur",
            1,
            {"sigma": (1 / 224, 2 / 224, 3 / 224, 4 / 224, 6 / 224)},
            "Gaussian blur; sigma as a fraction of the shorter side",
            _blur,
        ),
        Corruption(
            "noise",
            1,
            {"sd": (0.08, 0.12, 0.18, 0.26, 0.38), "grain": (1 / 224,) * 5},
            "Gaussian noise of each channel; grain as a fraction of the shorter side",
            _noise,
        ),
        Corruption(
            "brightness", 1, {"value": (0.1, 0.2, 0.3, 0.4, 0.5)}, "value of HSV raised by this", _brightness
        ),
        Corruption(
            "darkness",
            1,
            {"value": (-0.1, -0.2, -0.3, -0.4, -0.5)},
            "value of HSV changed by this",
            _brightness,
        ),
        Corruption(
            "contrast",
            1,
            {"factor": (0.4, 0.3, 0.2, 0.1, 0.05)},
            "differences to the mean colour multiplied by this",
            _contrast,
        ),
        Corruption("jpeg", 1, {"quality": (25, 18, 15, 10, 7)}, "JPEG compression of this quality", _jpeg),
        Corruption(
            "colour",
            1,
            {"gain": (0.05, 0.1, 0.15, 0.2, 0.3)},
            "red multiplied by 1 + gain and blue by 1 - gain, or the reverse",
            _colour,
        ),
        Corruption(
            "vignette",
            1,
            {"strength": (0.2, 0.35, 0.5, 0.65, 0.8)},
            "darkening with the squared distance from the centre, this strong in the corners",
            _vignette,
        ),
        Corruption(
            "dark-corners",
            1,
            {"radius": (0.6, 0.55, 0.5, 0.45, 0.4)},
            "black outside a central disc; radius as a fraction of the shorter side",
            _dark_corners,
        ),
        Corruption(
            "hair",
            1,
            {"hairs": (4, 8, 16, 28, 45), "width": (0.006, 0.006, 0.007, 0.008, 0.009)},
            "dark curved hairs; width as a fraction of the shorter side",
            _hair,
        ),
        Corruption(
            "ruler",
            1,
            {"edges": (1, 1, 2, 3, 4), "length": (0.04, 0.07, 0.08, 0.09, 0.1)},
            "ruler marks at this number of edges; length as a fraction of the shorter side",
            _ruler,
        ),
        Corruption(
            "ink",
            1,
            {"strokes": (1, 2, 3, 5, 8), "width": (0.012, 0.014, 0.016, 0.018, 0.02)},
            "violet strokes of a skin marker near the edge; width as a fraction of the shorter side",
            _ink,
        ),
    )
}


def _at(name: str, severity: int) -> tuple[Corruption, dict[str, float]]:
    if name not in CORRUPTIONS:
        raise ConfigError(f"The corruption must be one of {', '.join(CORRUPTIONS)}. Got {name!r} instead.")
    if severity not in SEVERITIES:
        raise ConfigError(f"The severity must be a whole number from 1 to 5. Got {severity!r} instead.")
    found = CORRUPTIONS[name]
    return found, {key: values[severity - 1] for key, values in found.parameters.items()}


def corruption_key(name: str, severity: int) -> dict[str, Any]:
    """Return what decides the pixels of a corrupted image, beside the image.

    Parameters
    ----------
    name : str
        A key of `CORRUPTIONS`.
    severity : int
        1 to 5.

    Returns
    -------
    dict
        ``name``, ``version``, ``severity`` and ``parameters``.

    Raises
    ------
    ConfigError
        If there is no such corruption or severity.

    Examples
    --------
    >>> corruption_key("jpeg", 5)
    {'name': 'jpeg', 'version': 1, 'severity': 5, 'parameters': {'quality': 7}}
    """
    found, given = _at(name, severity)
    return {"name": name, "version": found.version, "severity": severity, "parameters": given}


def corrupt_image(
    pixels: npt.NDArray[np.uint8], name: str, severity: int, seed: str
) -> npt.NDArray[np.uint8]:
    """Corrupt an image.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The decoded image.
    name : str
        A key of `CORRUPTIONS`.
    severity : int
        1 to 5.
    seed : str
        Seed of everything random, with the corruption and the severity; such as the SHA-256 of the image file.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Equal arguments give equal pixels.

    Raises
    ------
    ConfigError
        If there is no such corruption or severity.

    Examples
    --------
    >>> skin = np.full((64, 96, 3), (200, 150, 130), np.uint8)
    >>> corrupt_image(skin, "brightness", 2, "ab12")[0, 0].tolist()
    [251, 188, 163]
    >>> (corrupt_image(skin, "hair", 3, "ab12") == corrupt_image(skin, "hair", 3, "ab12")).all()
    np.True_
    """
    found, given = _at(name, severity)
    words = f"{name} {found.version} {severity} {seed}".encode()
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(words).digest(), "big"))
    return _bytes(found.change(pixels.astype(np.float64) / 255, given, rng))


def _bytes(pixels: _Pixels) -> npt.NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(pixels, 0.0, 1.0) * 255), np.uint8)
