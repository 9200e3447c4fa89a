"""The pixels of synthetic images: what a lesion and a retina look like, and how they are photographed.

A lesion has traits, each from 0 to 1, whose means differ between the classes as textbooks of dermoscopy say: a
nevus has a regular network and even globules; a melanoma an asymmetric irregular outline, many colours, a broken
network and a blue-white veil; a seborrheic keratosis a sharp border, milia-like cysts and comedo-like openings; a
basal cell carcinoma branching vessels and blue-grey nests. The difficulty moves the classes' traits closer together.
Skin tone, light, hair, blur and colour cast do not depend on the class.

A retina has microaneurysms, haemorrhages, exudates and new vessels according to its grade of retinopathy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

__all__ = [
    "CLASSES",
    "DIFFICULTIES",
    "GRADES",
    "TRAITS",
    "Lesion",
    "Pixels",
    "draw_photograph",
    "draw_retina_photograph",
    "invent_lesion",
]

Plane = npt.NDArray[np.floating]
Pixels = npt.NDArray[np.uint8]
_Point = tuple[float, float]
# Dots and strokes are painted this many times larger and averaged, for smooth edges.
_OVERSAMPLING = 2
# Widths of blurs are given in pixels of an image of this size.
_REFERENCE = 128

TRAITS = (
    "asymmetry", "irregularity", "sharpness", "darkness", "variegation", "redness", "network", "disorder",
    "globules", "veil", "cysts", "openings", "vessels", "nests", "scar",
)  # fmt: skip
# Mean of each trait, in the order of TRAITS, and the standard deviation of all.
_MEANS: Mapping[str, tuple[float, ...]] = {
    "nevus": (0.22, 0.20, 0.40, 0.45, 0.22, 0.15, 0.72, 0.18, 0.45, 0.02, 0.04, 0.05, 0.03, 0.02, 0.04),
    "seborrheic keratosis": (0.30, 0.35, 0.85, 0.42, 0.35, 0.10, 0.12, 0.40, 0.15, 0.04, 0.75, 0.65, 0.04, 0.03, 0.05),
    "basal cell carcinoma": (0.40, 0.40, 0.60, 0.18, 0.35, 0.60, 0.04, 0.40, 0.10, 0.10, 0.06, 0.05, 0.80, 0.65, 0.15),
    "melanoma": (0.68, 0.65, 0.62, 0.68, 0.72, 0.20, 0.55, 0.75, 0.45, 0.55, 0.06, 0.08, 0.10, 0.08, 0.35),
}  # fmt: skip
_SPREAD = 0.18
CLASSES = tuple(_MEANS)
# Distance of a class's mean traits from the mean of all classes, as a fraction, and strength of hair, blur and cast.
DIFFICULTIES: Mapping[str, tuple[float, float]] = {"low": (1.0, 0.2), "medium": (0.8, 0.4), "high": (0.5, 0.7)}  # fmt: skip
# Fewest and most of each sign: microaneurysms, haemorrhages, exudates, tufts of new vessels.
_SIGNS: Mapping[str, tuple[tuple[int, int], ...]] = {
    "grade0": ((0, 0), (0, 0), (0, 0), (0, 0)),
    "grade1": ((3, 8), (0, 0), (0, 0), (0, 0)),
    "grade2": ((6, 14), (2, 6), (2, 7), (0, 0)),
    "grade3": ((12, 24), (9, 18), (5, 14), (0, 0)),
    "grade4": ((10, 24), (6, 18), (4, 14), (2, 5)),
}
GRADES = tuple(_SIGNS)


def _rgb(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


# Absorption of red, green and blue light by brown pigment, by pigment that lies deep and so looks blue, and by blood.
_BROWN, _BLUE, _BLOOD = _rgb(0.75, 1.25, 1.75), _rgb(1.25, 0.95, 0.6), _rgb(0.15, 1.0, 0.85)
_WHITE, _FAIR, _DARK = _rgb(0.90, 0.87, 0.88), _rgb(0.93, 0.78, 0.70), _rgb(0.55, 0.38, 0.29)
_FUNDUS, _RETINA_BLOOD = _rgb(0.78, 0.36, 0.16), _rgb(0.55, 1.15, 0.9)
_DISC, _EXUDATE = _rgb(0.98, 0.84, 0.55), _rgb(0.95, 0.88, 0.52)


# Brushes. Positions, radii and widths are fractions of the image's side.


class _Dot(NamedTuple):
    x: float
    y: float
    radius: float


class _Stroke(NamedTuple):
    points: tuple[_Point, ...]
    width: float
    weight: float = 0.9


def _plane(side: int) -> tuple[Plane, Plane]:
    """Make the coordinates x and y of pixel centres, from -1 to 1."""
    line = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1).astype(np.float32)
    x, y = np.meshgrid(line, line)
    return x, y


def _ramp(rng: np.random.Generator, side: int) -> Plane:
    """Rise from one side to the other in a random direction."""
    x, y = _plane(side)
    way = rng.uniform(0, 2 * np.pi)
    ramp: Plane = np.cos(way) * x + np.sin(way) * y
    return ramp


def _noise(rng: np.random.Generator, side: int, cells: int) -> Plane:
    """Make smooth noise of mean 0 and standard deviation 1."""
    coarse = rng.standard_normal((cells + 2, cells + 2)).astype(np.float32)
    fine = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    scaled: Plane = (fine - fine.mean()) / np.float32(max(float(fine.std()), 1e-6))
    return scaled


def _smoothstep(values: Plane, low: float, high: float) -> Plane:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    fraction = np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)
    risen: Plane = fraction * fraction * (3 - 2 * fraction)
    return risen


def _blur(values: Plane, sigma: float) -> Plane:
    pixels = sigma * values.shape[0] / _REFERENCE
    blurred: Plane = ndimage.gaussian_filter(values, pixels, mode="nearest", truncate=2.5)
    return blurred


def _dots(side: int, dots: Iterable[_Dot]) -> Plane:
    """Paint discs: 1 inside, 0 outside."""
    canvas, brush, large = _canvas(side)
    for x, y, radius in dots:
        box = [(x - radius) * large, (y - radius) * large, (x + radius) * large, (y + radius) * large]
        brush.ellipse(box, fill=255)
    return _reduced(canvas)


def _strokes(side: int, strokes: Iterable[_Stroke]) -> Plane:
    """Paint polylines: their weight inside, 0 outside."""
    canvas, brush, large = _canvas(side)
    for points, width, weight in strokes:
        scaled = [(x * large, y * large) for x, y in points]
        brush.line(scaled, fill=round(255 * weight), width=max(1, round(width * large)), joint="curve")
    return _reduced(canvas)


def _canvas(side: int) -> tuple[Image.Image, ImageDraw.ImageDraw, int]:
    large = side * _OVERSAMPLING
    canvas = Image.new("L", (large, large))
    return canvas, ImageDraw.Draw(canvas), large


def _reduced(canvas: Image.Image) -> Plane:
    small = canvas.reduce(_OVERSAMPLING)
    return (np.asarray(small, dtype=np.float32) / np.float32(255)).astype(np.float32)


def _warp(values: Plane, angle: float, zoom: float, shift: Sequence[float]) -> Plane:
    """Turn, enlarge and move a plane about its centre; what comes from outside is 0."""
    side = values.shape[0]
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    middle = side / 2
    x, y = middle + shift[0] * side, middle + shift[1] * side
    matrix = (cosine, -sine, middle - cosine * x + sine * y, sine, cosine, middle - sine * x - cosine * y)
    moved = Image.fromarray(values).transform(
        (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(moved, dtype=np.float32)


def _scatter(
    rng: np.random.Generator, number: int, smallest: float, largest: float, reach: float, inner: float = 0.0
) -> list[_Dot]:
    """Scatter discs evenly about the middle, up to `reach` from it."""
    angle, far = rng.uniform(0, 2 * np.pi, number), reach * np.sqrt(rng.uniform(inner, 1, number))
    radius = rng.uniform(smallest, largest, number)
    return [
        _Dot(0.5 + f * np.cos(a), 0.5 + f * np.sin(a), r) for a, f, r in zip(angle, far, radius, strict=True)
    ]


def _walk(
    rng: np.random.Generator,
    start: _Point,
    way: float,
    steps: int,
    stride: float,
    bend: float,
    curl: float = 0.0,
) -> Iterator[tuple[_Point, float]]:
    """Yield the points of a random walk and its direction: it turns by `curl` and a normal deviate in each step."""
    x, y = start
    for _ in range(steps):
        way += curl + rng.normal(0, bend)
        x, y = x + stride * np.cos(way), y + stride * np.sin(way)
        yield (x, y), way


def _absorb(colour: Plane, density: Plane, pigment: Plane) -> Plane:
    absorbed: Plane = colour * np.exp(-density[..., None] * pigment)
    return absorbed


def _cover(colour: Plane, tint: Plane | float, cover: Plane, weight: float = 1.0) -> Plane:
    """Paint over with a colour that lets the fraction `1 - weight` of what lies below through."""
    opaque = cover[..., None]
    covered: Plane = colour * (1 - weight * opaque) + tint * weight * opaque
    return covered


def _captured(colour: Plane, rng: np.random.Generator, sigma: float, grain: float) -> Pixels:
    """Blur by the lens, add the sensor's noise, and round to 8 bits."""
    colour = np.stack([_blur(colour[..., channel], sigma) for channel in range(3)], axis=-1)
    colour = colour + np.float32(grain) * rng.standard_normal(colour.shape, dtype=np.float32)
    return (np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)


