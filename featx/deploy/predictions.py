"""The verb `predict`: decision values, probabilities and predicted classes of new images by trained runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.deploy.nearest_images import require_one_row
from featx.deploy.new_features import NewFeatures, find_features
from featx.deploy.predict_settings import PredictSettings
from featx.deploy.prediction_files import write_predictions
from featx.deploy.prediction_table import Cut, choose_cut, prediction_rows, require_calibration
from featx.deploy.run_model import RunModel, read_models
from featx.errors import ExtractionError, listing
from featx.options import verb
from featx.progress import Silent

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PredictionTable", "predict"]


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """Predictions of new images.

    Attributes
    ----------
    output : Path
        The file that was written.
    rows : tuple of dict
        One for each image: what the file holds, by column.
    models : int
        Number of runs that were combined.
    rule : str
        What makes the predicted class, in words.
    failed : tuple of (id, path, reason)
        Images that cannot be read; they have no row.
    warnings : tuple of str
        What readers of the predictions need to know.
    """

    output: Path
    rows: tuple[dict[str, Any], ...]
    models: int
    rule: str
    failed: tuple[tuple[str, str, str], ...]
    warnings: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return the rows as a pandas table."""
        import pandas as pd

        return pd.DataFrame(list(self.rows))


@verb(PredictSettings)
def predict(runs: Path | str | Iterable[Path | str], options: PredictSettings) -> PredictionTable:
    """Score new images with trained SVMs.

    The features of the images are extracted by the recipe of the runs into the cache, with the network whose weights the
    recipe names, and scored with the scaling, the SVM and the calibration of each run. For research: it is no medical
    device, and its predictions are no diagnoses.

    Parameters
    ----------
    runs : path or iterable of paths
        Run folders of `featx train-svm` or `featx finalize`, or folders that hold some: the folds of one arm, whose
        decision values and probabilities are averaged, or one final model.
    {options}

    Returns
    -------
    PredictionTable
        What was written. Columns of a row: ``id``, ``score:CLASS`` (decision value), ``probability:CLASS`` of calibrated
        runs, ``predicted``, ``rule`` and ``threshold`` of a two-class task, ``in_training`` (the number of runs that were
        trained on this image); of several runs ``score_sd:CLASS``, ``score_min:CLASS``, ``score_max:CLASS`` and
        ``agreement``, the fraction of runs that predict this class; and ``nearest_K``, ``nearest_K_class`` and
        ``nearest_K_similarity``. Runs that score groups give one row for each group.

    Raises
    ------
    RunError
        If runs are missing, damaged, of several arms, tasks or recipes, or lack a calibration that is asked for, or
        nearest images are asked of a run that fuses decision values.
    StoreError
        If the features given or found are of another recipe, or missing.
    WeightsError
        If the weights of the network are unknown, or others.
    ManifestError
        If the images cannot be listed.
    ExtractionError
        If images cannot be read (with ``on_error="finish"`` after the others are written, with ``"fail"`` before).

    Examples
    --------
    ::

        done = featx.predict("reports/runs/frozen", images="new_images", output="predictions.csv", nearest=3)
        done.to_frame().sort_values("score:melanoma").tail()
    """
    options.begin()
    models = read_models(runs)
    if options.probability:
        require_calibration(models)
    if options.nearest:
        require_one_row(models)
    cut = choose_cut(models, options.threshold)
    features = find_features(models, options)
    rows = prediction_rows(models, features, cut, options.nearest)
    write_predictions(options.output, rows)
    warnings = _warnings(models, features, rows, cut)
    done = PredictionTable(
        Path(options.output), tuple(rows), len(models), _rule(models, cut), features.failed, warnings
    )
    if features.failed and options.on_error == "finish":
        for text in warnings[:-1]:  # the last one is the error
            (options.progress or Silent()).say(f"warning: {text}")
        raise ExtractionError(f"{_unreadable(features)}; the predictions of the others are in {done.output}")
    return done


def _rule(models: Sequence[RunModel], cut: Cut | None) -> str:
    over = f", mean over {len(models)} runs" if len(models) > 1 else ""
    if cut is None:
        return f"the class with the highest decision value{over}"
    where = "the decision boundary of the SVM" if cut.rule == "0" else "fixed on the training set"
    return (
        f"{models[0].svm.scored[0]} from a decision value of {cut.mean:.4g} (rule {cut.rule}, {where}{over})"
    )


def _warnings(
    models: Sequence[RunModel], features: NewFeatures, rows: Sequence[dict[str, Any]], cut: Cut | None
) -> tuple[str, ...]:
    found = list(features.warnings)
    seen = [str(row["id"]) for row in rows if row["in_training"]]
    if seen:
        found.append(
            f"{len(seen)} of {len(rows)} were in the training set of {'a run' if len(models) > 1 else 'the run'} "
            f"({listing(seen)}), so that their decision values are too good; see the column in_training"
        )
    if rows[0]["in_training"] is None:
        found.append(
            "runs of an earlier version do not list their training images, so that it is not known whether an image was "
            "in a training set"
        )
    if cut is not None and cut.rule == "0":
        recorded = sorted({rule for model in models for rules in model.thresholds.values() for rule in rules})
        if not recorded:
            found.append(
                "the runs record no thresholds, so that the predicted class is by a decision value of 0"
            )
    if features.failed:
        found.append(_unreadable(features))
    return tuple(found)


def _unreadable(features: NewFeatures) -> str:
    names = [f"{name} ({reason})" for name, _, reason in features.failed]
    total = len(features.ids) + len(names)
    return f"{len(names)} of {total} images could not be read and {'has' if len(names) == 1 else 'have'} no prediction: {listing(names, 3)}"
