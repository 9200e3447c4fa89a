"""Drawn photographs of the retina, in five grades of retinopathy.

A lit disc on black with the optic disc, the macula and branching vessels. The grades add, as the international
scale does: 0 nothing; 1 microaneurysms; 2 haemorrhages and exudates; 3 many of them in all quarters; 4 new
vessels and a large bleeding.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from featx.data.drawing import Dot, Plane, Stroke, blur, dots, noise, plane, smoothstep, strokes

__all__ = ["GRADES", "draw_retina_photograph"]

# Fewest and most of each sign: microaneurysms, haemorrhages, exudates, tufts of new vessels.
_SIGNS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "grade0": ((0, 0), (0, 0), (0, 0), (0, 0)),
    "grade1": ((3, 8), (0, 0), (0, 0), (0, 0)),
    "grade2": ((6, 14), (2, 6), (2, 7), (0, 0)),
    "grade3": ((12, 24), (9, 18), (5, 14), (0, 0)),
    "grade4": ((10, 24), (6, 18), (4, 14), (2, 5)),
}
GRADES = tuple(_SIGNS)
_FUNDUS = np.array([0.78, 0.36, 0.16], dtype=np.float32)
_BLOOD = np.array([0.55, 1.15, 0.9], dtype=np.float32)
_DISC = np.array([0.98, 0.84, 0.55], dtype=np.float32)
_EXUDATE = np.array([0.95, 0.88, 0.52], dtype=np.float32)


def draw_retina_photograph(
    grade: str, right: bool, seed: tuple[int, ...], side: int
) -> npt.NDArray[np.uint8]:
    """Draw one photograph.

    Parameters
    ----------
    grade : str
        One of `GRADES`.
    right : bool
        A right eye has its optic disc to the right.
    seed : tuple of int
        Equal seeds give equal photographs.
    side : int
        Side of the image in pixels.

    Returns
    -------
    numpy.ndarray of uint8, shape (side, side, 3)
        RGB.

    Examples
    --------
    >>> draw_retina_photograph("grade0", True, (0, 1), 32).shape
    (32, 32, 3)
    """
    rng = np.random.default_rng(seed)
    towards = 1 if right else -1
    nerve = (0.5 + towards * rng.uniform(0.22, 0.27), 0.5 + rng.normal(0, 0.02))
    colour = _fundus(rng, side, (1 - nerve[0], nerve[1]))
    pale = blur(dots(side, [Dot(*nerve, rng.uniform(0.055, 0.07))]), 1.5 * side / 128)[..., None]
    colour = colour * (1 - 0.85 * pale) + _DISC * 0.85 * pale
    vessels = strokes(side, _vessels(rng, nerve, -towards))
    colour = colour * np.exp(-0.62 * vessels[..., None] * _BLOOD)
    # Chance of their own for signs and light: the same eye is lit alike in every grade.
    colour = _diseased(colour, grade, nerve, np.random.default_rng((*seed, 1)))
    return _lit(colour, np.random.default_rng((*seed, 2)))


def _fundus(rng: np.random.Generator, side: int, macula: tuple[float, float]) -> Plane:
    """Paint the background: pigment from person to person, mottled, darker at the macula."""
    x, y = plane(side)
    tone = _FUNDUS * np.exp(rng.normal(0, (0.10, 0.16, 0.22)))
    mottle = 0.05 * noise(rng, side, 5) + 0.03 * noise(rng, side, 28)
    near = np.exp(-((x - 2 * macula[0] + 1) ** 2 + (y - 2 * macula[1] + 1) ** 2) / 0.035)
    painted: Plane = (tone * np.exp(mottle - 0.35 * near)[..., None]).astype(np.float32)
    return painted


def _vessels(rng: np.random.Generator, nerve: tuple[float, float], temporal: int) -> list[Stroke]:
    """Draw the arcades: two that sweep round the macula, two to the other side, with branches."""
    found: list[Stroke] = []
    for up in (-1, 1):
        for side, curl, length in ((temporal, 0.13, 15), (-temporal, 0.04, 7)):
            way = np.arctan2(up, side * rng.uniform(0.25, 0.6))
            _arcade(found, rng, nerve, way, -up * side * curl, rng.uniform(0.014, 0.019), length)
    return found


def _arcade(
    found: list[Stroke],
    rng: np.random.Generator,
    start: tuple[float, float],
    way: float,
    curl: float,
    width: float,
    length: int,
) -> None:
    """Draw one vessel and, at every few steps, a thinner one that leaves it."""
    x, y = start
    points = [start]
    for step in range(length):
        way += curl + rng.normal(0, 0.12)
        x, y = x + 0.038 * np.cos(way), y + 0.038 * np.sin(way)
        points.append((x, y))
        if width > 0.006 and step % 3 == 2:
            turn = rng.choice((-1, 1)) * rng.uniform(0.5, 0.9)
            _arcade(found, rng, (x, y), way + turn, 0.3 * curl, width * 0.55, max(length - step - 2, 4))
    found.append(Stroke(tuple(points), width, 0.9))


def _diseased(colour: Plane, grade: str, nerve: tuple[float, float], rng: np.random.Generator) -> Plane:
    """Add the signs of a grade."""
    side = colour.shape[0]
    aneurysms, bleedings, exudates, tufts = (int(rng.integers(low, high + 1)) for low, high in _SIGNS[grade])
    red = 0.75 * dots(side, _scatter(rng, aneurysms, 0.006, 0.010))
    blots = blur(dots(side, _scatter(rng, bleedings, 0.012, 0.030)), 0.9 * side / 128)
    ragged = smoothstep(blots + 0.12 * noise(rng, side, 30) * (blots > 0.05), 0.25, 0.6)
    if tufts:
        large = _scatter(rng, 1, 0.05, 0.10)
        ragged = np.maximum(ragged, blur(dots(side, large), 1.5 * side / 128))
    new = 0.6 * strokes(side, [line for _ in range(tufts) for line in _tuft(rng, nerve)])
    colour = colour * np.exp(-(red + 0.85 * ragged + new)[..., None] * _BLOOD)
    bright = blur(dots(side, _clusters(rng, exudates)), 0.4 * side / 128)[..., None]
    covered: Plane = colour * (1 - 0.85 * bright) + _EXUDATE * 0.85 * bright
    return covered


def _scatter(rng: np.random.Generator, number: int, smallest: float, largest: float) -> list[Dot]:
    angle, far = rng.uniform(0, 2 * np.pi, number), 0.40 * np.sqrt(rng.uniform(0.03, 1, number))
    radius = rng.uniform(smallest, largest, number)
    return [
        Dot(0.5 + f * np.cos(a), 0.5 + f * np.sin(a), r) for a, f, r in zip(angle, far, radius, strict=True)
    ]


def _clusters(rng: np.random.Generator, number: int) -> list[Dot]:
    """Scatter exudates, each a few crumbs."""
    found = []
    for middle in _scatter(rng, number, 0.006, 0.013):
        for x, y in rng.normal(0, 0.018, (int(rng.integers(2, 6)), 2)):
            found.append(Dot(middle.x + x, middle.y + y, middle.radius * rng.uniform(0.5, 1.1)))
    return found


def _tuft(rng: np.random.Generator, nerve: tuple[float, float]) -> list[Stroke]:
    """Draw a tangle of new vessels, on the optic disc or elsewhere."""
    spot = _scatter(rng, 1, 0.1, 0.1)[0]
    centre = nerve if rng.random() < 0.4 else (spot.x, spot.y)
    lines = []
    for _ in range(9):
        way = rng.uniform(0, 2 * np.pi)
        points = [centre]
        for _ in range(6):
            way += rng.normal(0, 0.9)
            points.append((points[-1][0] + 0.017 * np.cos(way), points[-1][1] + 0.017 * np.sin(way)))
        lines.append(Stroke(tuple(points), 0.006, 0.9))
    return lines


def _lit(colour: Plane, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Light the disc unevenly, blacken what lies outside, and take the picture."""
    side = colour.shape[0]
    x, y = plane(side)
    offset = rng.normal(0, 0.015, 2)
    far = np.hypot(x - offset[0], y - offset[1])
    way = rng.uniform(0, 2 * np.pi)
    light = (1.05 - 0.35 * far**2) * (1 + rng.uniform(0, 0.18) * (np.cos(way) * x + np.sin(way) * y))
    disc = 1 - smoothstep(far, 0.92, 0.95)
    colour = colour * (light * disc * rng.uniform(0.8, 1.15))[..., None]
    sigma = rng.uniform(0.2, 0.7) * side / 128
    colour = np.stack([blur(colour[..., channel], sigma) for channel in range(3)], axis=-1)
    grain = np.float32(rng.uniform(0.005, 0.015))
    colour = colour + grain * rng.standard_normal(colour.shape, dtype=np.float32)
    return (np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)
