"""The verb `embedding`: maps of the features behind runs, neighbours of mistakes, and label-noise candidates."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.data import Manifest, read_manifest, require_images
from featx.deploy import PredictSettings, RunModel, find_features, read_models
from featx.embedding_maps.embedding_settings import EmbeddingSettings
from featx.embedding_maps.neighbourhoods import ScoredImage, find_neighbours, label_value
from featx.embedding_maps.projections import PROJECTIONS
from featx.errors import RunError, listing
from featx.features import EngineOptions
from featx.options import verb
from featx.progress import Silent
from featx.reporting import (
    EmbeddedArm,
    MapPoint,
    NeighbourRow,
    NoiseCandidate,
    Series,
    collect,
    write_embedding,
)
from featx.runs import inner_scores
from featx.svm import FusedModel, unit_rows

__all__ = ["Embedding", "embedding"]

# Options that a look-up of features has in common with this verb, beside those of the engine.
_SHARED = ("workers", "weights", "cache", "progress", "features")
# A candidate has fewer neighbours of its label than this fraction, and than chance gives: the neighbours of a rare class
# are of others in most places.
_MOST = 0.5


@dataclass(frozen=True, eq=False)
class Embedding:
    """Embedding maps that were written.

    Attributes
    ----------
    output : Path
        Their folder.
    files : tuple of Path
        The tables and the index.
    arms : tuple of EmbeddedArm
        One for each arm, task and protocol.
    """

    output: Path
    files: tuple[Path, ...]
    arms: tuple[EmbeddedArm, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What readers of the maps need to know."""
        return tuple(f"{one.arm}, {one.task}: {text}" for one in self.arms for text in one.warnings)


@verb(EmbeddingSettings)
def embedding(runs: Path | str | Iterable[Path | str], options: EmbeddingSettings) -> Embedding:
    """Map the features behind runs to two dimensions, and find neighbours of mistakes and label-noise candidates.

    Features are scaled as the SVM of an arm's first fold sees them. Neighbours are the training images of the fold that
    scores an image, by the cosine of these features; images of its own group are left out. A label-noise candidate is an
    image of which neither the neighbours (after edited nearest neighbours, Wilson 1972, IEEE Transactions on Systems, Man,
    and Cybernetics 2, 408-421; fewer than half, and fewer than the frequency of the label) nor the SVM without the image in its training set (Brodley & Friedl 1999, Journal of Artificial
    Intelligence Research 11, 131-167) have its label.

    Parameters
    ----------
    runs : path or iterable of paths
        Run folders of `featx train-svm`, or folders that hold some; each arm has a map.
    {options}

    Returns
    -------
    Embedding
        The maps, which `featx.report` shows with ``embedding=output``.

    Raises
    ------
    RunError
        If there is no SVM run, or runs fuse decision values, score groups, or do not list their training sets.
    ManifestError
        If the manifest lacks an image of the runs.
    StoreError
        If the features given are of another recipe, or missing.

    Examples
    --------
    ::

        maps = featx.embedding("reports/runs", manifest="lesions.csv", method="pca")
        maps.arms[0].noise[:5]
        featx.report("reports/runs", embedding=maps.output)
    """
    from threadpoolctl import threadpool_limits

    options.begin()
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    series = [one for one in collect(given)[0] if one.runs[0].record.kind == "svm"]
    if not series:
        raise RunError(
            f"{listing([str(path) for path in given])}: no SVM run; give runs of `featx train-svm`"
        )
    read = read_manifest(
        options.manifest, root=options.root, check_files=False, allow_outside=options.allow_outside
    )
    tell = options.progress or Silent()
    tell.start("embedding", len(series), "maps")
    arms = []
    for one in series:
        # Sums of several threads differ in their last bits.
        with threadpool_limits(1, "blas"):
            arms.append(_embed(one, read, options))
        tell.advance()
    tell.finish()
    files = write_embedding(options.output, arms)
    return Embedding(Path(options.output), files, tuple(arms))


def _embed(series: Series, read: Manifest, options: EmbeddingSettings) -> EmbeddedArm:
    models = read_models([run.path for run in series.runs], without_final=True)
    for model in models:
        _refuse(model)
    tested = {row.id for run in series.runs for row in run.predictions}
    wanted = tested | {image.id for model in models for image in model.training}
    shared = {**vars(options.part(EngineOptions)), **{key: getattr(options, key) for key in _SHARED}}
    settings = PredictSettings(images=_chosen(read, wanted), on_error="fail", **shared)
    features = find_features(models, settings)
    place = {name: row for row, name in enumerate(features.ids)}
    first = models[0]
    scored: dict[str, list[ScoredImage]] = {}
    for model, run in zip(models, series.runs, strict=True):
        rows = np.concatenate([model.svm.scaled(part) for part in features.read(model.digest)])
        if model is first:
            projection = PROJECTIONS[options.chosen_method](rows, options.seed)
        # Every image that the run scores without having it in the training set.
        unseen = [*run.predictions, *(row for row in inner_scores(run) if row.id not in tested)]
        for one in find_neighbours(model, unseen, unit_rows(rows), place, run.names, options.neighbours):
            scored.setdefault(one.row.id, []).append(one)
    points = _points(series, models, scored, features.ids, projection.points)
    noise = _noise(series, scored, tested)
    shown = {point.id for point in points if point.value < 0} | {one.id for one in noise}
    return EmbeddedArm(
        series.task,
        series.protocol,
        series.arm,
        first.fold,
        projection.method,
        projection.parameters,
        first.digest,
        options.neighbours,
        points,
        _neighbours(scored, shown),
        noise,
        _warnings(models),
    )