# Skin lesions.


@dataclass(frozen=True)
class Lesion:
    """A lesion, which may be photographed more than once; each trait is from 0 to 1."""

    diagnosis: str
    difficulty: str
    traits: Mapping[str, float]
    seed: tuple[int, ...]


def invent_lesion(diagnosis: str, difficulty: str, seed: tuple[int, ...]) -> Lesion:
    """Draw the traits of a lesion from the distribution of its class.

    Examples
    --------
    >>> lesion = invent_lesion("melanoma", "low", (0, 1))
    >>> lesion.traits["veil"] > 0.2
    True
    """
    rng = np.random.default_rng((*seed, 1))
    middle = np.mean(list(_MEANS.values()), axis=0)
    apart = DIFFICULTIES[difficulty][0]
    means = middle + apart * (np.array(_MEANS[diagnosis]) - middle)
    values = np.clip(means + _SPREAD * rng.standard_normal(len(TRAITS)), 0, 1).tolist()
    return Lesion(diagnosis, difficulty, dict(zip(TRAITS, values, strict=True)), seed)


def draw_photograph(lesion: Lesion, seed: tuple[int, ...], side: int) -> Pixels:
    """Photograph a lesion, with light, pose, hair and blur of this photograph: uint8 (side, side, 3).

    Examples
    --------
    >>> draw_photograph(invent_lesion("nevus", "low", (0, 1)), (0, 2), 32).shape
    (32, 32, 3)
    """
    rng = np.random.default_rng(seed)
    hidden = DIFFICULTIES[lesion.difficulty][1]
    angle, zoom = rng.uniform(0, 2 * np.pi), rng.uniform(0.85, 1.12)
    shift = rng.normal(0, 0.03, 2).tolist()
    brown, blue, blood, white = (
        _warp(layer, angle, zoom, shift) for layer in _lesion_layers(lesion.traits, lesion.seed, side)
    )
    skin = _skin(np.random.default_rng((*lesion.seed, 2)), rng, side)
    density = -brown[..., None] * _BROWN - blue[..., None] * _BLUE - blood[..., None] * _BLOOD
    colour = _cover(skin * np.exp(density), _WHITE, white)
    return _dermatoscope(colour.astype(np.float32), rng, hidden)


