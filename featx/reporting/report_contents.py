"""The contents of a report in one list: each table and figure with its title, caption, needs and function.

A new table is one `TableEntry` in `CONTENTS`, a function that fills it in `sections/`, and a test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from matplotlib.figure import Figure

from .figures.canvas import ReportFigure
from .figures.corruption_curves import SEVERITY_CURVES
from .figures.dots import auc_dots, difference_dots, external_dots, rank_dots, strata_dots
from .figures.embedding_scatter import EMBEDDING_MAP
from .figures.flow_chart import flow_chart
from .figures.risk_curves import EXTERNAL_RELIABILITY, RISK_FIGURES, reliability_diagrams
from .figures.roc import (
    learning_curves,
    precision_recall,
    roc_folds,
    roc_means,
    score_histograms,
    search_curves,
)
from .figures.trends import costs, size_curves
from .method_checks.checked_runs import CHECKS_TABLE
from .sections.auc_tables import by_arm, by_class, by_fold, by_subgroup, by_task
from .sections.comparisons import COMPARISON_TABLES, PAIRS_NEED, factor_effects
from .sections.embedding_tables import EMBEDDING_TABLES
from .sections.external_tables import EXTERNAL_NEED, EXTERNAL_TABLES
from .sections.mistakes import SHOWN, mistakes
from .sections.participant_tables import FLOW_FIGURE, PARTICIPANT_TABLES
from .sections.performance import (
    calibration,
    confusions,
    groups,
    metrics,
    predictive,
    thresholds,
)
from .sections.risk_tables import RISK_TABLES
from .sections.robustness_tables import ROBUSTNESS_TABLES
from .sections.subgroup_tables import SUBGROUP_TABLES
from .sections.training import SIZES_NEED, SIZES_TABLE, backbones, searches
from .subgroup_columns import MOST_LEVELS
from .summary import LEVEL, Summary
from .tables import Filled, Table

__all__ = ["CONTENTS", "ContentsPart", "FigureEntry", "TableEntry", "drawings", "tables"]


@dataclass(frozen=True)
class _Case:
    """One of the tables or figures that an entry gives: words for its name and texts, and further arguments."""

    words: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[object, ...] = ()


def _whole(summary: Summary) -> Iterator[_Case]:
    yield _Case()


def _by_task(summary: Summary) -> Iterator[_Case]:
    for setting, slug in summary.slugs.items():
        words = {"slug": slug, "task": summary.heading(setting), "full": f"{setting[0]} ({setting[1]})"}
        yield _Case(words, (setting,))


def _by_column(summary: Summary) -> Iterator[_Case]:
    for case in _by_task(summary):
        columns = dict.fromkeys(
            item.stratum for item in summary.strata if item.series.setting == case.arguments[0]
        )
        for place, column in enumerate(columns, 1):
            yield _Case({**case.words, "column": column, "place": str(place)}, (*case.arguments, column))


@dataclass(frozen=True)
class TableEntry:
    """A table of the report.

    Attributes
    ----------
    name : str
        File name without its ending; with ``{slug}`` there is one for each task.
    title, note : str
        Heading and caption.
    needs : str
        What the runs must have for it; empty for every report.
    fill : callable
        Takes the summary, and the task where there is one for each. Without rows there is no such table.
    """

    name: str
    title: str
    note: str
    needs: str
    fill: Callable[..., Filled | None]

    def tables(self, summary: Summary) -> Iterator[Table]:
        """Fill the entry's tables."""
        for case in (_by_task if "{slug}" in self.name else _whole)(summary):
            if (found := self.fill(summary, *case.arguments)) and found.rows:
                note = f"{self.note} {found.more}".strip()
                name, title = self.name.format_map(case.words), self.title.format_map(case.words)
                yield Table(name, title, note, found.columns, tuple(found.rows))


