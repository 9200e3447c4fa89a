"""Drawn dermoscopic images: what a lesion looks like, and how it is photographed.

A lesion has traits, each from 0 to 1, whose means differ between the classes as the textbooks of dermoscopy
say: a nevus has a regular network and even globules, a melanoma an asymmetric irregular outline, many colours,
a broken network and a blue-white veil, a seborrhoeic keratosis a sharp border, milia-like cysts and comedo-like
openings, a basal cell carcinoma branching vessels and blue-grey nests. Difficulty draws the traits of all
classes together. Skin tone, light, hair, blur and colour cast are drawn without looking at the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.data.synthetic_shapes import (
    Dot,
    Plane,
    Stroke,
    blur,
    dots,
    noise,
    plane,
    smoothstep,
    strokes,
    warp,
)

__all__ = [
    "CLASSES",
    "DIFFICULTIES",
    "GRADES",
    "Lesion",
    "draw_photograph",
    "draw_retina_photograph",
    "invent_lesion",
]


# Mean of each trait, in the order of TRAITS.
TRAITS = (
    "asymmetry", "irregularity", "sharpness", "darkness", "variegation", "redness", "network", "disorder",
    "globules", "veil", "cysts", "openings", "vessels", "nests", "scar",
)  # fmt: skip


_MEANS: Mapping[str, tuple[float, ...]] = {
    "nevus": (0.22, 0.20, 0.40, 0.45, 0.22, 0.15, 0.72, 0.18, 0.45, 0.02, 0.04, 0.05, 0.03, 0.02, 0.04),
    "seborrheic keratosis": (0.30, 0.35, 0.85, 0.42, 0.35, 0.10, 0.12, 0.40, 0.15, 0.04, 0.75, 0.65, 0.04, 0.03, 0.05),
    "basal cell carcinoma": (0.40, 0.40, 0.60, 0.18, 0.35, 0.60, 0.04, 0.40, 0.10, 0.10, 0.06, 0.05, 0.80, 0.65, 0.15),
    "melanoma": (0.68, 0.65, 0.62, 0.68, 0.72, 0.20, 0.55, 0.75, 0.45, 0.55, 0.06, 0.08, 0.10, 0.08, 0.35),
}  # fmt: skip


CLASSES = tuple(_MEANS)


_SPREAD = 0.18


# How far the traits of a class stand apart from the mean of all classes, and how much the photograph hides.
DIFFICULTIES: Mapping[str, tuple[float, float]] = {
    "low": (1.0, 0.2),
    "medium": (0.8, 0.4),
    "high": (0.5, 0.7),
}


# Absorption of red, green and blue light by a unit of brown pigment, of pigment that lies deep and so looks
# blue, and of blood.
_BROWN = np.array([0.75, 1.25, 1.75], dtype=np.float32)


_BLUE = np.array([1.25, 0.95, 0.6], dtype=np.float32)


_BLOOD = np.array([0.15, 1.0, 0.85], dtype=np.float32)


_WHITE = np.array([0.90, 0.87, 0.88], dtype=np.float32)


_FAIR = np.array([0.93, 0.78, 0.70], dtype=np.float32)


_DARK = np.array([0.55, 0.38, 0.29], dtype=np.float32)


@dataclass(frozen=True)
class Lesion:
    """A lesion, which may be photographed more than once.

    Attributes
    ----------
    diagnosis : str
        One of `CLASSES`.
    difficulty : str
        One of `DIFFICULTIES`.
    traits : mapping of str to float
        Strength of each sign, from 0 to 1.
    seed : tuple of int
        Where its details come from.
    """

    diagnosis: str
    difficulty: str
    traits: Mapping[str, float]
    seed: tuple[int, ...]


def invent_lesion(diagnosis: str, difficulty: str, seed: tuple[int, ...]) -> Lesion:
    """Invent a lesion.

    Examples
    --------
    >>> lesion = invent_lesion("melanoma", "low", (0, 1))
    >>> lesion.traits["veil"] > 0.2
    True
    """
    rng = np.random.default_rng((*seed, 1))
    middle = np.mean(list(_MEANS.values()), axis=0)
    apart = DIFFICULTIES[difficulty][0]
    drawn = (
        middle + apart * (np.array(_MEANS[diagnosis]) - middle) + _SPREAD * rng.standard_normal(len(TRAITS))
    )
    values = np.clip(drawn, 0, 1).tolist()
    return Lesion(diagnosis, difficulty, dict(zip(TRAITS, values, strict=True)), seed)


def draw_photograph(lesion: Lesion, seed: tuple[int, ...], side: int) -> npt.NDArray[np.uint8]:
    """Photograph a lesion: with its own light, pose, hair and blur each time.

    Returns
    -------
    numpy.ndarray of uint8, shape (side, side, 3)
        RGB.

    Examples
    --------
    >>> draw_photograph(invent_lesion("nevus", "low", (0, 1)), (0, 2), 32).shape
    (32, 32, 3)
    """
    rng = np.random.default_rng(seed)
    hidden = DIFFICULTIES[lesion.difficulty][1]
    angle, zoom = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.12)
    shift = rng.normal(0, 0.03, 2).tolist()
    layers = [warp(layer, angle, zoom, shift) for layer in _lesion_layers(lesion, side)]
    brown, blue, blood, white = (layer[..., None] for layer in layers)
    skin = _skin(np.random.default_rng((*lesion.seed, 2)), rng, side)
    colour = skin * np.exp(-brown * _BROWN - blue * _BLUE - blood * _BLOOD)
    colour = colour * (1 - white) + _WHITE * white
    return _photographed(colour.astype(np.float32), rng, hidden)


def _skin(body: np.random.Generator, rng: np.random.Generator, side: int) -> Plane:
    """Paint skin in the tone of the person, with the blotches and lines of the place."""
    melanin = body.beta(1.3, 3.0)
    tone = _FAIR * (1 - melanin) + _DARK * melanin
    blotches = 0.03 * noise(rng, side, 3) + 0.015 * noise(rng, side, 24) + 0.012 * noise(rng, side, side // 2)
    flush = np.maximum(0.04 * noise(rng, side, 4) + body.normal(0.02, 0.03), 0)
    painted: Plane = tone * np.exp(blotches[..., None]) * np.exp(-flush[..., None] * _BLOOD)
    return painted


def _lesion_layers(lesion: Lesion, side: int) -> tuple[Plane, Plane, Plane, Plane]:
    """Paint a lesion in its own frame: densities of brown, blue and blood, and cover of white."""
    rng = np.random.default_rng((*lesion.seed, 3))
    trait = lesion.traits
    inside, depth = _outline(trait, rng, side)
    patches = noise(rng, side, 3)
    slope = _slope(rng, side)
    uneven = (
        trait["variegation"] * (0.55 * patches + 0.3 * noise(rng, side, 6)) + 0.5 * trait["asymmetry"] * slope
    )
    brown = (
        (0.25 + 0.85 * trait["darkness"]) * np.exp(np.clip(0.75 * uneven, -1.4, 1.0)) * (0.75 + 0.35 * depth)
    )
    brown = brown * (1 + trait["network"] * _network(trait, rng, side) * (1.0 - 0.45 * depth))
    spots = blur(_spots(trait, rng, side), 0.6 * side / 128)
    brown = brown * inside + 0.8 * spots * smoothstep(inside, 0.1, 0.5)
    veil = (
        smoothstep(noise(rng, side, 3) + 0.8 * slope, 0.5, 1.3) * smoothstep(depth, 0.15, 0.6) * trait["veil"]
    )
    openings = dots(side, _scatter(rng, round(14 * trait["openings"]), 0.008, 0.017, 0.26)) * inside
    cysts = (
        blur(dots(side, _scatter(rng, round(22 * trait["cysts"]), 0.006, 0.014, 0.28)), 0.6 * side / 128)
        * inside
    )
    scar = smoothstep(noise(rng, side, 4) - slope, 0.8, 1.6) * inside * trait["scar"]
    nests = (
        blur(
            dots(side, _scatter(rng, round(8 * max(trait["nests"] - 0.15, 0)), 0.02, 0.05, 0.24)),
            2.0 * side / 128,
        )
        * inside
    )
    vessels = strokes(side, _branches(rng, round(7 * trait["vessels"]))) * smoothstep(inside, 0.0, 0.4)
    blue = 1.1 * veil + 1.1 * nests + 0.35 * openings
    blood = (0.30 * trait["redness"] + 0.08 * patches * trait["redness"]).clip(0) * inside + 0.75 * vessels
    white = np.clip(0.28 * veil + 0.65 * cysts + 0.55 * scar, 0, 0.85)
    return tuple(layer.astype(np.float32) for layer in (brown + 1.3 * openings, blue, blood, white))  # type: ignore[return-value]


def _outline(trait: Mapping[str, float], rng: np.random.Generator, side: int) -> tuple[Plane, Plane]:
    """Draw the lesion's cover (0 to 1, soft at the border) and its depth (0 at the border, 1 in the middle)."""
    x, y = plane(side)
    offset = 0.10 * trait["asymmetry"] * rng.standard_normal(2)
    x, y = x - offset[0], y - offset[1]
    radius = rng.uniform(0.40, 0.68)
    around = np.linspace(-np.pi, np.pi, 361)
    edge = np.full_like(around, radius)
    for wave in range(1, 13):
        size = 0.10 + 0.25 * trait["asymmetry"] if wave <= 2 else 0.02 + 0.34 * trait["irregularity"]
        size *= radius * 0.55 / (wave if wave <= 2 else wave**0.85)
        edge += size * rng.standard_normal() * np.cos(wave * around + rng.uniform(0, 2 * np.pi))
    depth = (
        np.interp(np.arctan2(y, x), around, edge)
        - np.hypot(x, y)
        + 0.012 * noise(rng, side, 20) * (1 + trait["irregularity"])
    )
    softness = 0.03 + 0.16 * (1 - trait["sharpness"]) ** 2
    inside = smoothstep(depth.astype(np.float32), -softness, softness)
    return inside, np.clip(depth / radius, 0, 1).astype(np.float32)