def _skin(body: np.random.Generator, rng: np.random.Generator, side: int) -> Plane:
    """Paint skin in the tone of the person, with the blotches and lines of the place."""
    melanin = body.beta(1.3, 3.0)
    tone = _FAIR * (1 - melanin) + _DARK * melanin
    blotches = (
        0.03 * _noise(rng, side, 3) + 0.015 * _noise(rng, side, 24) + 0.012 * _noise(rng, side, side // 2)
    )
    flush = np.maximum(0.04 * _noise(rng, side, 4) + body.normal(0.02, 0.03), 0)
    return _absorb(tone * np.exp(blotches[..., None]), flush, _BLOOD)


def _lesion_layers(trait: Mapping[str, float], seed: tuple[int, ...], side: int) -> list[Plane]:
    """Paint a lesion in its own frame: densities of brown, blue and blood, and cover of white."""
    rng = np.random.default_rng((*seed, 3))
    inside, depth = _outline(trait, rng, side)
    patches = _noise(rng, side, 3)
    slope = np.clip(1.6 * _ramp(rng, side), -1, 1).astype(np.float32)
    uneven = trait["variegation"] * (0.55 * patches + 0.3 * _noise(rng, side, 6))
    uneven = 0.75 * (uneven + 0.5 * trait["asymmetry"] * slope)
    brown = (0.25 + 0.85 * trait["darkness"]) * np.exp(np.clip(uneven, -1.4, 1.0)) * (0.75 + 0.35 * depth)
    brown = brown * (1 + trait["network"] * _network(trait["disorder"], rng, side) * (1.0 - 0.45 * depth))
    globules = _blur(_dots(side, _globules(trait, rng)), 0.6)
    brown = brown * inside + 0.8 * globules * _smoothstep(inside, 0.1, 0.5)
    veil = _smoothstep(_noise(rng, side, 3) + 0.8 * slope, 0.5, 1.3) * _smoothstep(depth, 0.15, 0.6)
    veil = veil * trait["veil"]
    openings = _dots(side, _scatter(rng, round(14 * trait["openings"]), 0.008, 0.017, 0.26)) * inside
    cysts = _dots(side, _scatter(rng, round(22 * trait["cysts"]), 0.006, 0.014, 0.28))
    cysts = _blur(cysts, 0.6) * inside
    scar = _smoothstep(_noise(rng, side, 4) - slope, 0.8, 1.6) * inside * trait["scar"]
    nests = _dots(side, _scatter(rng, round(8 * max(trait["nests"] - 0.15, 0)), 0.02, 0.05, 0.24))
    nests = _blur(nests, 2.0) * inside
    vessels = _strokes(side, _branches(rng, round(7 * trait["vessels"]))) * _smoothstep(inside, 0.0, 0.4)
    blue = 1.1 * veil + 1.1 * nests + 0.35 * openings
    blood = (0.30 * trait["redness"] + 0.08 * patches * trait["redness"]).clip(0) * inside + 0.75 * vessels
    white = np.clip(0.28 * veil + 0.65 * cysts + 0.55 * scar, 0, 0.85)
    return [layer.astype(np.float32) for layer in (brown + 1.3 * openings, blue, blood, white)]


def _outline(trait: Mapping[str, float], rng: np.random.Generator, side: int) -> tuple[Plane, Plane]:
    """Shape the lesion: its cover (0 to 1, soft at the border) and its depth (0 at the border, 1 in the middle)."""
    x, y = _plane(side)
    offset = 0.10 * trait["asymmetry"] * rng.standard_normal(2)
    x, y = x - offset[0], y - offset[1]
    radius = rng.uniform(0.40, 0.68)
    around = np.linspace(-np.pi, np.pi, 361)
    edge = np.full_like(around, radius)
    for wave in range(1, 13):
        size = 0.10 + 0.25 * trait["asymmetry"] if wave <= 2 else 0.02 + 0.34 * trait["irregularity"]
        size *= radius * 0.55 / (wave if wave <= 2 else wave**0.85)
        edge += size * rng.standard_normal() * np.cos(wave * around + rng.uniform(0, 2 * np.pi))
    rough = 0.012 * _noise(rng, side, 20) * (1 + trait["irregularity"])
    depth = np.interp(np.arctan2(y, x), around, edge) - np.hypot(x, y) + rough
    softness = 0.03 + 0.16 * (1 - trait["sharpness"]) ** 2
    inside = _smoothstep(depth.astype(np.float32), -softness, softness)
    return inside, np.clip(depth / radius, 0, 1).astype(np.float32)


def _network(disorder: float, rng: np.random.Generator, side: int) -> Plane:
    """Make a pigment network about mean 0: a honeycomb, bent and broken with disorder."""
    x, y = _plane(side)
    bend = 0.014 + 0.05 * disorder
    x, y = x + bend * _noise(rng, side, 9), y + bend * _noise(rng, side, 9)
    pitch = 2 * np.pi / rng.uniform(0.085, 0.13)
    turns = rng.uniform(0, np.pi) + np.arange(3) * np.pi / 3
    waves = sum(np.cos(pitch * (np.cos(turn) * x + np.sin(turn) * y)) for turn in turns)
    lines = _smoothstep(np.asarray(waves, dtype=np.float32), 0.6, -1.0 - 0.3 * disorder)
    broken = _smoothstep(_noise(rng, side, 5), -0.2 - 1.6 * (1 - disorder), 0.6 - 1.6 * (1 - disorder))
    net: Plane = ((lines - 0.45) * broken * (1 + 0.5 * disorder)).astype(np.float32)
    return net


def _globules(trait: Mapping[str, float], rng: np.random.Generator) -> list[_Dot]:
    """Scatter globules: even and of one size, or of all sizes and to one side with disorder."""
    disorder = trait["disorder"]
    smallest, largest = 0.010 - 0.004 * disorder, 0.013 + 0.012 * disorder
    found = _scatter(rng, round(26 * trait["globules"]), smallest, largest, 0.27)
    way, pushed = rng.uniform(0, 2 * np.pi), 0.10 * disorder
    return [_Dot(x + pushed * np.cos(way), y + pushed * np.sin(way), radius) for x, y, radius in found]


def _branches(rng: np.random.Generator, number: int) -> list[_Stroke]:
    """Make vessels that branch like trees, from the border inwards."""
    found: list[_Stroke] = []
    for _ in range(number):
        start = rng.uniform(0, 2 * np.pi)
        border = (0.5 + 0.25 * np.cos(start), 0.5 + 0.25 * np.sin(start))
        _branch(found, rng, border, start + np.pi + rng.normal(0, 0.5), 0.009, 3)
    return found


def _branch(
    found: list[_Stroke], rng: np.random.Generator, start: _Point, way: float, width: float, levels: int
) -> None:
    walk = list(_walk(rng, start, way, 5, 0.028, 0.28))
    found.append(_Stroke((start, *(point for point, _ in walk)), width))
    if levels > 1:
        end, heading = walk[-1]
        for turn in (-0.6, 0.6):
            _branch(found, rng, end, heading + turn + rng.normal(0, 0.2), width * 0.7, levels - 1)


def _dermatoscope(colour: Plane, rng: np.random.Generator, hidden: float) -> Pixels:
    """Add what lies between a lesion and its image: hair, light, lens and sensor."""
    side = colour.shape[0]
    x, y = _plane(side)
    number = rng.poisson(14 * hidden) if rng.random() < 0.25 + 0.35 * hidden else 0
    if number:
        tint = _rgb(0.20, 0.14, 0.11) if rng.random() < 0.75 else _rgb(0.80, 0.68, 0.50)
        colour = _cover(colour, tint, _strokes(side, _hairs(rng, number)))
    ramp = _ramp(rng, side)
    light = 1 + rng.uniform(0, 0.12) * ramp
    rim = rng.uniform(0.95, 1.45) if rng.random() < 0.4 else 2.0
    light = light * (1 - rng.uniform(0.4, 1.0) * _smoothstep(np.hypot(x, y), rim, rim + 0.12))
    cast = np.exp(rng.normal(0, 0.03 + 0.07 * hidden, 3)).astype(np.float32)
    colour = colour * (light * rng.uniform(0.9, 1.08))[..., None] * cast
    number = rng.poisson(2.0)
    glints = zip(*rng.uniform(0.05, 0.95, (2, number)), rng.uniform(0.003, 0.010, number), strict=True)
    colour = _cover(colour, 1.0, _blur(_dots(side, (_Dot(*glint) for glint in glints)), 0.6), 0.8)
    return _captured(colour, rng, rng.uniform(0.2, 0.4 + 0.8 * hidden), 0.008 + 0.012 * hidden)


def _hairs(rng: np.random.Generator, number: int) -> list[_Stroke]:
    way = rng.uniform(0, 2 * np.pi)
    found = []
    for _ in range(number):
        heading, bend = way + rng.normal(0, 0.5), rng.normal(0, 0.9)
        steps = np.linspace(-0.5, 0.5, 12) * rng.uniform(0.5, 1.4)
        turn = heading + bend * steps
        x, y = rng.uniform(0, 1) + steps * np.cos(turn), rng.uniform(0, 1) + steps * np.sin(turn)
        points = tuple(zip(x.tolist(), y.tolist(), strict=True))
        found.append(_Stroke(points, rng.uniform(0.005, 0.011), rng.uniform(0.6, 0.95)))
    return found


# Retinas.


def draw_retina_photograph(grade: str, right: bool, seed: tuple[int, ...], side: int) -> Pixels:
    """Photograph a retina: uint8 (side, side, 3).

    Examples
    --------
    >>> draw_retina_photograph("grade0", True, (0, 1), 32).shape
    (32, 32, 3)
    """
    rng = np.random.default_rng(seed)
    towards = 1 if right else -1
    nerve = (0.5 + towards * rng.uniform(0.22, 0.27), 0.5 + rng.normal(0, 0.02))
    colour = _fundus(rng, side, (1 - nerve[0], nerve[1]))
    disc = _blur(_dots(side, [_Dot(*nerve, rng.uniform(0.055, 0.07))]), 1.5)
    colour = _cover(colour, _DISC, disc, 0.85)
    colour = _absorb(colour, 0.62 * _strokes(side, _arcades(rng, nerve, -towards)), _RETINA_BLOOD)
    # Signs and light have random numbers of their own: the same eye is lit alike in every grade.
    colour = _diseased(colour, grade, nerve, np.random.default_rng((*seed, 1)))
    return _fundus_camera(colour, np.random.default_rng((*seed, 2)))


def _fundus(rng: np.random.Generator, side: int, macula: _Point) -> Plane:
    """Paint the background: pigment from person to person, mottled, darker at the macula."""
    x, y = _plane(side)
    tone = _FUNDUS * np.exp(rng.normal(0, (0.10, 0.16, 0.22)))
    mottle = 0.05 * _noise(rng, side, 5) + 0.03 * _noise(rng, side, 28)
    near = np.exp(-((x - 2 * macula[0] + 1) ** 2 + (y - 2 * macula[1] + 1) ** 2) / 0.035)
    painted: Plane = (tone * np.exp(mottle - 0.35 * near)[..., None]).astype(np.float32)
    return painted


def _arcades(rng: np.random.Generator, nerve: _Point, temporal: int) -> list[_Stroke]:
    """Make the vessels: two that sweep round the macula, two to the other side, with branches."""
    found: list[_Stroke] = []
    for up in (-1, 1):
        for side, curl, length in ((temporal, 0.13, 15), (-temporal, 0.04, 7)):
            way = np.arctan2(up, side * rng.uniform(0.25, 0.6))
            _arcade(found, rng, nerve, way, -up * side * curl, rng.uniform(0.014, 0.019), length)
    return found


def _arcade(
    found: list[_Stroke],
    rng: np.random.Generator,
    start: _Point,
    way: float,
    curl: float,
    width: float,
    length: int,
) -> None:
    """Make one vessel and, every three steps, a thinner one that leaves it."""
    points = [start]
    for step, (point, heading) in enumerate(_walk(rng, start, way, length, 0.038, 0.12, curl)):
        points.append(point)
        if width > 0.006 and step % 3 == 2:
            turn = rng.choice((-1, 1)) * rng.uniform(0.5, 0.9)
            rest = max(length - step - 2, 4)
            _arcade(found, rng, point, heading + turn, 0.3 * curl, width * 0.55, rest)
    found.append(_Stroke(tuple(points), width))


def _diseased(colour: Plane, grade: str, nerve: _Point, rng: np.random.Generator) -> Plane:
    """Add the signs of a grade."""
    side = colour.shape[0]
    aneurysms, bleedings, exudates, tufts = (int(rng.integers(low, high + 1)) for low, high in _SIGNS[grade])
    red = 0.75 * _dots(side, _on_disc(rng, aneurysms, 0.006, 0.010))
    blots = _blur(_dots(side, _on_disc(rng, bleedings, 0.012, 0.030)), 0.9)
    ragged = _smoothstep(blots + 0.12 * _noise(rng, side, 30) * (blots > 0.05), 0.25, 0.6)
    if tufts:
        ragged = np.maximum(ragged, _blur(_dots(side, _on_disc(rng, 1, 0.05, 0.10)), 1.5))
    new = 0.6 * _strokes(side, [line for _ in range(tufts) for line in _tuft(rng, nerve)])
    colour = _absorb(colour, red + 0.85 * ragged + new, _RETINA_BLOOD)
    return _cover(colour, _EXUDATE, _blur(_dots(side, _crumbs(rng, exudates)), 0.4), 0.85)


def _on_disc(rng: np.random.Generator, number: int, smallest: float, largest: float) -> list[_Dot]:
    return _scatter(rng, number, smallest, largest, 0.40, 0.03)


def _crumbs(rng: np.random.Generator, number: int) -> list[_Dot]:
    """Scatter exudates, each a few crumbs."""
    found = []
    for middle in _on_disc(rng, number, 0.006, 0.013):
        for x, y in rng.normal(0, 0.018, (int(rng.integers(2, 6)), 2)):
            found.append(_Dot(middle.x + x, middle.y + y, middle.radius * rng.uniform(0.5, 1.1)))
    return found


def _tuft(rng: np.random.Generator, nerve: _Point) -> list[_Stroke]:
    """Make a tangle of new vessels, on the optic disc or elsewhere."""
    spot = _on_disc(rng, 1, 0.1, 0.1)[0]
    centre = nerve if rng.random() < 0.4 else (spot.x, spot.y)
    lines = []
    for _ in range(9):
        walk = _walk(rng, centre, rng.uniform(0, 2 * np.pi), 6, 0.017, 0.9)
        lines.append(_Stroke((centre, *(point for point, _ in walk)), 0.006))
    return lines


def _fundus_camera(colour: Plane, rng: np.random.Generator) -> Pixels:
    """Light the retina unevenly, and blacken what lies outside the lit disc."""
    side = colour.shape[0]
    x, y = _plane(side)
    offset = rng.normal(0, 0.015, 2)
    far = np.hypot(x - offset[0], y - offset[1])
    ramp = _ramp(rng, side)
    light = (1.05 - 0.35 * far**2) * (1 + rng.uniform(0, 0.18) * ramp)
    disc = 1 - _smoothstep(far, 0.92, 0.95)
    colour = colour * (light * disc * rng.uniform(0.8, 1.15))[..., None]
    return _captured(colour, rng, rng.uniform(0.2, 0.7), rng.uniform(0.005, 0.015))
