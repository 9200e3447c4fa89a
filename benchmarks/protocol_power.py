"""What a protocol can show: the smallest difference of AUC that its test finds with 80 % power, by simulation.

    python benchmarks/protocol_power.py [--sets 200] [--seed 0]

Two arms on the same images, a third of them positive. Each arm has ten features, of which it shares five with the other
(so that their errors are correlated), and a ridge classifier. The ideal AUC of the first arm is 0.80, that of the second
is higher by a gap. For every number of images, each protocol's test is made as `featx report` makes it; the gap at which
it finds a difference in 80 % of the data sets is interpolated, for one planned comparison (5 % level) and for one of ten
comparisons (0.5 %, where Holm's correction begins). Prints a Markdown table, and how often a difference is found where
there is none. A few minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from featx.stats import corrected_t, delong_covariance, delong_test, roc_auc

Floats = NDArray[np.float64]
Masks = NDArray[np.bool_]

SIZES = (200, 500, 1000, 2000)
GAPS = (0.0, 0.02, 0.04, 0.06, 0.09, 0.12, 0.16)
LEVELS = {"one comparison": 0.05, "one of ten": 0.005}
AUC, FEATURES, RIDGE, POWER = 0.80, 5, 10.0, 0.8


def draw(rng: np.random.Generator, images: int, gap: float) -> tuple[Masks, Floats]:
    """Draw labels, shape (images,), and the features of two arms, shape (2, images, 2 x FEATURES)."""
    actual = np.arange(images) % 3 == 0
    separation = [2 * norm.ppf(auc) ** 2 for auc in (AUC, AUC + gap)]
    half = separation[0] / 2
    shared = rng.normal(size=(images, FEATURES)) + np.sqrt(half / FEATURES) * actual[:, None]
    own = [
        rng.normal(size=(images, FEATURES)) + np.sqrt((whole - half) / FEATURES) * actual[:, None]
        for whole in separation
    ]
    return actual, np.stack([np.hstack([shared, one]) for one in own])


def scores(features: Floats, actual: Masks, test: Masks) -> Floats:
    """Train both arms on what is not tested; return their scores of the test part, shape (test, 2)."""
    centre = features[:, ~test].mean(axis=1, keepdims=True)
    x, target = features[:, ~test] - centre, actual[~test] - actual[~test].mean()
    gram = x.transpose(0, 2, 1) @ x + RIDGE * np.eye(x.shape[2])
    weights = np.linalg.solve(gram, (x.transpose(0, 2, 1) @ target)[..., None])
    return ((features[:, test] - centre) @ weights)[..., 0].T


def parts(rng: np.random.Generator, actual: Masks, number: int) -> NDArray[np.int64]:
    """Deal images to parts, by class."""
    place = np.empty(len(actual), dtype=np.int64)
    for kind in (True, False):
        rows = np.flatnonzero(actual == kind)
        place[rows] = rng.permutation(np.arange(len(rows)) % number)
    return place


def folds(repeats: int, number: int) -> Callable[[np.random.Generator, Masks, Floats], float]:
    """Compare over repeated k-fold by the corrected resampled t."""

    def compare(rng: np.random.Generator, actual: Masks, features: Floats) -> float:
        differences = []
        for _ in range(repeats):
            place = parts(rng, actual, number)
            for part in range(number):
                test = place == part
                found = scores(features, actual, test)
                differences.append(roc_auc(actual[test], found[:, 1]) - roc_auc(actual[test], found[:, 0]))
        return corrected_t(differences, 1 / (number - 1)).p

    return compare


def holdout(rng: np.random.Generator, actual: Masks, features: Floats) -> float:
    """Compare on one test set of three tenths by DeLong's test."""
    test = parts(rng, actual, 10) < 3
    found = scores(features, actual, test)
    return delong_test(actual[test], found[:, 1], found[:, 0]).p


PROTOCOLS = {
    "5x2": folds(5, 2),
    "kfold:5": folds(1, 5),
    "kfold:10": folds(1, 10),
    "3x10": folds(3, 10),
    "holdout, 30 % to test": holdout,
}


def p_values(images: int, gap: float, sets: int, seed: int) -> dict[str, Floats]:
    """Simulate data sets; return the p values of every protocol's test."""
    rng = np.random.default_rng((seed, images, round(1000 * gap)))
    found: dict[str, list[float]] = {name: [] for name in PROTOCOLS}
    for _ in range(sets):
        actual, features = draw(rng, images, gap)
        for name, compare in PROTOCOLS.items():
            found[name].append(compare(rng, actual, features))
    return {name: np.array(values) for name, values in found.items()}


def detectable(found: list[Floats], level: float) -> str:
    """Interpolate the gap at which the power is reached."""
    power = np.maximum.accumulate([float((p < level).mean()) for p in found])
    if power[-1] < POWER:
        return f"> {GAPS[-1]:.2f}"
    after = int(np.argmax(power >= POWER))
    share = (POWER - power[after - 1]) / (power[after] - power[after - 1])
    return f"{GAPS[after - 1] + share * (GAPS[after] - GAPS[after - 1]):.3f}"


def correlation(seed: int) -> float:
    """Correlation of the two arms' AUCs, by DeLong's covariance on a large test set."""
    rng = np.random.default_rng(seed)
    actual, features = draw(rng, 20_000, 0.0)
    test = parts(rng, actual, 2) == 0
    covariance = delong_covariance(actual[test], scores(features, actual, test)).covariance
    return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def main() -> int:
    """Simulate, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=200, help="simulated data sets of each size and gap")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = {images: [p_values(images, gap, given.sets, given.seed) for gap in GAPS] for images in SIZES}
    print(
        f"correlation of the two AUCs: {correlation(given.seed):.2f}; {given.sets} data sets of each kind\n"
    )
    print(f"| protocol | {' | '.join(f'{images} images' for images in SIZES)} | found without a difference |")
    print("|---|" + "---:|" * (len(SIZES) + 1))
    for name in PROTOCOLS:
        cells = [
            " / ".join(detectable([one[name] for one in found[images]], level) for level in LEVELS.values())
            for images in SIZES
        ]
        null = np.concatenate([found[images][0][name] for images in SIZES])
        print(f"| {name} | {' | '.join(cells)} | {100 * float((null < 0.05).mean()):.1f} % |")
    print(f"\nIn each cell: {' / '.join(LEVELS)}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