@dataclass(frozen=True)
class FigureEntry:
    """A figure of the report.

    Attributes
    ----------
    name, title, note, needs : str
        As of a `TableEntry`; with ``{column}`` there is one for each task and column.
    alt : str
        Text for screen readers.
    draw : callable
        Takes the summary, what the figure is of, and its largest width in inches; None without data.
    """

    name: str
    title: str
    note: str
    needs: str
    alt: str
    draw: Callable[..., Figure | None]

    def figures(self, summary: Summary) -> Iterator[tuple[_Case, ReportFigure]]:
        """Name the entry's figures, which are drawn when they are asked for; some may have no data."""
        over = _by_column if "{place}" in self.name else _by_task if "{slug}" in self.name else _whole
        for case in over(summary):
            name, title, note, alt = (
                text.format_map(case.words) for text in (self.name, self.title, self.note, self.alt)
            )
            yield case, ReportFigure(name, title, note, alt, partial(self.draw, summary, *case.arguments))


@dataclass(frozen=True)
class ContentsPart:
    """A section of the page: anchor, heading, and its figures and tables."""

    id: str
    title: str
    figures: tuple[FigureEntry, ...] = ()
    tables: tuple[TableEntry, ...] = ()


def _part(anchor: str, title: str, figure: tuple[Any, ...], rows: Iterable[tuple[Any, ...]]) -> ContentsPart:
    return ContentsPart(anchor, title, (FigureEntry(*figure),), tuple(TableEntry(*row) for row in rows))


_MEANS = (
    "AUC: mean over the folds' test sets; SD: standard deviation over the folds (n − 1). Folds whose test set lacks a "
    "class have no AUC and are left out of both. The 95 % confidence interval is the corrected resampled t interval "
    "(Nadeau & Bengio 2003) on the logit scale, which accounts for overlapping training sets; for a single test set or "
    "pooled folds it is DeLong's, clustered by group if groups have several images. There is no interval if the folds "
    "do not vary."
)
_BINS = (
    f"Columns with more than {MOST_LEVELS} different numbers are binned over all test images: ages by decade, other "
    "numbers at their quartiles."
)
_FIXED_NEED = "inner scores of the training set, which `featx train-svm` writes"
_SEARCH_NEED = "a search for C"

