"""Planning: from a study to its jobs, each of them once, however many arms share it.

For each arm, backbone, target and task: the trainings on its sources, one after another, each shared by every
arm that begins alike; the fine-tuning, a job a fold; one extraction for each set of weights and target; the
SVMs. A report for each target closes the study.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from featx.data.folds import Folds
from featx.data.protocols import make_folds
from featx.data.tasks import apply_task
from featx.digest import canonical, digest, digest_file, short
from featx.errors import WeightsError
from featx.finetuning.recipe import read_recipe
from featx.images.content import content_keys
from featx.images.decode import DECODE_VERSION
from featx.images.prepare import preparation_key
from featx.progress import Progress
from featx.runs import COMPLETE
from featx.study.datasets import ReadData, read_data
from featx.study.jobs import Job, slug
from featx.study.schema import Arm, DataSet, Source, Study, Target
from featx.svm.settings import resolve_settings
from featx.zoo.backbones import find_backbone

__all__ = ["Plan", "make_plan"]

# Raised when the mark of a finished report holds something new, so that reports made before are made again.
_REPORT_FORMAT = 3


@dataclass(frozen=True)
class Plan:
    """A study as jobs.

    Attributes
    ----------
    study : Study
        What is planned.
    output : Path
        The study's folder.
    jobs : tuple of Job
        Each after those it needs; the reports, one a target, come last.
    contents : mapping of tuple to frozenset of str
        Manifest and root, as the jobs' arguments have them, to the content keys of the images.
    """

    study: Study
    output: Path
    jobs: tuple[Job, ...]
    contents: Mapping[tuple[str, str | None], frozenset[str]]


def make_plan(study: Study, output: Path, cache: Path, progress: Progress | None = None) -> Plan:
    """Plan a study: read its data sets, make its folds, and name its jobs.

    Parameters
    ----------
    study : Study
        The study.
    output : Path
        The study's folder.
    cache : Path
        Folder of caches. Drawn data sets are drawn here.
    progress : Progress, optional
        Receiver of progress: of drawing, and of hashing images seen for the first time.

    Returns
    -------
    Plan
        The jobs; nothing of them is begun.

    Raises
    ------
    InputError
        If a manifest, task, protocol, recipe or weights file cannot be used.
    """
    planner = _Planner(study, output.resolve(), cache.resolve(), progress)
    jobs = tuple(planner.jobs())
    contents = {
        (data.place["manifest"], data.place["root"]): frozenset(data.keys.values())
        for data in planner.data.values()
    }
    return Plan(study, planner.output, jobs, contents)


@dataclass(frozen=True)
class _Weights:
    """What a network starts from."""

    source: str
    identity: str
    label: str
    random: bool = False
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Step:
    """One training on a network's way."""

    label: str
    data: ReadData
    task: str
    protocol: str
    training: Mapping[str, Any]
    backbone: str


