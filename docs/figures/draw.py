"""Draw the figures of statistics-explained.md from the tables of statistics.md: `python docs/figures/draw.py`."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
LINES = (HERE.parent / "statistics.md").read_text(encoding="utf-8").splitlines()
TESTS = {
    "corrected resampled t": "corrected resampled t",
    "DeLong": "DeLong",
    "DeLong by groups": "DeLong by groups",
    "DeLong as if images were independent": "DeLong, images as if independent",
    "plain t over the ten folds": "plain t over folds",
    "plain t over the folds": "plain t over folds",
}
DATA = (
    "one test set of 200",
    "one test set of 70",
    "5x2 folds of 200 images, 10 f",
    "10 folds of 200 images, 10 f",
    "3 x 10 folds",
)


def rows(after: str) -> list[list[str]]:
    """Return the cells of the first table below a line."""
    start = next(place for place, line in enumerate(LINES) if line.startswith(after))
    table = []
    for line in LINES[start:]:
        if line.startswith("|"):
            table.append([cell.strip() for cell in line.strip("|").split("|")])
        elif table:
            break
    return table[2:]


def false_positives() -> None:
    """Draw how often each test is significant without a difference."""
    bars, data = [], ""
    for first, test, rate, *_ in rows("## False-positive rates"):
        data = first or data
        if test in TESTS and data.startswith(DATA):
            bars.append((f"{data.split(',')[0]}: {TESTS[test]}", float(rate.split()[0])))
    fig, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
    names, rates = zip(*bars[::-1], strict=True)
    ax.barh(
        names, rates, color=["C0" if rate < 8 and "plain" not in name else "C3" for name, rate in bars[::-1]]
    )
    ax.axvline(5, color="k", linewidth=1)
    ax.set_xlabel("significant without a difference, % (line: 5 %)")
    fig.savefig(HERE / "false-positives.png", dpi=110)


def power() -> None:
    """Draw the difference that each protocol can detect, by the number of images."""
    sizes = (200, 500, 1000, 2000)
    fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    for protocol, *cells in rows("## Power of a protocol"):
        found = [re.match(r"[\d.]+", cell.split("/")[0].strip()) for cell in cells[: len(sizes)]]
        points = [(size, float(one[0])) for size, one in zip(sizes, found, strict=True) if one]
        ax.plot(*zip(*points, strict=True), "o-", label=protocol.strip("`"))
    ax.set(
        xscale="log",
        xlabel="images, a third of them positive",
        ylabel="minimum detectable difference of the AUC",
    )
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.minorticks_off()
    ax.set_ylim(0)
    ax.grid(alpha=0.3)
    ax.legend()
    fig.savefig(HERE / "power.png", dpi=110)


if __name__ == "__main__":
    false_positives()
    power()
