"""A small version of the paper on drawn images: what transfer brings, in about three minutes.

A small network is trained from scratch on a source task (drawn retina discs in five grades). Three arms, all
with the same linear SVM on the penultimate layer and the same 5x2 folds grouped by lesion, then tell drawn
malignant from drawn benign skin lesions: random weights, source weights, and source weights fine-tuned on the
training half of each fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.data.synthetic import draw_dermoscopy, draw_retina
from featx.features.extract import extract
from featx.finetuning.train import finetune
from featx.progress import Progress, Silent
from featx.reporting.report import report
from featx.svm.train import train_svm

if TYPE_CHECKING:
    from featx.reporting.report import Report

__all__ = ["ARMS", "Demo", "demo"]

BACKBONE = "tiny"
TASK = "melanoma-vs-benign"
PROTOCOL = "5x2"

# A small network and small training parts: every layer at one rate, the normalisation learning along, and all images
# training, since twenty held out could not tell a good epoch from a lucky one.
TUNING: dict[str, Any] = {
    "learning_rate": 1e-3,
    "first_layer_share": 1.0,
    "head_epochs": 0,
    "batch_norm": "train",
    "batch_size": 8,
    "validation": 0.0,
}

# Arm: what the reader of the table sees, in the order of the paper's question.
ARMS = {"random": "random", "source": "source", "tuned": "source + fine-tuned"}


@dataclass(frozen=True)
class Demo:
    """What the demo left behind.

    Attributes
    ----------
    report : Report
        The report over the three arms.
    runs : Path
        Folder of the SVM runs.
    """

    report: Report
    runs: Path


@dataclass(frozen=True)
class Sizes:
    """How much the demo draws and trains.

    Attributes
    ----------
    source_images, target_images : int
        Pictures drawn of each kind.
    source_epochs, target_epochs : int
        Epochs of the training from scratch and of each fold's fine-tuning.
    """

    source_images: int = 600
    target_images: int = 400
    source_epochs: int = 20
    target_epochs: int = 15


def demo(
    *,
    output: Path | str = "reports/demo",
    cache: Path | str = "cache",
    seed: int = 0,
    sizes: Sizes | None = None,
    progress: Progress | None = None,
) -> Demo:
    """Draw the data sets, train, extract, classify and report.

    Parameters
    ----------
    output : Path or str
        Folder for weights, runs and the report. What is finished there is reused.
    cache : Path or str
        Folder for drawn images and feature stores.
    seed : int
        Seed of the drawings, the weights and the folds.
    sizes : Sizes, optional
        How much to draw and train.
    progress : Progress, optional
        Receiver of progress and messages.

    Returns
    -------
    Demo
        The report and where the runs are.

    Raises
    ------
    FeatxError
        As the four verbs do.
    """
    sizes, progress = sizes or Sizes(), progress or Silent()
    output, cache = Path(output), Path(cache)
    progress.say(f"1/5 Drawing {sizes.source_images} retina and {sizes.target_images} skin images")
    drawn = cache / "demo" / f"seed-{seed}"
    retina = draw_retina(drawn / "retina", images=sizes.source_images, seed=seed)
    dermoscopy = draw_dermoscopy(drawn / "dermoscopy", images=sizes.target_images, seed=seed)
    weights = _weights(retina, dermoscopy, output, sizes, seed, progress)
    progress.say("4/5 Extracting features and training SVMs")
    runs = output / "runs"
    for name, source in weights.items():
        stores = [
            done.store
            for done in extract(dermoscopy, backbone=BACKBONE, weights=source, cache=cache, progress=progress)
        ]
        train_svm(
            dermoscopy,
            features=stores,
            task=TASK,
            protocol=PROTOCOL,
            arm=ARMS[name],
            output=runs,
            cache=cache,
            seed=seed,
            progress=progress,
        )
    progress.say("5/5 Writing the report")
    return Demo(report([runs], output=output / "report"), runs)


def _weights(
    retina: Path, dermoscopy: Path, output: Path, sizes: Sizes, seed: int, progress: Progress
) -> dict[str, str]:
    """Train what the arms start from; a weights source for each arm."""
    progress.say(f"2/5 Training `{BACKBONE}` from scratch on the retina grades")
    tuned = output / "weights"
    finetune(
        retina,
        backbone=BACKBONE,
        weights=f"random:{seed}",
        task="labels",
        protocol="none",
        arm="retina",
        epochs=sizes.source_epochs,
        batch_size=16,
        output=tuned,
        seed=seed,
        progress=progress,
    )
    source = str(tuned / "retina" / "labels" / "none")
    progress.say(f"3/5 Fine-tuning it on the training half of each of the ten {PROTOCOL} folds")
    finetune(
        dermoscopy,
        backbone=BACKBONE,
        weights=source,
        task=TASK,
        protocol=PROTOCOL,
        arm="tuned",
        epochs=sizes.target_epochs,
        output=tuned,
        seed=seed,
        progress=progress,
        **TUNING,
    )
    return {"random": f"random:{seed}", "source": source, "tuned": str(tuned / "tuned" / TASK / PROTOCOL)}