def _slope(rng: np.random.Generator, side: int) -> Plane:
    """Rise from -1 on one side of the lesion to 1 on the other."""
    x, y = plane(side)
    way = rng.uniform(0, 2 * np.pi)
    slope: Plane = np.clip(1.6 * (np.cos(way) * x + np.sin(way) * y), -1, 1).astype(np.float32)
    return slope


def _network(trait: Mapping[str, float], rng: np.random.Generator, side: int) -> Plane:
    """Draw a pigment network about mean 0: a honeycomb, bent and broken with disorder."""
    x, y = plane(side)
    disorder = trait["disorder"]
    bend = 0.014 + 0.05 * disorder
    x, y = x + bend * noise(rng, side, 9), y + bend * noise(rng, side, 9)
    pitch = 2 * np.pi / rng.uniform(0.085, 0.13)
    turn = rng.uniform(0, np.pi)
    waves = sum(
        np.cos(pitch * (np.cos(turn + k * np.pi / 3) * x + np.sin(turn + k * np.pi / 3) * y))
        for k in range(3)
    )
    lines = smoothstep(np.asarray(waves, dtype=np.float32), 0.6, -1.0 - 0.3 * disorder)
    broken = smoothstep(noise(rng, side, 5), -0.2 - 1.6 * (1 - disorder), 0.6 - 1.6 * (1 - disorder))
    net: Plane = ((lines - 0.45) * broken * (1 + 0.5 * disorder)).astype(np.float32)
    return net


