"""Planner: makes the list of jobs of a study. Arms that need the same job share it.

For each arm, backbone, target and task: the trainings on its sources, one after another; the fine-tuning, one job for
each fold; one extraction for each set of weights and target; the SVMs. Each target has a report.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from featx.digest import canonical, digest, short
from featx.features import FeatureOptions, refuse_bfloat16
from featx.finetuning import read_recipe
from featx.images import DECODE_VERSION, preparation_key
from featx.jobs import StudyJob, read_state, slug
from featx.progress import Progress, Silent
from featx.zoo import (
    WEIGHTS_DIR,
    Backbone,
    fetch_weights,
    find_backbone,
    find_preset,
    find_published,
    is_own,
    weights_folder,
)

from .schema import DEVICE_KEYS, SUBSET_KEYS, Arm, SourceData, Study, TargetData
from .study_inputs import (
    Inputs,
    Problems,
    Start,
    check_study,
    layer_problems,
    svm_settings,
    task_name,
    weights_source,
)

__all__ = ["Plan", "check_ready", "make_plan"]
# Incremented when the record of a finished report holds something new, so that earlier reports are rerun.
_REPORT_FORMAT = 3


@dataclass(frozen=True)
class Plan:
    """A study as jobs.

    Attributes
    ----------
    study : Study
        The study.
    output : Path
        The study's folder.
    jobs : tuple of Job
        Each after the jobs that it needs; the reports, one for each target, are last.
    contents : mapping of tuple to frozenset of str
        Manifest and root, as the jobs' arguments have them, to the content keys of the images.
    warnings : tuple of str
        Warnings about the data sets, each with the data set's name and task.
    keys : mapping of str to str
        Path of each readable image to its content key.
    """

    study: Study
    output: Path
    jobs: tuple[StudyJob, ...]
    contents: Mapping[tuple[str, str | None], frozenset[str]]
    warnings: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)


def make_plan(
    study: Study,
    output: Path,
    cache: Path,
    progress: Progress | None = None,
    called: str | None = None,
    *,
    strict_labels: bool = False,
    allow_outside: bool = False,
    known: Mapping[str, str] | None = None,
) -> Plan:
    """Plan a study: read its data sets, make its folds, and name its jobs.

    Content keys of images in `known`, a mapping by absolute path, are taken from there.
    """
    inputs = Inputs(study, cache.resolve(), progress, strict_labels, allow_outside, known)
    check_study(inputs, study.name if called is None else called)
    planner = _Planner(study, output.resolve(), inputs)
    jobs = tuple(planner.jobs())
    contents = {
        (data.place["manifest"], data.place["root"]): frozenset(data.keys.values())
        for data in inputs.read.values()
    }
    keys = {path: key for data in inputs.read.values() for path, key in data.keys.items()}
    return Plan(study, planner.output, jobs, contents, inputs.warnings, keys)


@dataclass(frozen=True)
class _Step:
    """One training of a network."""

    label: str
    data: str
    task: str
    protocol: str
    training: Mapping[str, Any]
    backbone: str
    seed: int


@dataclass(frozen=True)
class _Features:
    """What an arm's SVM is trained on: for the job's identity, arguments, `takes` and `needs`."""

    identity: Mapping[str, Any] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    takes: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()


def _joined(method: str, titles: list[str], members: list[_Features]) -> _Features:
    """Join the features of the members of a fused arm, in their order; stores that exist stand by their paths."""
    taken: list[str] = []
    for one in members:
        taken += one.arguments.get("features") or [str(key) for key in one.takes.values()]
    fused = {"fuse": method, "member": titles}
    given = [one.identity.get("features") or list(one.takes.values()) for one in members]
    needs = tuple(dict.fromkeys(key for one in members for key in one.needs))
    return _Features({**fused, "features": given}, fused, {"features": tuple(taken)}, needs)


@dataclass
class _Planner:
    study: Study
    output: Path
    inputs: Inputs
    made: dict[str, StudyJob] = field(default_factory=dict)

    def jobs(self) -> Iterator[StudyJob]:
        """List the jobs in an order in which they can run."""
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

    def _add(self, job: StudyJob) -> StudyJob:
        """Add a job, or return the equal job of another arm."""
        return self.made.setdefault(job.digest, job)

    def _sources(self, arm: Arm, backbone: str) -> Start:
        """Plan the trainings on an arm's sources."""
        weights = self.inputs.weights(arm, backbone)
        for name in arm.sources:
            weights = self._source(name, self.study.sources[name], backbone, weights)
        return weights

    def _source(self, name: str, source: SourceData, backbone: str, weights: Start) -> Start:
        """Plan the training on a source, which arms with the same previous trainings share."""
        step = _Step(
            f"{weights.label}, {name}",
            name,
            source.task,
            "none",
            source.training,
            backbone,
            self.study.seed,
        )
        (job,), folder = self._train("source", f"{backbone} {step.label}", step, weights)
        return Start(folder, job.digest, step.label, needs=(job.digest,))

    def _tuned(self, name: str, task: str, arm: Arm, backbone: str, weights: Start) -> Start:
        """Plan the fine-tuning on a target's task, one job for each fold."""
        target = self.study.targets[name]
        training = {**self.study.common_training, **arm.training}
        seed = self.study.seed if arm.seed is None else arm.seed
        step = _Step(f"{weights.label}, {name}", name, task, target.protocol, training, backbone, seed)
        jobs, folder = self._train("finetune", f"{backbone} {step.label} {task_name(task)}", step, weights)
        needs = tuple(job.digest for job in jobs)
        return Start(folder, digest(sorted(needs)), step.label, needs=needs)

    def _train(self, kind: str, name: str, step: _Step, weights: Start) -> tuple[list[StudyJob], str]:
        """Plan the training of a network, one job for each fold, and name the folder of weights that these share."""
        data = self.inputs.data(step.data)
        fields = {"preparation": data.preparation, **step.training}
        recipe = fields.pop("recipe", None)
        resolved = read_recipe(recipe or ("scratch" if weights.random else "modern"), fields)
        folds, task = self.inputs.folds(step.data, step.task, step.protocol)
        identity = {
            "backbone": step.backbone,
            "weights": weights.identity,
            "data": data.digest,
            "task": task,
            "folds": folds.digest,
            "recipe": canonical(resolved),
            "pixels": [DECODE_VERSION, preparation_key(resolved.preparation)],
            "seed": step.seed,
        }
        folder = self.output / "weights" / f"{slug(name)}-{short(digest(identity))}"
        arguments = {
            **data.place,
            "backbone": step.backbone,
            "weights": weights.source,
            "task": step.task,
            "protocol": step.protocol,
            "recipe": recipe,
            "arm": slug(step.label),
            "output": str(folder),
            "seed": step.seed,
            # An arm's own seed must not draw other folds than those of the SVMs.
            "fold_seed": self.study.seed,
            **fields,
            **self.study.training_devices,
        }
        jobs = [
            StudyJob(
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

    def _extract(self, name: str, preparation: str, backbone: str, weights: Start) -> StudyJob:
        data = self.inputs.data(name)
        options = self.study.extract
        identity = {
            "backbone": backbone,
            "weights": weights.identity,
            "data": data.digest,
            "pixels": [DECODE_VERSION, preparation_key(preparation)],
            "options": {
                key: value
                for key, value in options.items()
                if key not in {"batch_size", "on_error", "force_precision", *DEVICE_KEYS}
            },
        }
        networks = len(weights.needs) if len(weights.needs) > 1 else 1
        return self._add(
            StudyJob(
                "extract",
                f"{backbone} {weights.label} of {name}" + (f", {networks} folds" if networks > 1 else ""),
                identity,
                {
                    **data.place,
                    **options,
                    "backbone": backbone,
                    "weights": weights.source,
                    "preparation": preparation,
                },
                needs=weights.needs,
                images=len(data.manifest) * networks * self.study.extract["views"],
                speed=digest([backbone, options["image_size"], options["precision"], options["engine"]]),
            )
        )

    def _svm(self, name: str, target: TargetData, task: str, arm_name: str, backbone: str) -> StudyJob:
        data = self.inputs.data(name)
        features = self._features(name, target, task, arm_name, backbone)
        tested, test = self._tested(target)
        folds, seen = self.inputs.folds(name, task, target.protocol)
        title = self.study.title_of(arm_name, backbone)
        options = self.study.svm
        curve = {key: options[key] for key in SUBSET_KEYS if key in options}
        job = StudyJob(
            "svm",
            f"{title} on {name} {task_name(task)}",
            {
                "arm": title,
                "data": data.digest,
                "task": seen,
                "folds": folds.digest,
                "protocol": target.protocol,
                "settings": canonical(svm_settings(self.study)),
                "missing": self.study.svm["missing"],
                "seed": self.study.seed,
                **features.identity,
                **tested,
                **curve,
            },
            {
                **data.place,
                **options,
                **features.arguments,
                "task": task,
                "protocol": target.protocol,
                "arm": title,
                "seed": self.study.seed,
                **test,
            },
            takes=features.takes,
            needs=features.needs,
            images=sum(len(fold.train) for fold in folds.folds),
            speed="svm",
            parts=tuple(fold.name for fold in folds.folds),
        )
        output = str(self.output / "runs" / slug(name) / short(job.digest))
        return self._add(replace(job, arguments={**job.arguments, "output": output}))

    def _tested(self, target: TargetData) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give what external test sets add to the identity and to the arguments of SVMs; nothing without such sets."""
        if not target.test:
            return {}, {}
        rules = {"overlap": target.overlap, "own_names": target.own_names}
        read = {other: self.inputs.data(other) for other in target.test}
        places = [
            {"name": other, "manifest": data.place["manifest"], "root": data.place["root"]}
            for other, data in read.items()
        ]
        digests = [[other, data.digest] for other, data in read.items()]
        return {**rules, "test": digests}, {**rules, "test": places}

    def _features(self, name: str, target: TargetData, task: str, arm_name: str, backbone: str) -> _Features:
        """Plan the features of an arm, or find those that it is given."""
        arm = self.study.arms[arm_name]
        if arm.features:
            stores = self.inputs.stores(name, arm_name)
            for other in target.test:
                self.inputs.stores(other, arm_name)
            digests = [store.digest for store in stores]
            return _Features({"features": digests}, {"features": [str(store.path) for store in stores]})
        if arm.fuse:
            members = self.study.members_of(arm_name, backbone)
            made = [self._features(name, target, task, *member) for member in members]
            return _joined(arm.method, [self.study.title_of(*member) for member in members], made)
        weights = self._sources(arm, backbone)
        if arm.finetune:
            weights = self._tuned(name, task, arm, backbone, weights)
        preparation = self.inputs.data(name).preparation
        # External images get the pixels that the network and the SVM of this target know.
        keys = [self._extract(one, preparation, backbone, weights).digest for one in (name, *target.test)]
        return _Features(takes={"features": keys[0]}, needs=tuple(dict.fromkeys(keys)))

    def _report(self, name: str, svms: Sequence[StudyJob]) -> StudyJob:
        title = self.study.title or self.study.name
        options = {
            "title": title if len(self.study.targets) == 1 else f"{title}: {name}",
            "strata": self.study.strata,
            "planned": self._planned(),
        }
        return StudyJob(
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
            [self.study.title_of(a, one), self.study.title_of(b, other)]
            for a, b in self.study.planned
            for one, other in self.study.shared_backbones(a, b)
        ]


_TRAININGS = ("source", "finetune")
_NETWORKS = (*_TRAININGS, "extract")


def check_ready(plan: Plan, called: str, *, download: bool, progress: Progress | None = None) -> None:
    """Check weights, engine and layers of the unfinished jobs, before the first of them starts."""
    left = [job for job in plan.jobs if job.kind in _NETWORKS and read_state(job, plan.output).name != "done"]
    found = Problems()
    _check_published(plan, left, found, download, progress or Silent())
    extractions = [job for job in left if job.kind == "extract"]
    if extractions:
        _check_precision(plan, extractions, found)
        _check_layers(plan, extractions, found)
    found.tell(called)


def _check_precision(plan: Plan, extractions: list[StudyJob], found: Problems) -> None:
    """Check the engine, and that no network is computed in a precision that it suffers from."""
    options = plan.study.extract
    settings = FeatureOptions(**{key: options[key] for key in ("engine", "device", "wait_gpu")})
    trained = {job.digest: job.identity["recipe"]["precision"] for job in plan.jobs if job.kind in _TRAININGS}
    for job in extractions:
        # Without a choice, networks compute as they were trained.
        (own, *_) = [trained[need].removeprefix("mixed_") for need in job.needs if need in trained] or [
            "float32"
        ]
        precision = options["precision"] or own
        engine = found.attempt(
            "extract.engine", options["engine"], partial(settings.chosen_engine, precision)
        )
        if engine == "openvino" and precision == "bfloat16" and not options["force_precision"]:
            refuse = partial(refuse_bfloat16, job.arguments["backbone"])
            found.attempt("extract.precision", precision, refuse)


def _check_published(
    plan: Plan, left: list[StudyJob], found: Problems, download: bool, progress: Progress
) -> None:
    study = plan.study
    wanted = {(job.arguments["weights"], job.arguments["backbone"]) for job in left}
    for name, arm in study.arms.items():
        for backbone in study.backbones_of(name) if arm.has_network else ():
            text = weights_source(study, arm, backbone)
            if text in ("imagenet", "preset") and (text, backbone) in wanted:
                wanted.remove((text, backbone))
                have = partial(_have, text, find_backbone(backbone), download, progress)
                found.attempt(f"arms.{name}.weights", text, have)


def _have(text: str, row: Backbone, download: bool, progress: Progress) -> None:
    published = row.published if text == "imagenet" else None
    name = published.file if published else row.preset.name if row.preset else ""
    if (weights_folder() / name).exists() or os.environ.get(WEIGHTS_DIR):
        (find_published if text == "imagenet" else find_preset)(row)
    elif download:
        fetch_weights(row, progress)


def _check_layers(plan: Plan, extractions: list[StudyJob], found: Problems) -> None:
    """Build the networks for which the study sets a layer or a pooling other than the default."""
    options = plan.study.extract
    asked = [
        name
        for name in dict.fromkeys(str(job.arguments["backbone"]) for job in extractions)
        if not is_own(name)
        if options["pool"] != "avg" or options["layers"] not in ((), (find_backbone(name).layer,))
    ]
    problems = (
        layer_problems(asked, options["layers"], options["pool"], options["image_size"]) if asked else ()
    )
    key, value = ("layers", options["layers"][0]) if options["layers"] else ("pool", options["pool"])
    for problem in problems:
        found.add(f"extract.{key}", value, problem)
