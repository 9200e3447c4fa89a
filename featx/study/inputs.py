"""What a study's jobs start from: data sets, folds and weights, each found once."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.data import Folds, Labelled, apply_task, check_folds, make_folds
from featx.digest import canonical, digest, digest_file
from featx.errors import WeightsError
from featx.files import find_files
from featx.images import content_keys
from featx.progress import Progress
from featx.runs import COMPLETE
from featx.study.datasets import ReadData, read_data
from featx.study.schema import Arm, Study
from featx.svm import resolve_settings
from featx.zoo import find_backbone, is_preset, resolve_weights

__all__ = ["Inputs", "Start", "task_name", "weights_source"]


@dataclass(frozen=True)
class Start:
    """What a network starts from.

    Attributes
    ----------
    source : str
        What `featx.zoo.weights.resolve_weights` takes, or the folder of weights that jobs of the study will make.
    identity : str
        What stands for its content.
    label : str
        What messages call it.
    random : bool
        Whether nothing has trained it.
    needs : tuple of str
        Digests of the jobs that make it.
    """

    source: str
    identity: str
    label: str
    random: bool = False
    needs: tuple[str, ...] = ()


@dataclass
class Inputs:
    """A study's data sets, folds and weights.

    Attributes
    ----------
    study : Study
        The study.
    cache : Path
        Folder of caches. Drawn data sets are drawn here.
    progress : Progress, optional
        Receiver of progress.
    strict_labels : bool
        Refuse labels that may be meant for another class than the one that holds all others.
    allow_outside : bool
        Whether image paths in manifests may lead out of their folders.
    read : dict of str to ReadData
        The data sets that have been asked for.
    """

    study: Study
    cache: Path
    progress: Progress | None = None
    strict_labels: bool = False
    allow_outside: bool = False
    read: dict[str, ReadData] = field(default_factory=dict)
    _labelled: dict[tuple[str, str], Labelled] = field(default_factory=dict)
    _folds: dict[tuple[str, str, str], Folds] = field(default_factory=dict)
    _identities: dict[str, str] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of the results has to know of the data sets under their tasks."""
        lines = (
            f"{self.data(name).manifest.name}, {task_name(task)}: {text}"
            for (name, task), labelled in self._labelled.items()
            for text in labelled.remarks
        )
        return tuple(dict.fromkeys(lines))

    def data(self, name: str) -> ReadData:
        """Read a source or target.

        Parameters
        ----------
        name : str
            Its name in the study.

        Returns
        -------
        ReadData
            Manifest and content keys.
        """
        if name not in self.read:
            item = self.study.targets.get(name) or self.study.sources[name]
            self.read[name] = read_data(item, self.cache, self.progress, self.allow_outside)
        return self.read[name]

    def labelled(self, name: str, task: str) -> Labelled:
        """Apply a task to a source or target.

        Parameters
        ----------
        name, task : str
            Of the study.

        Returns
        -------
        Labelled
            The images that the task keeps, with their classes.
        """
        if (name, task) not in self._labelled:
            self._labelled[name, task] = apply_task(
                self.data(name).manifest, task, strict_labels=self.strict_labels
            )
        return self._labelled[name, task]

    def folds(self, name: str, task: str, protocol: str) -> tuple[Folds, Any]:
        """Make the folds of a task, and check those that are given.

        Parameters
        ----------
        name, task, protocol : str
            Of the study.

        Returns
        -------
        Folds
            An image without a key, whose trouble the jobs will tell, counts as a content of its own.
        Any
            The task as it was applied, as data.
        """
        labelled = self.labelled(name, task)
        if (name, task, protocol) not in self._folds:
            known = self.data(name).keys
            keys = [known.get(path, path) for path in labelled.paths]
            folds = make_folds(labelled, protocol, self.study.seed, keys)
            if protocol == "holdout" or Path(protocol).suffix:
                check_folds(folds, labelled, keys)
            if name in self.study.targets:
                self._check_inner(folds, labelled, keys)
            self._folds[name, task, protocol] = folds
        return self._folds[name, task, protocol], canonical(labelled.task)

    def _check_inner(self, folds: Folds, labelled: Labelled, keys: list[str]) -> None:
        """Check that the training set of every fold can be split again, as the SVM's settings need it."""
        from featx.svm import check_inner_folds

        chosen = self.study.svm.model_dump(exclude_none=True, exclude={"missing"})
        check_inner_folds(folds.folds, labelled, keys, resolve_settings(**chosen))

    def weights(self, arm: Arm, backbone: str) -> Start:
        """Find what an arm's network starts from, before any training of this study.

        Parameters
        ----------
        arm : Arm
            The arm.
        backbone : str
            The network.

        Returns
        -------
        Start
            Weights that are there, or are published.

        Raises
        ------
        WeightsError
            If there is no such source of weights, or none for this network.
        """
        text = weights_source(self.study, arm, backbone)
        if text == "random":
            text = f"random:{self.study.seed}"
        if not Path(text).is_absolute():
            self._check_name(text, arm, backbone)
        if text not in self._identities:
            self._identities[text] = _identity(text, self.cache)
        label = arm.weights if arm.weights in self.study.weights else Path(text).name
        return Start(text, self._identities[text], label, text.startswith("random:"))

    def _check_name(self, text: str, arm: Arm, backbone: str) -> None:
        """Refuse a name that means no weights, or none for this network."""
        row = find_backbone(backbone)
        published = {"imagenet": ("ImageNet weights are", row.imagenet), "preset": ("preset is", row.preset)}
        if text in published:
            what, there = published[text]
            if not there:
                raise WeightsError(
                    f"no {what} published for {backbone}; name a file in the study's table [weights.{arm.weights}], "
                    f"or leave {backbone} out"
                )
        elif text.partition(":")[0] in ("random", "run"):
            resolve_weights(text, row)
        elif text in self.study.weights:
            raise WeightsError(
                f"the table [weights.{text}] has no weights for {backbone}; add them, or leave it out"
            )
        else:
            known = [*self.study.weights, "random", "imagenet", "preset"]
            near = difflib.get_close_matches(text, known, 1)
            hint = f"did you mean {near[0]!r}? Known" if near else "known"
            raise WeightsError(
                f"no such weights; {hint}: {', '.join(known)}, random:SEED, run:ID, a file or a folder"
            )


def task_name(task: str) -> str:
    """Name a task as a person would: a file by its bare name.

    Parameters
    ----------
    task : str
        Of a study.

    Returns
    -------
    str
        Its name.
    """
    return Path(task).stem if task.endswith(".toml") else task


def weights_source(study: Study, arm: Arm, backbone: str) -> str:
    """Look an arm's weights up in the study's tables of weights.

    Parameters
    ----------
    study : Study
        The study.
    arm : Arm
        One of its arms.
    backbone : str
        The network.

    Returns
    -------
    str
        The source as the study file says it.
    """
    return study.weights.get(arm.weights, {}).get(backbone, arm.weights)


def _identity(text: str, cache: Path) -> str:
    """Stand for a weights source's content: a file's bytes, a folder's runs; names for themselves."""
    path = Path(text)
    if not path.is_absolute():
        return text
    if path.is_dir():
        marks = find_files(path, COMPLETE)
        if not marks and not is_preset(path):
            raise WeightsError(
                f"{text}: holds no run of `featx finetune` and no preset; give another folder or a file"
            )
        return digest([[str(mark.relative_to(path)), digest_file(mark)] for mark in marks])
    found = content_keys([path], cache=cache)
    if found.failures:
        raise WeightsError(f"{text}: no such file or folder; put it there, or name another in the study")
    return found.keys[text]