CONTENTS: tuple[ContentsPart, ...] = (
    ContentsPart(
        "auc",
        "AUC",
        (
            FigureEntry(
                "auc",
                "AUC of every arm",
                "Small dots: folds. Large marker: mean over the folds. Line: 95 % confidence interval, corrected for "
                "overlapping training sets; absent if the folds do not allow one. Pooled folds have one marker.",
                "",
                "Dot plot of the AUC of every arm; the table of AUCs has the numbers.",
                auc_dots,
            ),
        ),
        (
            TableEntry(
                "auc-by-arm",
                "AUC of arms by task",
                "Mean AUC ± standard deviation over the folds (number of folds). Bold: highest mean of the column. "
                f"†: significantly below it (adjusted p < {LEVEL:g}).",
                "",
                by_arm,
            ),
            TableEntry("auc", "AUC by task and arm", _MEANS, "", by_task),
        ),
    ),
    ContentsPart(
        "participants",
        "Participants",
        (FigureEntry(*FLOW_FIGURE, flow_chart),),
        tuple(TableEntry(*row) for row in PARTICIPANT_TABLES),
    ),
    ContentsPart(
        "external",
        "External validation",
        (
            FigureEntry(
                "external",
                "Internal and external AUC",
                "Hollow marker: mean AUC over the folds' own test sets. Filled marker: mean AUC of the models of the folds on "
                "the external set. Line: 95 % confidence interval.",
                EXTERNAL_NEED,
                "Dot plot of the internal and external AUC of every arm; the table of external validation has the numbers.",
                external_dots,
            ),
            FigureEntry(*EXTERNAL_RELIABILITY),
        ),
        tuple(TableEntry(*row) for row in EXTERNAL_TABLES),
    ),
    _part("robustness", "Robustness", SEVERITY_CURVES, ROBUSTNESS_TABLES),
    ContentsPart(
        "comparisons",
        "Comparisons",
        (
            FigureEntry(
                "differences-{slug}",
                "Differences to the best arm: {task}",
                "Small dots: folds that both arms have. Large marker: mean difference. Line: simultaneous 95 % confidence "
                "interval, corrected for overlapping training sets and adjusted for the number of pairs, as p is.",
                PAIRS_NEED,
                "Dot plot of the differences in AUC of the other arms to the best on {task}; the table of pairs has the "
                "numbers.",
                difference_dots,
            ),
            FigureEntry(
                "ranks-{slug}",
                "Mean ranks: {task}",
                "Folds of one data set share images, so these ranks are not tested and have no critical difference; see "
                "the table of pairs for tests.",
                "three arms and two folds",
                "Mean ranks of the arms over the folds on {task}.",
                rank_dots,
            ),
        ),
        tuple(TableEntry(*row) for row in COMPARISON_TABLES),
    ),
    ContentsPart(
        "factors",
        "Factors",
        tables=(
            TableEntry(
                "anova-{slug}",
                "Factors of the study: {task}",
                "One AUC for each arm and fold. η²: fraction of the total variation; ω²: the same, corrected for its upward "
                "bias. The folds share images, so there are no F tests.",
                "three arms that differ in a factor",
                factor_effects,
            ),
        ),
    ),
    ContentsPart(
        "cost",
        "Cost",
        (
            FigureEntry(
                "cost",
                "AUC against cost",
                "Marker: mean AUC over the folds. Line: its 95 % confidence interval. Parameters and multiply-adds up to "
                "the feature layer; extraction speed is comparable only if measured on the same machine. Arms of equal cost "
                "are drawn side by side.",
                "arms with different networks",
                "Mean AUC of every arm against the cost of its network; the table of backbones has the numbers.",
                costs,
            ),
        ),
        (
            TableEntry(
                "backbones",
                "Backbones, their cost and AUC",
                "Parameters in millions and multiply-adds of one image in billions, both up to the feature layer; one "
                "multiply-add is about two floating-point operations (FLOPs). Images/s: measured at extraction, image "
                "loading included; comparable only if measured on the same machine. If the networks of all folds shared a "
                f"pass over the images, it is the speed of the pass times their number. {_MEANS}",
                "runs that name a backbone",
                backbones,
            ),
        ),
    ),
    ContentsPart(
        "sizes",
        "Training size",
        (
            FigureEntry(
                "training-sizes",
                "AUC against training-set size",
                "Marker: mean AUC over the folds of this size; where parts of the training sets were drawn repeatedly, over "
                "the means of each fold. Vertical line: its 95 % confidence interval. In brackets under the number of "
                "training images: images of the positive class (of several classes, of the rarest). Protocols differ in "
                "their test sets.",
                SIZES_NEED,
                "Mean AUC of every arm against the number of training images; the table by training-set size has the "
                "numbers.",
                size_curves,
            ),
        ),
        (TableEntry(*SIZES_TABLE),),
    ),
    ContentsPart(
        "curves",
        "Curves",
        (
            FigureEntry(
                "roc-{slug}",
                "Mean ROC curves: {task}",
                "Mean over the folds at equal false-positive rate. Band: ± one standard deviation over the folds; it is "
                "not a confidence band.",
                "",
                "Mean ROC curves of the arms on {task}.",
                roc_means,
            ),
            FigureEntry(
                "roc-folds-{slug}",
                "ROC curves of every fold: {task}",
                "Thin: folds. Thick: mean. Folds whose test set lacks a class have no curve.",
                "",
                "ROC curves of every fold of the arms on {task}.",
                roc_folds,
            ),
            FigureEntry(
                "precision-recall-{slug}",
                "Mean precision-recall curves: {task}",
                "Mean over the folds at equal recall. Dotted: prevalence, the chance level.",
                "",
                "Mean precision-recall curves of the arms on {task}.",
                precision_recall,
            ),
        ),
    ),
    ContentsPart(
        "metrics",
        "Further metrics",
        (
            FigureEntry(
                "scores-{slug}",
                "Scores: {task}",
                "Decision values of the test images of all folds; the bars of each class sum to 1. Dotted: the SVM's "
                "default threshold, 0.",
                "",
                "Histograms of the decision values of positives and others for every arm on {task}.",
                score_histograms,
            ),
            FigureEntry(
                "calibration-{slug}",
                "Calibration: {task}",
                "Dots: test images of all folds in ten bins of predicted probability, with 95 % confidence intervals "
                "(Wilson; an image that several folds test, or a group, counts once). Dark line: loess smoother. On the "
                "diagonal, probabilities are calibrated. Numbers of images are in the titles.",
                "`featx train-svm --calibrate`",
                "Calibration curves of the calibrated arms on {task}; the table of calibration has the numbers.",
                reliability_diagrams,
            ),
        ),
        (
            TableEntry(
                "metrics",
                "Further metrics",
                "Mean ± standard deviation over the folds (number of folds). Sensitivity, specificity and their mean, the "
                "balanced accuracy, are at the SVM's default threshold, decision value 0. The chance level of average "
                "precision is the prevalence.",
                "",
                metrics,
            ),
            TableEntry(
                "calibration",
                "Calibration",
                "Brier score of the calibrated probability: mean ± standard deviation over the folds (number of folds); 0 "
                "is best. Slope of the logistic recalibration: 1 is ideal; below 1, probabilities are too extreme. "
                "Intercept with the slope fixed at 1 (calibration in the large): 0 is ideal; below 0, probabilities are too "
                "high. O:E: observed positives over the sum of probabilities; 1 is ideal. Slope, intercept and O:E are "
                "computed over all folds together; their intervals are clustered by group and by images that several folds "
                "test (Van Calster et al. 2019).",
                "`featx train-svm --calibrate`",
                calibration,
            ),
            TableEntry(
                "thresholds",
                "Decisions at fixed thresholds",
                "Thresholds for 0.90 sensitivity, 0.90 specificity and the largest Youden index are fixed on the training "
                "set, on decision values of SVMs that were not trained on the image; the table shows their results on the "
                "test set. Mean ± standard deviation over the folds (number of folds). Intervals: Wilson's over all folds "
                "together; repeated test images and images of one group do not count as independent. TP, FN, FP and TN are "
                "summed over the folds; an image that several folds test counts several times.",
                _FIXED_NEED,
                thresholds,
            ),
            TableEntry(
                "predictive-values",
                "Predictive values",
                "Positive and negative predictive value (PPV, NPV) by Bayes' rule from sensitivity and specificity of the "
                "table of fixed thresholds, all folds together, at the given prevalence: that of --prevalence, else that of "
                "the training set. Intervals follow from those of sensitivity and specificity (Donner & Zou 2012).",
                _FIXED_NEED,
                predictive,
            ),
            TableEntry(
                "confusion-{slug}",
                "Confusion matrix: {task}",
                "Counts are summed over the folds; an image that several folds test counts several times.",
                "",
                confusions,
            ),
        ),
    ),
    ContentsPart(
        "net-benefit",
        "Decision curves",
        tuple(FigureEntry(*row) for row in RISK_FIGURES),
        tuple(TableEntry(*row) for row in RISK_TABLES),
    ),
    ContentsPart(
        "folds",
        "By fold",
        tables=(
            TableEntry(
                "folds-{slug}",
                "AUC by fold: {full}",
                f"{_MEANS} Fold names of 5x2: repeat x direction.",
                "",
                by_fold,
            ),
        ),
    ),
    ContentsPart(
        "classes",
        "By class",
        tables=(
            TableEntry(
                "classes",
                "AUC by class",
                f"One-vs-rest AUC of each class. {_MEANS} Images: test images of the class, each counted once.",
                "a task with several classes",
                by_class,
            ),
        ),
    ),
    ContentsPart(
        "strata",
        "By subgroup",
        (
            FigureEntry(
                "stratum-{place}-{slug}",
                "AUC by {column}: {task}",
                "As the figure of every arm's AUC, for the test images of one value of {column} at a time.",
                f"a column with 2 to {MOST_LEVELS} values, or of numbers",
                "Dot plot of the AUC of the arms on {task} by {column}.",
                strata_dots,
            ),
        ),
        (
            TableEntry(
                "strata",
                "AUC by subgroup",
                f"{_MEANS} Images and positives are counted once, even if several folds test them. {_BINS}",
                f"a column with 2 to {MOST_LEVELS} values, or of numbers",
                by_subgroup,
            ),
            *(TableEntry(*row) for row in SUBGROUP_TABLES),
        ),
    ),
    ContentsPart(
        "groups",
        "By group",
        tables=(
            TableEntry(
                "groups",
                "Patient-level and lesion-level scores",
                "The images of a group (patient, case or lesion) give one score: their mean, their maximum, or the one "
                "farthest from 0 (extreme). A group is positive if one of its images is. Groups are summed over the folds. "
                f"{_MEANS} Other metrics are those of the table of further metrics. Fixed thresholds are those of the "
                "table of fixed thresholds, on scores pooled in the same way.",
                "groups with several images",
                groups,
            ),
        ),
    ),
    ContentsPart(
        "search",
        "Choice of C",
        (
            FigureEntry(
                "search-{slug}",
                "Search for C: {task}",
                "Lines: inner AUC of each fold. Dots: chosen C. Circled dots: chosen at the grid boundary.",
                _SEARCH_NEED,
                "Inner AUC against C for every arm on {task}; the table of choices has the numbers.",
                search_curves,
            ),
        ),
        (
            TableEntry(
                "search",
                "Choice of C",
                "C is chosen by inner cross-validation on the training set of each fold; with several classes, for each "
                "class. Mean log10 C: over the folds. At grid boundary: choices at an end of the grid; a better C may lie "
                "outside. Fits: of the search and of the final SVMs.",
                _SEARCH_NEED,
                searches,
            ),
        ),
    ),
    ContentsPart(
        "mistakes",
        "Mistakes",
        tables=(
            TableEntry(
                "mistakes",
                "Most confident mistakes",
                f"The {SHOWN} images of each arm with the largest mean margin on the wrong side. Check them for wrong labels, "
                "artefacts and systematic errors. Margin: decision value of the highest other class minus that of the true "
                "class (of two classes: distance from the threshold), mean over the folds that test the image; SD: its "
                "standard deviation over them. Folds: number of these folds, or a single test set.",
                "an image that is predicted wrongly on average",
                mistakes,
            ),
        ),
    ),
    _part("embedding", "Embedding map", EMBEDDING_MAP, EMBEDDING_TABLES),
    ContentsPart(
        "checks",
        "Method checks",
        tables=(TableEntry(*CHECKS_TABLE),),
    ),
    ContentsPart(
        "training",
        "Fine-tuning",
        (
            FigureEntry(
                "learning",
                "Learning curves of fine-tuning",
                "One line for each fold. Dot: the epoch whose weights were kept.",
                "fine-tuning runs",
                "Loss and validation AUC of fine-tuning over the epochs.",
                learning_curves,
            ),
        ),
    ),
)


def tables(summary: Summary) -> Iterator[tuple[str, tuple[Table, ...]]]:
    """Fill every table of a report, section by section of the page that shows it."""
    for part in CONTENTS:
        yield part.id, tuple(table for entry in part.tables for table in entry.tables(summary))


def drawings(summary: Summary) -> dict[str, tuple[ReportFigure, ...]]:
    """Name every figure that a report may have, by the section of the page that shows it; those of a task together."""
    order = ["", *summary.slugs.values()]
    made = {}
    for part in CONTENTS:
        found = [pair for entry in part.figures for pair in entry.figures(summary)]
        found.sort(key=lambda pair: order.index(pair[0].words.get("slug", "")))
        made[part.id] = tuple(figure for _, figure in found)
    return made
