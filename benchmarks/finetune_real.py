"""What fine-tuning brings on real images: MobileNetV2 .35 from scratch, frozen and fine-tuned.

600 images are drawn from the ISIC 2017 training part and UDA-1, half melanoma and half not as far as there are
melanomas (images that stand in both sets are taken once, byte-identical copies are kept together by the folds).
Each network is trained on one half (`kfold:2`), its epoch chosen on a fifth of that half, and every arm ends in
the same linear SVM on the penultimate layer, scored on the half that the network has never seen:

scratch     random weights, trained on the fold
frozen      ImageNet weights as they are; its validation AUC is that of a linear head trained on them
fine-tuned  ImageNet weights, trained on the fold

Validation AUCs are those of the best epoch and therefore flattered, all three in the same way; the SVM's test
AUC is not. Needs ../shared/data (real images and weights). Prints a table and writes it as JSON, with the seconds of
the clock, those in which the process was stopped by others left out, and the seconds of the processor:

    python benchmarks/finetune_real.py --output reports/finetune-real
"""

from __future__ import annotations

import argparse
import csv
import json
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from featx.features import extract
from featx.finetuning import finetune
from featx.runs import Run
from featx.stats import roc_auc
from featx.svm import train_svm

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
WEIGHTS = DATA / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"
BACKBONE = "mobilenet_v2_0.35"
ARMS = ("frozen", "fine-tuned", "scratch")
TASK, PROTOCOL = "melanoma:other", "kfold:2"


class _Log:
    """Progress as lines with the time."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def start(self, task: str, total: int, unit: str = "images") -> None: ...

    def advance(self, count: int = 1) -> None: ...

    def finish(self) -> None: ...

    def say(self, message: str) -> None:
        print(f"[{time.monotonic() - self._begun:6.0f} s] {message}", flush=True)


class _Watch(threading.Thread):
    """A clock that stands still while the process is stopped (SIGSTOP)."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds = 0.0

    def run(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(0.2)
            now = time.monotonic()
            # On a crowded machine a fifth of a second may last some seconds, a stop lasts longer.
            self.seconds += now - last if now - last < 5 else 0.2
            last = now


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


def _round(values: Iterable[float]) -> list[float]:
    return [round(value, 4) for value in values]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("reports/finetune-real"))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=20, help="of fine-tuning")
    parser.add_argument("--scratch-epochs", type=int, default=30, help="of training from scratch")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    log, watch = _Log(), _Watch()
    watch.start()
    manifest = draw(given.output, given.images, given.seed)
    common = {
        "backbone": BACKBONE,
        "image_size": given.image_size,
        "cache": given.output / "cache",
        "allow_outside": True,
    }
    both = {"task": TASK, "protocol": PROTOCOL, "seed": given.seed, "progress": log}
    trained = {
        "frozen": (WEIGHTS, {"epochs": 0, "head_epochs": given.epochs}),
        "fine-tuned": (WEIGHTS, {"epochs": given.epochs}),
        "scratch": (f"random:{given.seed}", {"epochs": given.scratch_epochs}),
    }
    rows = []
    for arm in given.arms:
        weights, fields = trained[arm]
        nets = finetune(
            manifest,
            weights=weights,
            arm=arm,
            validation=0.2,
            output=given.output / "nets",
            head="softmax",
            scores=given.output / "softmax",
            **fields,
            **common,
            **both,
        )
        source = WEIGHTS if arm == "frozen" else nets[0].path.parent
        stores = [done.store for done in extract(manifest, weights=str(source), progress=log, **common)]
        runs = train_svm(
            manifest,
            features=stores,
            arm=arm,
            output=given.output / "runs",
            cache=given.output / "cache",
            allow_outside=True,
            **both,
        )
        rows.append(
            {
                "arm": arm,
                "validation_auc": _round(net.record.search["best"]["validation_auc"] for net in nets[:2]),
                "lineage": " → ".join(runs[0].record.lineage),
                "best_epoch": [net.record.convergence["best_epoch"] for net in nets[:2]],
                "softmax_test_auc": _round(test_auc(run) for run in nets[2:]),
                "svm_test_auc": _round(test_auc(run) for run in runs),
            }
        )
        log.say(json.dumps(rows[-1]))
    took = {"seconds": round(watch.seconds), "processor_seconds": round(time.process_time())}
    text = json.dumps({**took, "rows": rows}, indent=1, ensure_ascii=False)
    (given.output / "result.json").write_text(text + "\n", encoding="utf-8")
    print(took)


if __name__ == "__main__":
    main()
