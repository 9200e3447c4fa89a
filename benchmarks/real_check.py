"""Real images and real ImageNet weights through `extract` and `train_svm`: are the AUCs what they should be?

Run: ``python benchmarks/real_check.py [--data ../shared/data] [--work DIR]``; about ten minutes on two cores.

Two data sets with MobileNet 0.75, once with ImageNet weights and once with random ones:

- UDA-1 of the ISIC archive, melanoma vs benign, 5x2 folds: mean AUC at least .77;
- ISIC 2017, trained on its training part and scored on its test part, melanoma vs rest: AUC at least .75.

The random network must be lower by .03 at least in both. Exit code 1 if a bound is missed; 0 and a word if the
data are not there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import featx
from featx.runs import Run
from featx.stats import roc_auc

HERE = Path(__file__).resolve()
BACKBONE = "mobilenet_0.75"
# data set: protocol, lowest mean AUC with ImageNet weights
CHECKS = {"uda1": ("5x2", 0.77), "isic2017": ("holdout", 0.75)}
MARGIN = 0.03


def uda1_manifest(derm: Path, target: Path) -> Path:
    """Write the UDA-1 manifest: melanoma vs benign."""
    table = pd.read_csv(derm / "uda1.csv", dtype=str)
    rows = pd.DataFrame(
        {
            "image": [str(derm / "uda1_256" / f"{name}.jpg") for name in table["image"]],
            "id": table["image"],
            "label": table["label"].map({"0": "benign", "1": "melanoma"}),
        }
    )
    rows.to_csv(target / "uda1.csv", index=False)
    return target / "uda1.csv"


def isic2017_manifest(derm: Path, target: Path) -> Path:
    """Write the ISIC 2017 manifest: official training and test parts."""
    table = pd.read_csv(derm / "isic2017.csv", dtype=str)
    table = table[table["split"].isin(["train", "test"])]
    melanoma, keratosis = table["melanoma"].astype(float) > 0, table["seborrheic_keratosis"].astype(float) > 0
    rows = pd.DataFrame(
        {
            "image": [str(derm / "isic2017_256" / f"{name}.jpg") for name in table["image"]],
            "id": table["image"],
            "label": np.where(melanoma, "melanoma", np.where(keratosis, "seborrheic keratosis", "nevus")),
            "split": table["split"],
        }
    )
    rows.to_csv(target / "isic2017.csv", index=False)
    return target / "isic2017.csv"


def fold_aucs(manifest: Path, weights: str, protocol: str, work: Path) -> list[float]:
    """Extract, train and score; the AUC of each fold."""
    (done,) = featx.extract(
        manifest, backbone=BACKBONE, weights=weights, cache=work / "cache", allow_outside=True
    )
    return store_aucs(manifest, done.store, protocol, work)


def store_aucs(manifest: Path, store: Path, protocol: str, work: Path) -> list[float]:
    """Train and score on stored features; the AUC of each fold."""
    runs = featx.train_svm(
        manifest,
        features=[store],
        task="melanoma:rest",
        protocol=protocol,
        arm=f"{manifest.stem}-{store.name}",
        output=work / "runs",
        cache=work / "cache",
        allow_outside=True,
    )
    return [run_auc(run) for run in runs]


def run_auc(run: Run) -> float:
    """Compute the AUC of a run of a two-class task."""
    (positive,) = run.record.scored
    return roc_auc(
        np.array([row.actual == positive for row in run.predictions]),
        np.array([row.scores[positive] for row in run.predictions]),
    )


def main() -> int:
    """Run both checks, print a line for each, and say whether the bounds hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--work", type=Path, help="folder for caches and runs (default: a temporary one)")
    given = parser.parse_args()
    if not given.data.is_dir():
        print(f"skipped: {given.data} is not there")
        return 0
    imagenet = str(given.data / "weights" / "mobilenet_7_5_224_tf_no_top.h5")
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        return check(given.data / "derm", imagenet, work)


def check(derm: Path, imagenet: str, work: Path) -> int:
    """Run both data sets with both weights."""
    missed = 0
    makers = {"uda1": uda1_manifest, "isic2017": isic2017_manifest}
    for name, (protocol, bound) in CHECKS.items():
        manifest = makers[name](derm, work)
        means = {}
        for label, weights in (("imagenet", imagenet), ("random", "random:0")):
            aucs = fold_aucs(manifest, weights, protocol, work)
            means[label] = float(np.mean(aucs))
            print(
                f"{name} {protocol} {label}: mean AUC {means[label]:.4f} over {len(aucs)} folds", flush=True
            )
        held = means["imagenet"] >= bound and means["imagenet"] - means["random"] >= MARGIN
        missed += not held
        print(
            f"{name}: bound {bound} and random lower by {MARGIN}: {'held' if held else 'MISSED'}", flush=True
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