@dataclass
class _Planner:
    study: Study
    output: Path
    cache: Path
    progress: Progress | None
    made: dict[str, Job] = field(default_factory=dict)
    data: dict[str, ReadData] = field(default_factory=dict)
    folds: dict[tuple[str, str, str], tuple[Folds, Any]] = field(default_factory=dict)
    contents: dict[str, str] = field(default_factory=dict)

    def jobs(self) -> Iterator[Job]:
        """List the jobs in the order in which they can be done."""
        reports = []
        for name, target in self.study.targets.items():
            svms = [
                self._svm(name, target, task, arm, backbone)
                for task in target.tasks
                for arm in self.study.arms
                for backbone in self.study.backbones_of(arm)
            ]
            reports.append(self._report(name, svms))
        yield from self.made.values()
        yield from reports

    def _add(self, job: Job) -> Job:
        """Keep a job, or find the equal one that another arm has planned."""
        return self.made.setdefault(job.digest, job)

    def _read(self, name: str, item: DataSet) -> ReadData:
        if name not in self.data:
            self.data[name] = read_data(item, self.cache, self.progress)
        return self.data[name]

    def _start(self, arm: Arm, backbone: str) -> _Weights:
        """Find what an arm's network starts from, before any training of this study."""
        text = self.study.weights.get(arm.weights, {}).get(backbone, arm.weights)
        if text == "imagenet" and not find_backbone(backbone).imagenet:
            raise WeightsError(
                f"no ImageNet weights are published for {backbone}; name a file in the study's table "
                f"[weights.{arm.weights}], or leave {backbone} out"
            )
        if text == "random":
            text = f"random:{self.study.seed}"
        if text not in self.contents:
            self.contents[text] = _weights_identity(text, self.cache)
        label = arm.weights if arm.weights in self.study.weights else Path(text).name
        return _Weights(text, self.contents[text], label, text.startswith("random:"))

    def _sources(self, arm: Arm, backbone: str) -> _Weights:
        """Plan the trainings on an arm's sources."""
        weights = self._start(arm, backbone)
        for name in arm.sources:
            weights = self._source(name, self.study.sources[name], backbone, weights)
        return weights

    def _source(self, name: str, source: Source, backbone: str, weights: _Weights) -> _Weights:
        """Plan the training on a source, once for every arm that comes this way."""
        step = _Step(
            f"{weights.label}, {name}",
            self._read(name, source),
            source.task,
            "none",
            source.training,
            backbone,
        )
        (job,), folder = self._train("source", f"{backbone} {step.label}", step, weights)
        return _Weights(folder, job.digest, step.label, needs=(job.digest,))

    def _tuned(self, name: str, task: str, arm: Arm, backbone: str, weights: _Weights) -> _Weights:
        """Plan the fine-tuning on a target's task, a job a fold."""
        target = self.study.targets[name]
        training = {**self.study.finetune, **arm.training}
        step = _Step(
            f"{weights.label}, {name}", self._read(name, target), task, target.protocol, training, backbone
        )
        jobs, folder = self._train("finetune", f"{backbone} {step.label} {_task_name(task)}", step, weights)
        needs = tuple(job.digest for job in jobs)
        return _Weights(folder, digest(sorted(needs)), step.label, needs=needs)

    def _train(self, kind: str, name: str, step: _Step, weights: _Weights) -> tuple[list[Job], str]:
        """Plan the training of a network, a job a fold, and name the folder of weights that these share."""
        fields = {"preparation": step.data.preparation, **step.training}
        recipe = fields.pop("recipe", None)
        resolved = read_recipe(recipe or ("scratch" if weights.random else "modern"), fields)
        folds, task = self._folds(step.data, step.task, step.protocol)
        identity = {
            "backbone": step.backbone,
            "weights": weights.identity,
            "data": step.data.digest,
            "task": task,
            "folds": folds.digest,
            "recipe": canonical(resolved),
            "pixels": [DECODE_VERSION, preparation_key(resolved.preparation)],
            "seed": self.study.seed,
        }
        folder = self.output / "weights" / f"{slug(name)}-{short(digest(identity))}"
        arguments = {
            **step.data.place,
            "backbone": step.backbone,
            "weights": weights.source,
            "task": step.task,
            "protocol": step.protocol,
            "recipe": recipe,
            "arm": slug(step.label),
            "output": str(folder),
            "seed": self.study.seed,
            **fields,
        }
        jobs = [
            Job(
                kind,
                name if kind == "source" else f"{name} {fold.name}",
                {**identity, "fold": fold.name},
                {**arguments, "folds": [fold.name]},
                needs=weights.needs,
                images=len(fold.train),
                speed=digest([step.backbone, resolved.epochs, resolved.head_epochs, resolved.image_size]),
            )
            for fold in folds.folds
        ]
        return [self._add(job) for job in jobs], str(folder)

    def _folds(self, data: ReadData, task: str, protocol: str) -> tuple[Folds, Any]:
        """Make the folds of a task, which is told too: as data.

        An image without a key, whose trouble the jobs will tell, counts as a content of its own.
        """
        known = (data.digest, task, protocol)
        if known not in self.folds:
            labelled = apply_task(data.manifest, task)
            keys = [data.keys.get(path, path) for path in labelled.paths]
            folds = make_folds(labelled, protocol, self.study.seed, keys)
            self.folds[known] = folds, canonical(labelled.task)
        return self.folds[known]

    def _extract(self, name: str, target: Target, backbone: str, weights: _Weights) -> Job:
        data = self._read(name, target)
        options = self.study.extract.model_dump()
        identity = {
            "backbone": backbone,
            "weights": weights.identity,
            "data": data.digest,
            "pixels": [DECODE_VERSION, preparation_key(data.preparation)],
            "options": {
                key: value
                for key, value in options.items()
                if key not in {"batch_size", "device", "on_error"}
            },
        }
        networks = len(weights.needs) if len(weights.needs) > 1 else 1
        return self._add(
            Job(
                "extract",
                f"{backbone} {weights.label} of {name}" + (f", {networks} folds" if networks > 1 else ""),
                identity,
                {
                    **data.place,
                    **options,
                    "backbone": backbone,
                    "weights": weights.source,
                    "preparation": data.preparation,
                },
                needs=weights.needs,
                images=len(data.manifest) * networks * self.study.extract.views,
                speed=digest([backbone, options["image_size"], options["precision"], options["engine"]]),
            )
        )

    def _svm(self, name: str, target: Target, task: str, arm_name: str, backbone: str) -> Job:
        arm, data = self.study.arms[arm_name], self._read(name, target)
        weights = self._sources(arm, backbone)
        if arm.finetune:
            weights = self._tuned(name, task, arm, backbone, weights)
        extraction = self._extract(name, target, backbone, weights)
        folds, seen = self._folds(data, task, target.protocol)
        title = self.study.title_of(arm_name, backbone)
        options = self.study.svm.model_dump(exclude_none=True)
        search = {key: value for key, value in options.items() if key != "missing"}
        job = Job(
            "svm",
            f"{title} on {name} {_task_name(task)}",
            {
                "arm": title,
                "data": data.digest,
                "task": seen,
                "folds": folds.digest,
                "protocol": target.protocol,
                "settings": canonical(resolve_settings(**search)),
                "missing": self.study.svm.missing,
                "seed": self.study.seed,
            },
            {
                **data.place,
                **options,
                "task": task,
                "protocol": target.protocol,
                "arm": title,
                "seed": self.study.seed,
            },
            takes={"features": extraction.digest},
            needs=(extraction.digest,),
            images=sum(len(fold.train) for fold in folds.folds),
            speed="svm",
        )
        output = str(self.output / "runs" / slug(name) / short(job.digest))
        return self._add(replace(job, arguments={**job.arguments, "output": output}))

    def _report(self, name: str, svms: Sequence[Job]) -> Job:
        title = self.study.title or self.study.name
        options = {
            "title": title if len(self.study.targets) == 1 else f"{title}: {name}",
            "strata": self.study.strata,
            "planned": self._planned(),
        }
        return Job(
            "report",
            name,
            {**options, "target": name, "format": _REPORT_FORMAT},
            {**options, "output": str(self.output / "report" / slug(name))},
            needs=tuple(dict.fromkeys(job.digest for job in svms)),
            speed="report",
        )

    def _planned(self) -> list[list[str]]:
        """List the planned comparisons as reports name arms, one for each backbone that both arms run with."""
        return [
            [self.study.title_of(a, backbone), self.study.title_of(b, backbone)]
            for a, b in self.study.planned
            for backbone in self.study.backbones_of(a)
            if backbone in self.study.backbones_of(b)
        ]


def _task_name(task: str) -> str:
    return Path(task).stem if task.endswith(".toml") else task


def _weights_identity(text: str, cache: Path) -> str:
    """Stand for a weights source's content: a file's bytes, a folder's runs; names for themselves."""
    path = Path(text)
    if path.is_dir():
        marks = sorted(path.rglob(COMPLETE))
        return digest([[str(mark.relative_to(path)), digest_file(mark)] for mark in marks])
    if not path.is_absolute():
        return text
    found = content_keys([path], cache=cache)
    if found.failures:
        raise WeightsError(
            f"weights {text}: no such file or folder; put it there, or name another in the study"
        )
    return found.keys[text]
