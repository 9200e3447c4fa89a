"""What fine-tuning brings on real images: MobileNetV2 .35 from scratch, frozen and fine-tuned.

600 images are drawn from the ISIC 2017 training part and UDA-1, half melanoma and half not as far as there are
melanomas (images that stand in both sets are taken once, byte-identical copies are kept together by the folds).
One network a fold is trained on two thirds (`kfold:3`), its epoch chosen on a validation part cut from them,
and every arm ends in the same linear SVM on the penultimate layer, scored on the third that the network has
never seen:

scratch     random weights, trained on the fold
frozen      ImageNet weights as they are
fine-tuned  ImageNet weights, trained on the fold

Needs ../shared/data (real images and weights). Prints a table and writes it as JSON; about 25 minutes on two
cores:

    python benchmarks/finetune_real.py --output reports/finetune-real
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np

from featx.features.extract import extract
from featx.finetuning.train import finetune
from featx.runs import Run
from featx.stats.auc import roc_auc
from featx.svm.train import train_svm

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
WEIGHTS = DATA / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
BACKBONE = "mobilenet_v2_0.35"
TASK, PROTOCOL = "melanoma:other", "kfold:3"


class _Log:
    """Progress as lines with the time."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def start(self, task: str, total: int, unit: str = "images") -> None: ...

    def advance(self, count: int = 1) -> None: ...

    def finish(self) -> None: ...

    def say(self, message: str) -> None:
        print(f"[{time.monotonic() - self._begun:6.0f} s] {message}", flush=True)


def candidates() -> dict[str, tuple[str, str]]:
    """Image id to file and label; an image of both sets once."""
    found: dict[str, tuple[str, str]] = {}
    with (DATA / "derm" / "isic2017.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == "train":
                found[row["image"]] = ("isic2017_256", "melanoma" if row["melanoma"] == "1" else "other")
    with (DATA / "derm" / "uda1.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["image"], ("uda1_256", "melanoma" if row["label"] == "1" else "other"))
    return found


def draw(folder: Path, images: int, seed: int) -> Path:
    """Write a manifest of images drawn evenly from the two classes."""
    found = candidates()
    generator = np.random.default_rng(seed)
    chosen: list[str] = []
    for label in ("melanoma", "other"):
        names = sorted(name for name, (_, of) in found.items() if of == label)
        chosen += generator.choice(names, images // 2, replace=False).tolist()
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "derm600.csv"
    with manifest.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "id", "label"])
        for name in sorted(chosen):
            where, label = found[name]
            (path,) = (DATA / "derm" / where).glob(f"{name}.*")
            writer.writerow([path, name, label])
    return manifest


def test_auc(run: Run) -> float:
    actual = [row.actual == "melanoma" for row in run.predictions]
    return float(roc_auc(actual, [row.scores["melanoma"] for row in run.predictions]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("reports/finetune-real"))
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=30, help="of fine-tuning")
    parser.add_argument("--scratch-epochs", type=int, default=60, help="of training from scratch")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    log, begun = _Log(), time.monotonic()
    manifest = draw(given.output, given.images, given.seed)
    common = {"backbone": BACKBONE, "image_size": given.image_size, "cache": given.output / "cache"}
    both = {"task": TASK, "protocol": PROTOCOL, "seed": given.seed, "progress": log}
    tuned = finetune(
        manifest,
        weights=WEIGHTS,
        arm="fine-tuned",
        epochs=given.epochs,
        output=given.output / "nets",
        **common,
        **both,
    )
    scratch = finetune(
        manifest,
        weights=f"random:{given.seed}",
        arm="scratch",
        epochs=given.scratch_epochs,
        output=given.output / "nets",
        **common,
        **both,
    )
    arms = {"scratch": scratch[0].path.parent, "frozen": WEIGHTS, "fine-tuned": tuned[0].path.parent}
    rows = []
    for arm, weights in arms.items():
        stores = [done.store for done in extract(manifest, weights=str(weights), progress=log, **common)]
        runs = train_svm(
            manifest,
            features=stores,
            arm=arm,
            output=given.output / "runs",
            cache=given.output / "cache",
            **both,
        )
        nets = {"scratch": scratch, "fine-tuned": tuned}.get(arm, ())
        rows.append(
            {
                "arm": arm,
                "test_auc": [round(test_auc(run), 4) for run in runs],
                "validation_auc": [round(net.record.search["best"]["validation_auc"], 4) for net in nets],
                "best_epoch": [net.record.convergence["best_epoch"] for net in nets],
            }
        )
        print(arm, "SVM test AUC", np.mean(rows[-1]["test_auc"]).round(3), rows[-1], flush=True)
    seconds = round(time.monotonic() - begun)
    (given.output / "result.json").write_text(json.dumps({"seconds": seconds, "rows": rows}, indent=1) + "\n")
    print(f"{seconds} s")


if __name__ == "__main__":
    main()