def _spots(trait: Mapping[str, float], rng: np.random.Generator, side: int) -> Plane:
    """Draw globules: even and of one size, or of all sizes and to one side with disorder."""
    disorder = trait["disorder"]
    marks = _scatter(
        rng, round(26 * trait["globules"]), 0.010 - 0.004 * disorder, 0.013 + 0.012 * disorder, 0.27
    )
    way = rng.uniform(0, 2 * np.pi)
    pushed = 0.10 * disorder
    return dots(side, [Dot(m.x + pushed * np.cos(way), m.y + pushed * np.sin(way), m.radius) for m in marks])


def _scatter(
    rng: np.random.Generator, number: int, smallest: float, largest: float, reach: float
) -> list[Dot]:
    """Scatter discs about the middle."""
    angle, far = rng.uniform(0, 2 * np.pi, number), reach * np.sqrt(rng.uniform(0, 1, number))
    radius = rng.uniform(smallest, largest, number)
    return [
        Dot(0.5 + f * np.cos(a), 0.5 + f * np.sin(a), r) for a, f, r in zip(angle, far, radius, strict=True)
    ]


def _branches(rng: np.random.Generator, number: int) -> list[Stroke]:
    """Draw vessels that branch like trees, from the border inwards."""
    found: list[Stroke] = []
    for _ in range(number):
        start = rng.uniform(0, 2 * np.pi)
        x, y = 0.5 + 0.25 * np.cos(start), 0.5 + 0.25 * np.sin(start)
        _grow(found, rng, x, y, start + np.pi + rng.normal(0, 0.5), 0.009, 3)
    return found


