"""The demo: the shipped study `demo`, a small version of the paper on drawn images, in about three minutes.

A small network is trained from scratch on a source task (drawn retina discs in five grades). Three arms, all
with the same linear SVM on the penultimate layer and the same 5x2 folds grouped by lesion, then tell drawn
melanomas from drawn benign skin lesions: random weights, source weights, and source weights fine-tuned on the
training half of each fold. ``featx/study/files/demo.toml`` declares it.
"""

from __future__ import annotations

from pathlib import Path

from featx.progress import Progress
from featx.study.execute import Outcome
from featx.study.run import run_study
from featx.study.schema import DataSet, Study
from featx.study.studyfile import read_study

__all__ = ["demo_study", "run_demo"]


def demo_study(seed: int = 0) -> Study:
    """Read the demo's study.

    Parameters
    ----------
    seed : int
        Seed of the drawings, the weights and the folds.

    Returns
    -------
    Study
        The shipped study with this seed.

    Examples
    --------
    >>> study = demo_study(seed=3)
    >>> study.seed, study.targets["dermoscopy"].drawn.seed
    (3, 3)
    """
    study = read_study("demo")

    def seeded(item: DataSet) -> DataSet:
        assert item.drawn is not None, "the demo's data sets are drawn"
        return item.model_copy(update={"drawn": item.drawn.model_copy(update={"seed": seed})})

    return study.model_copy(
        update={
            "seed": seed,
            "sources": {name: seeded(item) for name, item in study.sources.items()},
            "targets": {name: seeded(item) for name, item in study.targets.items()},
        }
    )


def run_demo(
    *,
    output: Path | str = "reports/demo",
    cache: Path | str = "cache",
    seed: int = 0,
    progress: Progress | None = None,
) -> Outcome:
    """Run the demo's study: draw, train, extract, classify and report.

    Parameters
    ----------
    output : Path or str
        The study's folder. What is finished there is reused.
    cache : Path or str
        Folder of caches: drawn images, feature stores.
    seed : int
        Seed of the drawings, the weights and the folds.
    progress : Progress, optional
        Receiver of progress and messages.

    Returns
    -------
    Outcome
        As of `run_study`: what was done and reused, and the report.

    Raises
    ------
    FeatxError
        As `run_study`.
    """
    return run_study(demo_study(seed), output=output, cache=cache, progress=progress)