def _refuse(model: RunModel) -> None:
    if isinstance(model.svm, FusedModel):
        raise RunError(
            f"{model.run.path}: the run fuses decision values, so that an image has no single row of features; give the runs "
            "of a member, or fuse with --fuse concat"
        )
    if model.pooled_groups != "none":
        raise RunError(f"{model.run.path}: the run scores groups; give runs without --group-scores")
    if not model.training:
        raise RunError(
            f"{model.run.path}: this run of an earlier version does not list its training images; train it again with "
            "--overwrite"
        )


def _chosen(read: Manifest, wanted: set[str]) -> Manifest:
    """Choose the images of the runs, in the order of the manifest."""
    require_images(read, sorted(wanted), "images of the runs")
    kept = read.table["id"].isin(list(wanted))
    return dataclasses.replace(read, table=read.table[kept].reset_index(drop=True))


def _means(several: Sequence[ScoredImage]) -> dict[str, float]:
    """Average the decision values over the folds that score an image."""
    names = several[0].row.scores
    return {name: float(np.mean([one.row.scores[name] for one in several])) for name in names}


def _predicted(scores: Mapping[str, float], series: Series) -> str:
    if len(scores) > 1:
        return max(scores, key=lambda name: scores[name])
    negative = next(name for name in series.classes if name not in scores)
    (positive,) = scores
    return positive if scores[positive] >= 0 else negative


def _points(
    series: Series,
    models: Sequence[RunModel],
    scored: Mapping[str, Sequence[ScoredImage]],
    ids: Sequence[str],
    points: npt.NDArray[np.float64],
) -> tuple[MapPoint, ...]:
    known: dict[str, tuple[str, str]] = {}
    for model, run in zip(models, series.runs, strict=True):
        for image in model.training:
            known.setdefault(image.id, (run.names.get(image.actual, image.actual), image.group))
    folds: dict[str, list[str]] = {}
    for run in series.runs:
        for row in run.predictions:
            folds.setdefault(row.id, []).append(run.record.fold)
            known.setdefault(row.id, (row.actual, row.group))
    made = []
    for name, (x, y) in zip(ids, points.tolist(), strict=True):
        actual, group = known[name]
        here = scored.get(name, ())
        means = _means(here) if here else {}
        predicted = _predicted(means, series) if here else ""
        value = round(label_value(means, actual), 6) if here else float("nan")
        made.append(MapPoint(name, actual, group, " ".join(folds.get(name, ())), x, y, predicted, value))
    return tuple(made)


def _noise(
    series: Series, scored: Mapping[str, Sequence[ScoredImage]], tested: Collection[str]
) -> tuple[NoiseCandidate, ...]:
    """Find the images whose label neither neighbours nor out-of-fold decision values support."""
    made = []
    for name, several in scored.items():
        means = _means(several)
        label = several[0].row.actual
        value = label_value(means, label)
        agreeing = float(np.mean([one.agreeing for one in several]))
        expected = float(np.mean([one.expected for one in several]))
        if value < 0 and agreeing < min(_MOST, expected):
            suggested = _predicted(means, series)
            how = "test" if name in tested else "inner"
            numbers = (round(agreeing, 6), round(expected, 6), round(value, 6))
            made.append(NoiseCandidate(name, label, suggested, *numbers, len(several), how))
    return tuple(sorted(made, key=lambda one: (one.agreeing / one.expected, one.value, one.id)))


def _neighbours(scored: Mapping[str, Sequence[ScoredImage]], shown: set[str]) -> tuple[NeighbourRow, ...]:
    """List the neighbours of some images, in the fold that is surest that their label is wrong."""
    made = []
    for name in sorted(shown):
        worst = min(scored[name], key=lambda one: label_value(one.row.scores, one.row.actual))
        made += [
            NeighbourRow(name, worst.fold, rank, one.id, one.actual, one.similarity)
            for rank, one in enumerate(worst.near, 1)
        ]
    return tuple(made)


def _warnings(models: Sequence[RunModel]) -> tuple[str, ...]:
    digests = {model.digest for model in models}
    if len(digests) == 1:
        return ()
    return (
        f"the folds have features of {len(digests)} networks; the map shows those of fold {models[0].fold}, whose training "
        "images the network has seen, and may look better separated than new images",
    )