def _grow(
    found: list[Stroke], rng: np.random.Generator, x: float, y: float, way: float, width: float, levels: int
) -> None:
    points = [(x, y)]
    for _ in range(5):
        way += rng.normal(0, 0.28)
        x, y = x + 0.028 * np.cos(way), y + 0.028 * np.sin(way)
        points.append((x, y))
    found.append(Stroke(tuple(points), width, 0.9))
    if levels > 1:
        for turn in (-0.6, 0.6):
            _grow(found, rng, x, y, way + turn + rng.normal(0, 0.2), width * 0.7, levels - 1)


def _photographed(colour: Plane, rng: np.random.Generator, hidden: float) -> npt.NDArray[np.uint8]:
    """Add what lies between a lesion and its picture: hair, light, lens and sensor."""
    side = colour.shape[0]
    x, y = plane(side)
    for tint, cover in _hairs(rng, side, hidden):
        colour = colour * (1 - cover[..., None]) + tint * cover[..., None]
    way = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.12) * (np.cos(way) * x + np.sin(way) * y)
    rim = rng.uniform(0.95, 1.45) if rng.random() < 0.4 else 2.0
    light = light * (1 - rng.uniform(0.4, 1.0) * smoothstep(np.hypot(x, y), rim, rim + 0.12))
    cast = np.exp(rng.normal(0, 0.03 + 0.07 * hidden, 3)).astype(np.float32)
    colour = colour * (light * rng.uniform(0.9, 1.08))[..., None] * cast
    glints = blur(dots(side, _glints(rng)), 0.6 * side / 128)[..., None]
    colour = colour * (1 - 0.8 * glints) + 0.8 * glints
    sigma = rng.uniform(0.2, 0.4 + 0.8 * hidden) * side / 128
    colour = np.stack([blur(colour[..., channel], sigma) for channel in range(3)], axis=-1)
    grain = np.float32(0.008 + 0.012 * hidden)
    colour = colour + grain * rng.standard_normal(colour.shape, dtype=np.float32)
    return (np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)


