"""Functions for notebooks: the folds of a manifest, and the comparison of two arms of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from featx.data import Folds, Manifest, Task, apply_task, check_folds, read_manifest, split_folds
from featx.errors import RunError, listing
from featx.images import content_keys
from featx.reporting import summarise

if TYPE_CHECKING:
    from featx.stats import Comparison

__all__ = ["compare_arms", "make_folds"]


def make_folds(
    manifest: Manifest | Path | str,
    *,
    task: Task | Path | str = "labels",
    protocol: Path | str = "5x2",
    seed: int = 0,
    root: Path | str | None = None,
    allow_outside: bool = False,
    cache: Path | str = "cache",
) -> Folds:
    """Split a data set into the folds that `train_svm` and `finetune` make with the same arguments.

    Groups, and images that are byte-identical, stay together.

    Parameters
    ----------
    manifest : Manifest, Path or str
        Images and labels.
    task : Task, Path or str
        Named task, TOML file, or POSITIVE:NEGATIVE.
    protocol : Path or str
        5x2 or any RxK, kfold:K, leave-one-group-out, bootstrap:B, holdout, none, or a fold file.
    seed : int
        Random seed.
    root : Path or str, optional
        Folder that the manifest's image paths are relative to.
    allow_outside : bool
        Follow image paths that lead out of their folder.
    cache : Path or str
        Folder of caches, for the digests of the images.

    Returns
    -------
    Folds
        ``folds`` holds each fold's ``name``, ``train`` and ``test`` (image ids).

    Raises
    ------
    ManifestError, TaskError
        If the manifest or the task cannot be used.
    ProtocolError
        If there is no such protocol, or too few groups for it.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from featx.data import draw_dermoscopy
    >>> folder = Path(mkdtemp())
    >>> manifest = draw_dermoscopy(folder / "lesions", images=24, size=16)
    >>> folds = make_folds(manifest, task="melanoma:rest", protocol="kfold:2", cache=folder / "cache")
    >>> folds.names, len(set(folds.folds[0].train) & set(folds.folds[0].test))
    (('1', '2'), 0)
    """
    labelled = apply_task(read_manifest(manifest, root=root, allow_outside=allow_outside), task)
    found = content_keys(labelled.paths, cache=cache).keys
    keys = [found[path] for path in labelled.paths]
    folds = split_folds(labelled, protocol, seed, keys)
    check_folds(folds, labelled, keys)
    return folds


def compare_arms(
    runs: Path | str | Sequence[Path | str], a: str, b: str, *, task: str | None = None
) -> Comparison:
    """Compare the AUC of two arms by the test that their protocol allows.

    The comparison is the one that a report of the two arms states: over the folds and images that both share.

    Parameters
    ----------
    runs : path or sequence of paths
        Run folders, or folders that hold some.
    a, b : str
        Names of the arms; the difference is a minus b.
    task : str, optional
        Name of the task, where the arms were run on several.

    Returns
    -------
    Comparison
        ``values`` (the two AUCs), ``finding`` (difference, confidence interval, p-value, test), and the folds. ``p`` is
        NaN where no test is possible; the warnings say why.

    Raises
    ------
    RunError
        If a folder holds no finished run, an arm is in no run, or the arms were run on several tasks or protocols.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from featx.runs import Prediction, RunRecord, write_run
    >>> folder = Path(mkdtemp())
    >>> for arm, scores in (("frozen", [1, 2, 4, 3, 5, 6]), ("tuned", [3, 1, 5, 2, 4, 6])):
    ...     record = RunRecord(
    ...         kind="svm", arm=arm, task="melanoma", classes=("nevus", "melanoma"), scored=("melanoma",),
    ...         protocol="holdout", fold="1", folds_digest="", seed=0, manifest={}, features={}, settings={},
    ...     )
    ...     rows = [
    ...         Prediction(str(i), "1", str(i), "melanoma" if i > 2 else "nevus", {"melanoma": float(score)})
    ...         for i, score in enumerate(scores)
    ...     ]
    ...     run = write_run(folder / arm, record, rows, {})
    >>> found = compare_arms(folder, "frozen", "tuned")
    >>> found.finding.test, round(found.finding.p, 3)
    ('DeLong 1988', 0.157)
    """
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    found = summarise(given, None, [a, b], [(a, b)])
    settings = [one for one in found.comparisons if task in (None, one[0])]
    if len(settings) != 1:
        names = [f"{name} ({protocol})" for name, protocol in found.comparisons]
        raise RunError(
            f"The arms {a!r} and {b!r} must be compared on one task and protocol. Got {listing(names) or 'none'}; "
            "name the task"
        )
    return found.comparisons[settings[0]].pairs[0]