def _hairs(rng: np.random.Generator, side: int, hidden: float) -> list[tuple[npt.NDArray[np.float32], Plane]]:
    """Draw no hair, or some, all of one colour."""
    number = rng.poisson(14 * hidden) if rng.random() < 0.25 + 0.35 * hidden else 0
    if not number:
        return []
    tint = np.array([0.20, 0.14, 0.11]) if rng.random() < 0.75 else np.array([0.80, 0.68, 0.50])
    way = rng.uniform(0, 2 * np.pi)
    lines = []
    for _ in range(number):
        heading, bend = way + rng.normal(0, 0.5), rng.normal(0, 0.9)
        steps = np.linspace(-0.5, 0.5, 12) * rng.uniform(0.5, 1.4)
        turn = heading + bend * steps
        x, y = rng.uniform(0, 1) + steps * np.cos(turn), rng.uniform(0, 1) + steps * np.sin(turn)
        points = tuple(zip(x.tolist(), y.tolist(), strict=True))
        lines.append(Stroke(points, rng.uniform(0.005, 0.011), rng.uniform(0.6, 0.95)))
    return [(tint.astype(np.float32), strokes(side, lines))]


def _glints(rng: np.random.Generator) -> list[Dot]:
    """Scatter small reflections of the lamp."""
    number = rng.poisson(2.0)
    return [
        Dot(x, y, r)
        for x, y, r in zip(
            *rng.uniform(0.05, 0.95, (2, number)), rng.uniform(0.003, 0.010, number), strict=True
        )
    ]


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


_RETINA_BLOOD = np.array([0.55, 1.15, 0.9], dtype=np.float32)


_DISC = np.array([0.98, 0.84, 0.55], dtype=np.float32)


_EXUDATE = np.array([0.95, 0.88, 0.52], dtype=np.float32)


def draw_retina_photograph(
    grade: str, right: bool, seed: tuple[int, ...], side: int
) -> npt.NDArray[np.uint8]:
    """Draw one photograph.

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
    colour = colour * np.exp(-0.62 * vessels[..., None] * _RETINA_BLOOD)
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
    red = 0.75 * dots(side, _scatter_disc(rng, aneurysms, 0.006, 0.010))
    blots = blur(dots(side, _scatter_disc(rng, bleedings, 0.012, 0.030)), 0.9 * side / 128)
    ragged = smoothstep(blots + 0.12 * noise(rng, side, 30) * (blots > 0.05), 0.25, 0.6)
    if tufts:
        large = _scatter_disc(rng, 1, 0.05, 0.10)
        ragged = np.maximum(ragged, blur(dots(side, large), 1.5 * side / 128))
    new = 0.6 * strokes(side, [line for _ in range(tufts) for line in _tuft(rng, nerve)])
    colour = colour * np.exp(-(red + 0.85 * ragged + new)[..., None] * _RETINA_BLOOD)
    bright = blur(dots(side, _clusters(rng, exudates)), 0.4 * side / 128)[..., None]
    covered: Plane = colour * (1 - 0.85 * bright) + _EXUDATE * 0.85 * bright
    return covered


def _scatter_disc(rng: np.random.Generator, number: int, smallest: float, largest: float) -> list[Dot]:
    angle, far = rng.uniform(0, 2 * np.pi, number), 0.40 * np.sqrt(rng.uniform(0.03, 1, number))
    radius = rng.uniform(smallest, largest, number)
    return [
        Dot(0.5 + f * np.cos(a), 0.5 + f * np.sin(a), r) for a, f, r in zip(angle, far, radius, strict=True)
    ]


def _clusters(rng: np.random.Generator, number: int) -> list[Dot]:
    """Scatter exudates, each a few crumbs."""
    found = []
    for middle in _scatter_disc(rng, number, 0.006, 0.013):
        for x, y in rng.normal(0, 0.018, (int(rng.integers(2, 6)), 2)):
            found.append(Dot(middle.x + x, middle.y + y, middle.radius * rng.uniform(0.5, 1.1)))
    return found


def _tuft(rng: np.random.Generator, nerve: tuple[float, float]) -> list[Stroke]:
    """Draw a tangle of new vessels, on the optic disc or elsewhere."""
    spot = _scatter_disc(rng, 1, 0.1, 0.1)[0]
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
